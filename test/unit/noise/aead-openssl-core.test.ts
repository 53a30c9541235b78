import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena, KERNEL_RESERVED } from '../../../src/core/arena.ts';
import { CompositeTransportAead } from '../../../src/noise/aead-composite.ts';
import { OpensslCoreTransportAead } from '../../../src/noise/aead-openssl-core.ts';
import { WasmTransportAead } from '../../../src/noise/aead-wasm.ts';
import { AEAD_FORGED, AEAD_OK, AeadBatch } from '../../../src/noise/aead.ts';
import { opensslPrimitives } from '../../../src/sys/openssl.ts';
import { transportAeadContract } from '../../contracts/aead.ts';

/** False, or why these functions cannot be called here; throws under CULVERT_REQUIRE_INTEROP=1. */
function whyNot(): string | false {
  try {
    opensslPrimitives();
    return false;
  } catch (error) {
    if (process.env['CULVERT_REQUIRE_INTEROP'] === '1') throw error;
    return `SKIPPED: ${String(error)}`;
  }
}

const skip = whyNot();

if (skip === false) {
  transportAeadContract('openssl-core', (arena) => new OpensslCoreTransportAead(arena));
  transportAeadContract(
    'wasm+openssl-core',
    (arena) =>
      new CompositeTransportAead(new WasmTransportAead(arena), new OpensslCoreTransportAead(arena), 500),
  );
}

test('a packet at the very end of the arena is sealed and opened like any other', { skip }, () => {
  const arena = new Arena({ bytes: 65_536 });
  const elsewhere = new AeadBatch(arena, 1);
  const atEnd = new AeadBatch(arena, 1);
  const aead = new OpensslCoreTransportAead(arena);
  const key = aead.addKey(new Uint8Array(32).fill(9));
  const middle = arena.alloc(4096);
  for (const length of [0, 1, 15, 16, 17, 100, 1420]) {
    const last = arena.u8.length - length - 16;
    for (const [batch, at] of [
      [elsewhere, middle],
      [atEnd, last],
    ] as const) {
      arena.u8.fill(length % 251, at, at + length);
      batch.clear();
      batch.push(at, length, length, 3, key);
      aead.seal(batch);
      assert.equal(batch.status(0), AEAD_OK);
    }
    const sealed = arena.u8.slice(middle, middle + length + 16);
    assert.equal(Buffer.compare(arena.u8.subarray(last), sealed), 0, `${length} bytes`);
    aead.open(atEnd);
    assert.equal(atEnd.status(0), AEAD_OK);
    assert.ok(arena.u8.subarray(last, last + length).every((byte) => byte === length % 251));
  }
});

test(
  'refuses packets outside of the arena and unknown keys, and leaves no plaintext to be sent',
  { skip },
  () => {
    const arena = new Arena({ bytes: 65_536 });
    const aead = new OpensslCoreTransportAead(arena);
    const batch = new AeadBatch(arena, 5);
    const at = arena.alloc(64);
    const key = aead.addKey(new Uint8Array(32));
    arena.u8.fill(1, at, at + 64);
    batch.push(arena.u8.length - 100, 85, 0, 0, key);
    batch.push(0xffff_ffff, 0xffff_ffff, 0, 0, key);
    batch.push(at, 48, 0, 0, key + 64);
    batch.push(at, 48, 0, 0, 0);
    batch.push(KERNEL_RESERVED - 1, 48, 0, 0, key);
    aead.seal(batch);
    for (let i = 0; i < batch.count; i++) assert.equal(batch.status(i), AEAD_FORGED, `packet ${i}`);
    assert.deepEqual(arena.u8.slice(at, at + 64), new Uint8Array(64));
    aead.open(batch);
    for (let i = 0; i < batch.count; i++) assert.equal(batch.status(i), AEAD_FORGED, `packet ${i}`);
  },
);

test('a forged packet is not even decrypted', { skip }, () => {
  const arena = new Arena({ bytes: 65_536 });
  const aead = new OpensslCoreTransportAead(arena);
  const batch = new AeadBatch(arena, 1);
  const at = arena.alloc(2048);
  batch.push(at, 1420, 5, 0, aead.addKey(new Uint8Array(32).fill(3)));
  aead.seal(batch);
  arena.u8[at + 1420 + 15] = (arena.u8[at + 1420 + 15] as number) ^ 0x80;
  const received = arena.u8.slice(at, at + 2048);
  aead.open(batch);
  assert.equal(batch.status(0), AEAD_FORGED);
  assert.equal(Buffer.compare(arena.u8.subarray(at, at + 2048), received), 0);
});

test('no one-time key and no Poly1305 state stays in the arena', { skip }, () => {
  const arena = new Arena({ bytes: 65_536 });
  const aead = new OpensslCoreTransportAead(arena);
  const batch = new AeadBatch(arena, 3);
  const key = aead.addKey(new Uint8Array(32).fill(0x5a));
  const before = arena.u8.slice(KERNEL_RESERVED);
  const at = arena.alloc(4096);
  for (let i = 0; i < 3; i++) batch.push(at + i * 1100, 1000, i, 0, key);
  aead.seal(batch);
  aead.open(batch);
  arena.u8.fill(0, batch.table, batch.table + 3 * 32);
  arena.u8.fill(0, at, at + 4096);
  const left = arena.u8.slice(KERNEL_RESERVED);
  let changed = 0;
  for (const [i, byte] of left.entries()) if (byte !== before[i]) changed++;
  // The counter of the last packet and its tag, both public.
  assert.ok(changed <= 4 + 16, `${changed} bytes differ`);
});
