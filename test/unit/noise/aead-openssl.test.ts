import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena, KERNEL_RESERVED } from '../../../src/core/arena.ts';
import { AEAD_FORGED, AEAD_OK, AeadBatch } from '../../../src/noise/aead.ts';
import { OpensslTransportAead } from '../../../src/noise/aead-openssl.ts';
import { transportAeadContract } from '../../contracts/aead.ts';

/** False, or why OpenSSL cannot be called here; throws under CULVERT_REQUIRE_INTEROP=1. */
function whyNot(): string | false {
  try {
    const { library } = new OpensslTransportAead(new Arena({ bytes: 1024 }));
    return library === '' ? 'SKIPPED: OpenSSL comes from nowhere' : false;
  } catch (error) {
    if (process.env['CULVERT_REQUIRE_INTEROP'] === '1') throw error;
    return `SKIPPED: ${String(error)}`;
  }
}

const skip = whyNot();

if (skip === false) transportAeadContract('openssl', (arena) => new OpensslTransportAead(arena));

test('one key seals and opens in turn, also after a forged packet', { skip }, () => {
  const arena = new Arena({ bytes: 65_536 });
  const aead = new OpensslTransportAead(arena);
  const batch = new AeadBatch(arena, 1);
  const at = arena.alloc(1024);
  const key = aead.addKey(new Uint8Array(32).fill(7));
  for (let counter = 0; counter < 50; counter++) {
    arena.u8.fill(counter, at, at + 200);
    batch.clear();
    batch.push(at, 200, counter, 0, key);
    aead.seal(batch);
    assert.equal(batch.status(0), AEAD_OK);
    const isForged = counter % 3 === 0;
    if (isForged) arena.u8[at + 200] = (arena.u8[at + 200] as number) ^ 1;
    aead.open(batch);
    assert.equal(batch.status(0), isForged ? AEAD_FORGED : AEAD_OK, `counter ${counter}`);
    const expected = new Uint8Array(200).fill(isForged ? 0 : counter);
    assert.equal(Buffer.compare(arena.u8.subarray(at, at + 200), expected), 0, `counter ${counter}`);
  }
});

test(
  'refuses packets outside of the arena and unknown keys, and leaves no plaintext to be sent',
  { skip },
  () => {
    const arena = new Arena({ bytes: 65_536 });
    const aead = new OpensslTransportAead(arena);
    const batch = new AeadBatch(arena, 5);
    const at = arena.alloc(64);
    const key = aead.addKey(new Uint8Array(32));
    arena.u8.fill(1, at, at + 64);
    batch.push(arena.u8.length - 100, 85, 0, 0, key);
    batch.push(0xffff_ffff, 0xffff_ffff, 0, 0, key);
    batch.push(at, 48, 0, 0, key + 1);
    batch.push(at, 48, 0, 0, 0);
    batch.push(KERNEL_RESERVED - 1, 48, 0, 0, key);
    aead.seal(batch);
    for (let i = 0; i < batch.count; i++) assert.equal(batch.status(i), AEAD_FORGED, `packet ${i}`);
    assert.deepEqual(arena.u8.slice(at, at + 64), new Uint8Array(64));
    aead.open(batch);
    for (let i = 0; i < batch.count; i++) assert.equal(batch.status(i), AEAD_FORGED, `packet ${i}`);
  },
);
