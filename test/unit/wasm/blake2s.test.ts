import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import { toHex } from '../../../src/core/bytes.ts';
import { wasmBlake2s } from '../../../src/noise/blake2s-wasm.ts';
import { blake2sContract } from '../../contracts/crypto.ts';
import { randomBytes, seededRandom } from '../../kit/random.ts';

blake2sContract('wasm', wasmBlake2s());

test('hash, mac and hmac agree with noble for every length from 0 to 600', () => {
  const random = seededRandom(1);
  const wasm = wasmBlake2s();
  for (let length = 0; length <= 600; length++) {
    const message = randomBytes(random, length);
    const key = randomBytes(random, 1 + (length % 32));
    assert.equal(toHex(wasm.hash(message)), toHex(blake2s(message)), `hash of ${length} bytes`);
    assert.equal(
      toHex(wasm.mac(key, message)),
      toHex(blake2s(message, { key, dkLen: 16 })),
      `mac of ${length} bytes under a key of ${key.length}`,
    );
    const longKey = randomBytes(random, length % 65);
    assert.equal(
      toHex(wasm.hmac(longKey, message)),
      toHex(hmac(blake2s, longKey, message)),
      `hmac of ${length} bytes under a key of ${longKey.length}`,
    );
  }
});

test('a message longer than the input area is the same in one part and in many', () => {
  const random = seededRandom(2);
  const wasm = wasmBlake2s();
  for (const length of [1023, 1024, 1025, 2047, 2048, 2049, 3072, 10_000]) {
    const message = randomBytes(random, length);
    const key = randomBytes(random, 32);
    const parts = [0, 1, 64, 1000, 1001].map((from, i, cuts) =>
      message.subarray(Math.min(from, length), cuts[i + 1] ?? length),
    );
    assert.equal(toHex(wasm.hash(message)), toHex(blake2s(message)), `one part, ${length} bytes`);
    assert.equal(toHex(wasm.hash(...parts)), toHex(blake2s(message)), `five parts, ${length} bytes`);
    assert.equal(
      toHex(wasm.mac(key, ...parts)),
      toHex(blake2s(message, { key, dkLen: 16 })),
      `mac of ${length} bytes`,
    );
  }
});

test('refuses keys that BLAKE2s has no place for', () => {
  const wasm = wasmBlake2s();
  assert.throws(() => wasm.mac(new Uint8Array(0)), RangeError);
  assert.throws(() => wasm.mac(new Uint8Array(33)), RangeError);
  assert.throws(() => wasm.hmac(new Uint8Array(65)), RangeError);
});

test('results are the caller’s own: the next digest does not change them', () => {
  const wasm = wasmBlake2s();
  const first = wasm.hash(Uint8Array.of(1));
  const copy = first.slice();
  wasm.hash(Uint8Array.of(2));
  assert.deepEqual(first, copy);
});
