// Which blocks of which packets run through ChaCha20 together.
//
// There are two inputs of eight lanes: ALONG takes eight consecutive blocks of one packet, APART collects single blocks
// of several packets until eight of them are worth a run.
import { SCRATCH, APART, ALONG, BLOCKS, LANE_KEY, LANE_TO, LANE_TEXT, LANE_SIZE } from './layout';
import { outputRow, rounds4, rounds8, xorBlocks, xorInto } from './chacha20';
import { add, splat } from './vector';

function xorBlocksAlong(half: usize, to: usize): void {
  xorBlocks(ALONG, half, to, to + 64, to + 128, to + 192);
}

function xorBlocksApart(half: usize): void {
  const to = SCRATCH + LANE_TO + 16 * half;
  xorBlocks(APART, half, load<u32>(to, 0), load<u32>(to, 4), load<u32>(to, 8), load<u32>(to, 12));
}

/** XORs `size` bytes, writing no byte behind them. `stream` lies in the working area. */
export function xorBytes(text: usize, stream: usize, size: usize): void {
  for (; size >= 16; size -= 16, text += 16, stream += 16) xorInto(text, v128.load(stream));
  if (size & 8) { store<u64>(text, load<u64>(text) ^ load<u64>(stream)); text += 8; stream += 8; }
  if (size & 4) { store<u32>(text, load<u32>(text) ^ load<u32>(stream)); text += 4; stream += 4; }
  if (size & 2) { store<u16>(text, load<u16>(text) ^ load<u16>(stream)); text += 2; stream += 2; }
  if (size & 1) store<u8>(text, load<u8>(text) ^ load<u8>(stream));
}

/** The key that lies in ALONG, 0 = none. */
let alongKey: usize = 0;
/** The lanes of APART whose block is not whole, as a set of bits. */
let partial: u32 = 0;

/** Fills one row of an input with the same word in all lanes. */
@inline
function fillRow(input: usize, word: usize, value: i32): void {
  v128.store(SCRATCH + input + 32 * word, splat(value), 0);
  v128.store(SCRATCH + input + 32 * word, splat(value), 16);
}

/** Writes the constant words into both inputs (RFC 8439 section 2.3) and forgets the keys of the batch before. */
export function beginStreams(): void {
  for (let input: usize = APART; input <= ALONG; input += ALONG - APART) {
    fillRow(input, 0, 0x61707865);
    fillRow(input, 1, 0x3320646e);
    fillRow(input, 2, 0x79622d32);
    fillRow(input, 3, 0x6b206574);
    // The first nonce word: WireGuard's nonce is 32 zero bits and the 64-bit counter (whitepaper section 5.4.6).
    fillRow(input, 13, 0);
  }
  v128.store(SCRATCH + LANE_KEY, splat(0), 0);
  v128.store(SCRATCH + LANE_KEY, splat(0), 16);
  alongKey = 0;
}

/** Eight consecutive blocks of one packet from here on: key and nonce now, the counter with each block. */
function setAlong(key: usize, low: i32, high: i32): void {
  if (alongKey != key) {
    alongKey = key;
    for (let i: usize = 0; i < 8; i++) fillRow(ALONG, 4 + i, load<i32>(key + 4 * i));
  }
  fillRow(ALONG, 14, low);
  fillRow(ALONG, 15, high);
}

/** Block counters `first` .. `first + 7`. */
@inline
function setAlongCounter(first: i32): void {
  v128.store(SCRATCH + ALONG, add(splat(first), i32x4(0, 1, 2, 3)), 32 * 12);
  v128.store(SCRATCH + ALONG, add(splat(first), i32x4(4, 5, 6, 7)), 32 * 12 + 16);
}

/** One block of any packet. Consecutive packets mostly share a key, which is then in its lane already. */
function setApart(lane: usize, key: usize, counter: i32, low: i32, high: i32): void {
  const at = SCRATCH + APART + 4 * lane;
  if (load<u32>(SCRATCH + LANE_KEY + 4 * lane) != (key as u32)) {
    store<u32>(SCRATCH + LANE_KEY + 4 * lane, key as u32);
    for (let i: usize = 0; i < 8; i++) store<u32>(at + 32 * (4 + i), load<u32>(key + 4 * i));
  }
  store<i32>(at, counter, 32 * 12);
  store<i32>(at, low, 32 * 14);
  store<i32>(at, high, 32 * 15);
}

/** Puts one packet's key and nonce into a lane for `oneTimeKeys`: RFC 8439 section 2.6, block counter 0. */
export function setKeyLane(lane: usize, key: usize, low: i32, high: i32): void {
  setApart(lane, key, 0, low, high);
}

/** RFC 8439 section 2.6: words 0-7 of each lane's block are its Poly1305 key (r, s). They stay in rows of lanes. */
export function oneTimeKeys(to: usize, lanes: i32): void {
  if (lanes <= 4) rounds4(APART);
  else rounds8(APART);
  for (let word: usize = 0; word < 8; word++) {
    v128.store(to + 32 * word, outputRow(APART, word, 0), 0);
    v128.store(to + 32 * word, outputRow(APART, word, 1), 16);
  }
}

/**
 * Keystream blocks 0-7 of one packet (0-3 when that is enough for `size` bytes) to BLOCKS: the one-time key and the
 * first 448 (192) bytes of keystream in one run.
 */
export function openingBlocks(key: usize, low: i32, high: i32, size: usize): void {
  const blocks = SCRATCH + BLOCKS;
  for (let at: usize = 0; at < 512; at += 16) v128.store(blocks + at, splat(0));
  setAlong(key, low, high);
  setAlongCounter(0);
  if (size <= 192) {
    rounds4(ALONG);
    xorBlocksAlong(0, blocks);
  } else {
    rounds8(ALONG);
    xorBlocksAlong(0, blocks);
    xorBlocksAlong(1, blocks + 256);
  }
}

/**
 * RFC 8439 section 2.4 from byte `64 * block` of a text on; keystream block `block + 1` belongs there, as block 0 is
 * the Poly1305 key. Runs of eight blocks are done at once; the others join the `waiting` lanes of APART. Returns how
 * many lanes wait now, for the next call and at last for `flush`.
 */
export function cryptFrom(
  block: usize, text: usize, size: usize, key: usize, low: i32, high: i32, waiting: usize,
): usize {
  const whole = size >> 6;
  if (block + 8 <= whole) {
    setAlong(key, low, high);
    for (; block + 8 <= whole; block += 8) {
      setAlongCounter((block + 1) as i32);
      rounds8(ALONG);
      xorBlocksAlong(0, text + 64 * block);
      xorBlocksAlong(1, text + 64 * block + 256);
    }
  }
  for (; block < whole; block++) {
    setApart(waiting, key, (block + 1) as i32, low, high);
    store<u32>(SCRATCH + LANE_TO + 4 * waiting, (text + 64 * block) as u32);
    waiting = flushWhenFull(waiting + 1);
  }
  if (size & 63) {
    setApart(waiting, key, (block + 1) as i32, low, high);
    store<u32>(SCRATCH + LANE_TO + 4 * waiting, clearBlock(waiting) as u32);
    store<u32>(SCRATCH + LANE_TEXT + 4 * waiting, (text + 64 * block) as u32);
    store<u32>(SCRATCH + LANE_SIZE + 4 * waiting, (size & 63) as u32);
    partial |= 1 << (waiting as u32);
    waiting = flushWhenFull(waiting + 1);
  }
  return waiting;
}

/** A zeroed block of the working area: XORing the keystream to it leaves the keystream. */
@inline
function clearBlock(lane: usize): usize {
  const block = SCRATCH + BLOCKS + 64 * lane;
  v128.store(block, splat(0), 0);
  v128.store(block, splat(0), 16);
  v128.store(block, splat(0), 32);
  v128.store(block, splat(0), 48);
  return block;
}

@inline
function flushWhenFull(waiting: usize): usize {
  if (waiting < 8) return waiting;
  flush(waiting);
  return 0;
}

/** Runs the first `waiting` lanes of APART. */
export function flush(waiting: usize): void {
  if (waiting == 0) return;
  for (let lane = waiting; lane < 8; lane++) {
    // An idle lane computes whatever its inputs say and XORs it to where nobody looks.
    store<u32>(SCRATCH + LANE_TO + 4 * lane, (SCRATCH + BLOCKS + 64 * lane) as u32);
  }
  if (waiting <= 4) {
    rounds4(APART);
    xorBlocksApart(0);
  } else {
    rounds8(APART);
    xorBlocksApart(0);
    xorBlocksApart(1);
  }
  for (; partial != 0; partial &= partial - 1) {
    const lane: usize = ctz(partial);
    const size: usize = load<u32>(SCRATCH + LANE_SIZE + 4 * lane);
    xorBytes(load<u32>(SCRATCH + LANE_TEXT + 4 * lane), SCRATCH + BLOCKS + 64 * lane, size);
  }
}
