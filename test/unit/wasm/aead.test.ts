import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { test } from 'node:test';
import { Arena, KERNEL_RESERVED, KERNEL_SLOTS } from '../../../src/core/arena.ts';
import { type Random, uniform } from '../../../src/core/random.ts';
import { AEAD_FORGED, AEAD_OK, AeadBatch } from '../../../src/noise/aead.ts';
import { WasmTransportAead } from '../../../src/noise/aead-wasm.ts';
import { loadKernels } from '../../../src/wasm/kernels.ts';
import { transportAeadContract } from '../../contracts/aead.ts';
import { randomBytes, seededRandom } from '../../kit/random.ts';

const TAG = 16;
const PAGE = 65_536;

transportAeadContract('wasm', (arena) => new WasmTransportAead(arena));
transportAeadContract('wasm in another slot', (arena) => new WasmTransportAead(arena, KERNEL_SLOTS - 1));

function seal(key: Uint8Array, low: number, high: number, text: Uint8Array): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(low, 4);
  nonce.writeUInt32LE(high, 8);
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG });
  const sealed = cipher.update(text);
  cipher.final();
  return Buffer.concat([sealed, cipher.getAuthTag()]);
}

interface Packet {
  readonly at: number;
  readonly text: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Random packets back to back in a batch, from `from` on; `length` gives each one's size. */
function lay(
  batch: AeadBatch,
  from: number,
  count: number,
  keys: readonly (readonly [number, Uint8Array])[],
  random: Random,
  length: (i: number) => number,
): Packet[] {
  batch.clear();
  let at = from;
  return Array.from({ length: count }, (_, i) => {
    const text = randomBytes(random, length(i));
    const [handle, key] = keys[uniform(random, keys.length)] as readonly [number, Uint8Array];
    const low = random.u32();
    const high = random.u32();
    const packet = { at, text, sealed: seal(key, low, high, text) };
    batch.push(at, text.length, low, high, handle);
    at += text.length + TAG;
    return packet;
  });
}

function assertMemory(arena: Arena, at: number, expected: Uint8Array, message: string): void {
  const actual = arena.u8.subarray(at, at + expected.length);
  if (Buffer.compare(actual, expected) === 0) return;
  assert.fail(`${message}: differs from byte ${actual.findIndex((byte, i) => byte !== expected[i])} on`);
}

test('batches of 1 to 256 packets back to back, in shared memory and in plain memory', () => {
  for (const shared of [false, true]) {
    const arena = new Arena({ bytes: 1 << 19, shared });
    const aead = new WasmTransportAead(arena);
    const batch = new AeadBatch(arena, 256);
    const region = arena.alloc(1 << 18);
    const random = seededRandom(1);
    const keys = Array.from({ length: 4 }, () => {
      const key = randomBytes(random, 32);
      return [aead.addKey(key), key] as const;
    });
    for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 31, 33, 63, 64, 65, 100, 255, 256]) {
      for (const shift of [0, 1, 7, 13]) {
        const kinds = [() => 700, (i: number) => (i % 5 === 0 ? 1420 : 40), () => uniform(random, 900)];
        for (const [kind, length] of kinds.entries()) {
          const message = `shared ${shared}, batch of ${count}, shift ${shift}, kind ${kind}`;
          const packets = lay(batch, region + 64 + shift, count, keys, random, length);
          const expected = arena.u8.slice(region, region + (1 << 18));
          for (const { at, text, sealed } of packets) {
            arena.u8.set(text, at);
            expected.set(sealed, at - region);
          }
          aead.seal(batch);
          assertMemory(arena, region, expected, `${message}, seal`);
          aead.open(batch);
          for (const [i, { at, text }] of packets.entries()) {
            assert.equal(batch.status(i), AEAD_OK, `${message}, packet ${i}`);
            expected.set(text, at - region);
          }
          assertMemory(arena, region, expected, `${message}, open`);
        }
      }
    }
  }
});

test('every alignment from 0 to 63 for lengths around the block sizes', () => {
  const arena = new Arena({ bytes: 1 << 17 });
  const aead = new WasmTransportAead(arena);
  const batch = new AeadBatch(arena, 1);
  const region = arena.alloc(1 << 12, 64);
  const random = seededRandom(2);
  const key = randomBytes(random, 32);
  const keys = [[aead.addKey(key), key] as const];
  for (let shift = 0; shift < 64; shift++) {
    for (const length of [0, 1, 15, 16, 17, 63, 64, 65, 191, 192, 193, 447, 448, 449, 511, 512, 513, 1420]) {
      const [packet] = lay(batch, region + shift, 1, keys, random, () => length) as [Packet];
      arena.u8.fill(0xa5, region, region + (1 << 12));
      const expected = arena.u8.slice(region, region + (1 << 12));
      arena.u8.set(packet.text, packet.at);
      expected.set(packet.sealed, shift);
      aead.seal(batch);
      assertMemory(arena, region, expected, `shift ${shift}, length ${length}, seal`);
      aead.open(batch);
      expected.set(packet.text, shift);
      assertMemory(arena, region, expected, `shift ${shift}, length ${length}, open`);
    }
  }
});

test('packets that end with the memory are sealed and opened', () => {
  const arena = new Arena({ bytes: PAGE });
  const aead = new WasmTransportAead(arena);
  const batch = new AeadBatch(arena, 8);
  const random = seededRandom(3);
  const key = randomBytes(random, 32);
  const keys = [[aead.addKey(key), key] as const];
  for (let length = 0; length <= 600; length++) {
    const count = 1 + (length % 8);
    const size = count * (length + TAG);
    const packets = lay(batch, arena.u8.length - size, count, keys, random, () => length);
    for (const { at, text } of packets) arena.u8.set(text, at);
    aead.seal(batch);
    for (const { at, sealed } of packets)
      assertMemory(arena, at, sealed, `${count} of ${length} bytes, seal`);
    aead.open(batch);
    for (const { at, text } of packets) assertMemory(arena, at, text, `${count} of ${length} bytes, open`);
  }
});

/** A batch of seven packets of which the entry in the middle is changed by `spoil`. */
function withSpoiledEntry(spoil: (batch: AeadBatch, arena: Arena, aead: WasmTransportAead) => void): {
  readonly arena: Arena;
  readonly aead: WasmTransportAead;
  readonly batch: AeadBatch;
  readonly packets: readonly Packet[];
  /** All that is not table lies behind. */
  readonly region: number;
} {
  const arena = new Arena({ bytes: PAGE });
  const aead = new WasmTransportAead(arena);
  const batch = new AeadBatch(arena, 7);
  const random = seededRandom(4);
  const key = randomBytes(random, 32);
  const region = arena.alloc(2048);
  const packets = lay(batch, region, 7, [[aead.addKey(key), key]], random, () => 100);
  spoil(batch, arena, aead);
  return { arena, aead, batch, packets, region };
}

const MIDDLE = 3;

/** Overwrites one entry of the batch. */
function replace(batch: AeadBatch, at: number, length: number, key: number): void {
  const count = batch.count;
  batch.count = MIDDLE;
  batch.push(at, length, 0, 0, key);
  batch.count = count;
}

const OUT_OF_BOUNDS: readonly [string, (size: number) => readonly [number, number]][] = [
  ['a text that ends behind the memory', (size) => [size - 100, 101]],
  ['a tag that ends behind the memory', (size) => [size - 100, 85]],
  ['a text that begins behind the memory', (size) => [size, 0]],
  ['an end that wraps at 2^32', () => [KERNEL_RESERVED, 0xffff_ffff]],
  ['an offset of 2^32 - 1', () => [0xffff_ffff, 0]],
  ['both at 2^32 - 1', () => [0xffff_ffff, 0xffff_ffff]],
  ['a text in the region of the kernels', () => [KERNEL_RESERVED - 1, 10]],
  ['a text at offset 0', () => [0, 64]],
];

for (const [what, entry] of OUT_OF_BOUNDS) {
  test(`${what} is marked forged and touches nothing; the rest of the batch is done`, () => {
    const { arena, aead, batch, packets, region } = withSpoiledEntry((spoiled, { u8 }) => {
      replace(spoiled, ...entry(u8.length), spoiled.key(0));
    });
    const others = packets.filter((_, i) => i !== MIDDLE);
    for (const { at, text } of packets) arena.u8.set(text, at);
    const expected = arena.u8.slice(region);
    for (const { at, sealed } of others) expected.set(sealed, at - region);
    const statuses = () => {
      for (let i = 0; i < batch.count; i++) {
        assert.equal(batch.status(i), i === MIDDLE ? AEAD_FORGED : AEAD_OK, `packet ${i}`);
        batch.setStatus(i, AEAD_FORGED);
      }
    };
    aead.seal(batch);
    statuses();
    assertMemory(arena, region, expected, 'seal');
    aead.open(batch);
    statuses();
    for (const { at, text } of others) expected.set(text, at - region);
    assertMemory(arena, region, expected, 'open');
  });
}

const BAD_KEYS: readonly [string, (arena: Arena, aead: WasmTransportAead) => number][] = [
  ['handle 0', () => 0],
  ['a key that was dropped', (_, aead) => dropped(aead)],
  ['a key offset behind the memory', ({ u8 }) => u8.length],
  ['a key offset that wraps', () => 0xffff_ffff],
];

function dropped(aead: WasmTransportAead): number {
  const handle = aead.addKey(new Uint8Array(32).fill(9));
  aead.dropKey(handle);
  return handle;
}

for (const [what, makeKey] of BAD_KEYS) {
  test(`${what} seals nothing, leaves no plaintext to be sent, and opens nothing`, () => {
    const { arena, aead, batch, packets } = withSpoiledEntry((spoiled, memory, backend) => {
      replace(spoiled, spoiled.at(MIDDLE), spoiled.length(MIDDLE), makeKey(memory, backend));
    });
    const { at, text } = packets[MIDDLE] as Packet;
    for (const packet of packets) arena.u8.set(packet.text, packet.at);
    aead.seal(batch);
    assert.equal(batch.status(MIDDLE), AEAD_FORGED);
    assertMemory(arena, at, new Uint8Array(text.length + TAG), 'wiped');
    for (const [i, packet] of packets.entries()) {
      if (i !== MIDDLE) assertMemory(arena, packet.at, packet.sealed, `packet ${i}`);
    }
    aead.open(batch);
    assert.equal(batch.status(MIDDLE), AEAD_FORGED);
    assertMemory(arena, at, new Uint8Array(text.length + TAG), 'unchanged');
    for (const [i, packet] of packets.entries()) {
      if (i !== MIDDLE) assertMemory(arena, packet.at, packet.text, `packet ${i}`);
    }
  });
}

test('a batch whose table does not lie in memory does nothing', () => {
  const { arena, packets } = withSpoiledEntry(() => {});
  for (const { at, text } of packets) arena.u8.set(text, at);
  const before = arena.u8.slice();
  const { exports } = loadKernels(arena);
  for (const [table, count] of [
    [arena.u8.length - 32, 2],
    [0xffff_ffe0, 1],
    [KERNEL_RESERVED, 0xffff_ffff],
  ] as const) {
    exports.sealBatch(table, count);
    exports.openBatch(table, count);
  }
  assertMemory(arena, 0, before, 'memory');
});

test('a forged packet keeps its ciphertext, so nothing of this key is left in the buffer', () => {
  for (const length of [0, 10, 100, 1420]) {
    for (const count of [1, 3, 8]) {
      const arena = new Arena({ bytes: PAGE });
      const aead = new WasmTransportAead(arena);
      const batch = new AeadBatch(arena, 8);
      const random = seededRandom(5);
      const key = randomBytes(random, 32);
      const packets = lay(batch, arena.alloc(16_384), count, [[aead.addKey(key), key]], random, () => length);
      for (const [i, { at, sealed }] of packets.entries()) {
        sealed[length + i] = (sealed[length + i] as number) ^ 0x80;
        arena.u8.set(sealed, at);
      }
      aead.open(batch);
      for (const [i, { at, sealed }] of packets.entries()) {
        assert.equal(batch.status(i), AEAD_FORGED);
        assertMemory(arena, at, sealed, `packet ${i} of ${count}, ${length} bytes`);
      }
    }
  }
});

test('no keystream, key or one-time key stays in the working area after a batch', () => {
  const arena = new Arena({ bytes: PAGE });
  const aead = new WasmTransportAead(arena);
  const batch = new AeadBatch(arena, 32);
  const random = seededRandom(6);
  const key = randomBytes(random, 32);
  const { layout } = loadKernels(arena);
  const region = arena.alloc(32_768);
  const words = (bytes: Uint8Array) =>
    Array.from({ length: bytes.length >> 2 }, (_, i) => Buffer.from(bytes.buffer).readUInt32LE(4 * i));
  for (const [count, length] of [
    [1, 500],
    [8, 64],
    [11, 1000],
  ] as const) {
    // Texts of zeros: what they become is the keystream.
    const packets = lay(batch, region, count, [[aead.addKey(key), key]], random, () => length);
    for (const { at, text } of packets) arena.u8.fill(0, at, at + text.length);
    aead.seal(batch);
    const secrets = new Set(words(key.slice()));
    for (const { at, text } of packets) {
      for (const word of words(arena.u8.slice(at, at + (text.length & ~3)))) secrets.add(word);
    }
    const work = words(arena.u8.slice(0, layout.WORK_SIZE));
    assert.deepEqual(
      work.filter((word) => word !== 0 && secrets.has(word)),
      [],
      `${count} packets of ${length} bytes`,
    );
  }
});

test('20,000 keys live at once and keep their places; dropped ones are wiped and reused', () => {
  const arena = new Arena({ bytes: 4 << 20 });
  const aead = new WasmTransportAead(arena);
  const batch = new AeadBatch(arena, 64);
  const region = arena.alloc(64 * 128);
  const random = seededRandom(7);
  const keys = Array.from({ length: 20_000 }, () => {
    const key = randomBytes(random, 32);
    return [aead.addKey(key), key] as const;
  });
  assert.equal(new Set(keys.map(([handle]) => handle)).size, keys.length);
  const check = (message: string) => {
    for (let round = 0; round < 20; round++) {
      const packets = lay(batch, region, 64, keys, random, () => 64);
      for (const { at, text } of packets) arena.u8.set(text, at);
      aead.seal(batch);
      for (const { at, sealed } of packets) assertMemory(arena, at, sealed, message);
    }
  };
  check('all keys');
  const free = arena.free;
  const removed = keys.splice(5_000, 10_000);
  for (const [handle] of removed) {
    aead.dropKey(handle);
    assertMemory(arena, handle, new Uint8Array(64), 'a dropped key');
  }
  check('the keys that stayed');
  for (const [handle] of removed) aead.dropKey(handle);
  for (let i = 0; i < 10_000; i++) {
    const key = randomBytes(random, 32);
    keys.push([aead.addKey(key), key]);
  }
  assert.equal(arena.free, free);
  assert.equal(new Set(keys.map(([handle]) => handle)).size, keys.length);
  check('the new keys');
});

test('keys are refused when the arena has no room for them, and when they are not 32 bytes', () => {
  const aead = new WasmTransportAead(new Arena({ bytes: 1024 }));
  const key = new Uint8Array(32);
  const addMany = () => {
    for (let i = 0; i < 2000; i++) aead.addKey(key);
  };
  assert.throws(addMany, RangeError);
  assert.throws(() => aead.addKey(new Uint8Array(31)), RangeError);
});

test('two instances on one memory use different slots, and one slot has one instance', () => {
  const arena = new Arena({ bytes: PAGE, shared: true });
  assert.equal(loadKernels(arena), loadKernels(arena, 0));
  assert.notEqual(loadKernels(arena, 1).scratch, loadKernels(arena).scratch);
  const handles = [new WasmTransportAead(arena), new WasmTransportAead(arena, 1)].map((aead) =>
    aead.addKey(new Uint8Array(32)),
  );
  assert.notEqual(handles[0], handles[1]);
  assert.throws(() => loadKernels(arena, KERNEL_SLOTS), RangeError);
  assert.throws(() => loadKernels(arena, -1), RangeError);
});
