// ChaCha20-Poly1305 (RFC 8439 section 2.8) over a batch of packets, as WireGuard uses it: nonce = 4 zero bytes and the
// 64-bit little-endian counter (whitepaper section 5.4.6), no additional data. In place: seal writes nothing outside a
// text and its tag, open nothing outside a text.
//
// Packets are worked on in groups of up to eight, so that the one-time keys of a group are one run of ChaCha20.
import {
  SCRATCH, RESERVED, AT, LENGTH, COUNTER_LOW, COUNTER_HIGH, KEY, STATUS, DESCRIPTOR_SIZE, OK, FORGED,
  KEY_LIVE, LIVE, KEY_SLOT_SIZE, BLOCKS, ONE_TIME_KEYS, TAGS, GROUP, AEAD_END,
} from './layout';
import { beginStreams, cryptFrom, flush, oneTimeKeys, openingBlocks, setKeyLane, xorBytes } from './keystream';
import { computeTags } from './mac';

const TAG_SIZE: usize = 16;
const ONE_TIME_KEY_SIZE: u64 = 32;

@inline
function at(packet: usize): usize {
  return load<u32>(packet, AT);
}

@inline
function length(packet: usize): usize {
  return load<u32>(packet, LENGTH);
}

@inline
function key(packet: usize): usize {
  return load<u32>(packet, KEY);
}

@inline
function counterLow(packet: usize): i32 {
  return load<i32>(packet, COUNTER_LOW);
}

@inline
function counterHigh(packet: usize): i32 {
  return load<i32>(packet, COUNTER_HIGH);
}

@inline
function memorySize(): u64 {
  return (memory.size() as u64) << 16;
}

/** Text and tag lie in memory, outside the kernels' own region. */
function liesInMemory(packet: usize): bool {
  const text: u64 = at(packet);
  return text >= (RESERVED as u64) && text + length(packet) + TAG_SIZE <= memorySize();
}

/** The key was added and not dropped. */
function hasKey(packet: usize): bool {
  const slot: u64 = key(packet);
  return slot + KEY_SLOT_SIZE <= memorySize() && load<u32>(key(packet), KEY_LIVE) == LIVE;
}

/** The packet of the group with this number. */
@inline
function member(index: usize): usize {
  return load<u32>(SCRATCH + GROUP + 4 * index);
}

let next: usize = 0;
let end: usize = 0;

/** Where the batch begins; false when its table does not lie in memory. */
function beginBatch(table: usize, count: u32): bool {
  if ((table as u64) + (count as u64) * DESCRIPTOR_SIZE > memorySize()) return false;
  next = table;
  end = table + (count as usize) * DESCRIPTOR_SIZE;
  beginStreams();
  return true;
}

/** Fills GROUP with up to eight packets and marks those forged that are out of the question. Returns their number. */
function nextGroup(isSealing: bool): usize {
  let members: usize = 0;
  for (; next < end && members < 8; next += DESCRIPTOR_SIZE) {
    store<u32>(next, FORGED, STATUS);
    if (!liesInMemory(next)) continue;
    if (hasKey(next)) store<u32>(SCRATCH + GROUP + 4 * members++, next as u32);
    // Whatever comes out of sealing goes to the network: never the plaintext.
    else if (isSealing) memory.fill(at(next), 0, length(next) + TAG_SIZE);
  }
  return members;
}

/** Keystream and one-time keys leave the working area with the batch. */
function endBatch(): void {
  memory.fill(SCRATCH, 0, AEAD_END);
}

/** One-time keys of the group. A lone packet gets its first blocks of keystream with it, for `cryptLone`. */
function makeKeys(members: usize): void {
  const keys = SCRATCH + ONE_TIME_KEYS;
  if (members == 1) {
    const packet = member(0);
    openingBlocks(key(packet), counterLow(packet), counterHigh(packet), length(packet));
    for (let word: usize = 0; word < 8; word++) {
      store<u32>(keys + 32 * word, load<u32>(SCRATCH + BLOCKS + 4 * word));
    }
    return;
  }
  for (let i: usize = 0; i < members; i++) {
    const packet = member(i);
    setKeyLane(i, key(packet), counterLow(packet), counterHigh(packet));
  }
  oneTimeKeys(keys, members as i32);
}

/** RFC 8439 section 2.4 on one packet, some of it only with the next `flush`. */
@inline
function crypt(packet: usize, firstBlock: usize, waiting: usize): usize {
  return cryptFrom(
    firstBlock, at(packet), length(packet), key(packet), counterLow(packet), counterHigh(packet), waiting,
  );
}

/** The same for the packet of a group of one, whose blocks 1-7 `makeKeys` left in BLOCKS. */
function cryptLone(packet: usize): void {
  const size = length(packet);
  xorBytes(at(packet), SCRATCH + BLOCKS + 64, min<usize>(size, 7 * 64));
  if (size <= 7 * 64) return;
  flush(crypt(packet, 7, 0));
}

/** Encrypts `count` packets and writes their tags. */
export function sealBatch(table: usize, count: u32): void {
  if (!beginBatch(table, count)) return;
  for (let members = nextGroup(true); members > 0; members = nextGroup(true)) {
    makeKeys(members);
    if (members == 1) {
      cryptLone(member(0));
    } else {
      let waiting: usize = 0;
      for (let i: usize = 0; i < members; i++) waiting = crypt(member(i), 0, waiting);
      flush(waiting);
    }
    computeTags(members);
    for (let i: usize = 0; i < members; i++) {
      const packet = member(i);
      v128.store(at(packet) + length(packet), v128.load(SCRATCH + TAGS + TAG_SIZE * i));
      store<u32>(packet, OK, STATUS);
    }
  }
  endBatch();
}

/** Verifies `count` packets and decrypts those whose tag is right; the others stay as they are. */
export function openBatch(table: usize, count: u32): void {
  if (!beginBatch(table, count)) return;
  for (let members = nextGroup(false); members > 0; members = nextGroup(false)) {
    makeKeys(members);
    computeTags(members);
    let waiting: usize = 0;
    for (let i: usize = 0; i < members; i++) {
      const packet = member(i);
      const received = v128.load(at(packet) + length(packet));
      const difference = v128.xor(received, v128.load(SCRATCH + TAGS + TAG_SIZE * i));
      // One test of all 128 bits: nothing tells how many of them were right.
      if (v128.any_true(difference)) continue;
      store<u32>(packet, OK, STATUS);
      if (members == 1) cryptLone(packet);
      else waiting = crypt(packet, 0, waiting);
    }
    flush(waiting);
  }
  endBatch();
}

/**
 * The one-time keys (RFC 8439 section 2.6) of `count` packets, for a Poly1305 outside of this module: 32 bytes each, one
 * behind the other from `to` on. Their status becomes OK, or FORGED for those that are out of the question.
 */
export function oneTimeKeyBatch(table: usize, count: u32, to: usize, isSealing: bool): void {
  if ((to as u64) + (count as u64) * ONE_TIME_KEY_SIZE > memorySize() || !beginBatch(table, count)) return;
  const keys = SCRATCH + ONE_TIME_KEYS;
  for (let members = nextGroup(isSealing); members > 0; members = nextGroup(isSealing)) {
    for (let i: usize = 0; i < members; i++) {
      const packet = member(i);
      setKeyLane(i, key(packet), counterLow(packet), counterHigh(packet));
    }
    oneTimeKeys(keys, members as i32);
    for (let i: usize = 0; i < members; i++) {
      const packet = member(i);
      // A key is as long as a descriptor, and in the same place of its list.
      const place = to + (packet - table);
      for (let word: usize = 0; word < 8; word++) {
        store<u32>(place + 4 * word, load<u32>(keys + 32 * word + 4 * i));
      }
      store<u32>(packet, OK, STATUS);
    }
  }
  endBatch();
}
