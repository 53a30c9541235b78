import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  constantTimeEqual,
  isZero,
  parseBase64,
  parseHex,
  readU32le,
  toBase64,
  toHex,
  writeU32le,
} from '../../../src/core/bytes.ts';
import { nearest } from '../../../src/core/errors.ts';

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });

test('hex and base64: parse(print(x)) = x for keys', () => {
  fc.assert(
    fc.property(key, (bytes) => {
      assert.deepEqual(parseHex(toHex(bytes), 32), bytes);
      assert.deepEqual(parseHex(toHex(bytes).toUpperCase(), 32), bytes);
      assert.deepEqual(parseBase64(toBase64(bytes), 32), bytes);
    }),
  );
});

test('hex and base64: wrong length, alphabet, padding and stray bits are refused', () => {
  const text = toBase64(new Uint8Array(32).fill(7));
  for (const bad of [
    '',
    text.slice(1),
    `${text}=`,
    text.replace('=', ''),
    ` ${text}`,
    text.replace('c=', 'd='),
  ]) {
    assert.equal(parseBase64(bad, 32), undefined, bad);
  }
  for (const bad of ['', 'ab'.repeat(31), 'ab'.repeat(33), 'zz'.repeat(32), `0x${'ab'.repeat(31)}`]) {
    assert.equal(parseHex(bad, 32), undefined, bad);
  }
});

test('constant-time compare: equal exactly when all bytes are', () => {
  fc.assert(
    fc.property(key, fc.integer({ min: 0, max: 31 }), fc.integer({ min: 1, max: 255 }), (bytes, at, flip) => {
      const other = bytes.slice();
      assert.equal(constantTimeEqual(bytes, other), true);
      other[at] = (other[at] as number) ^ flip;
      assert.equal(constantTimeEqual(bytes, other), false);
      assert.equal(constantTimeEqual(bytes, bytes.subarray(1)), false);
    }),
  );
  assert.equal(isZero(new Uint8Array(32)), true);
  assert.equal(isZero(Uint8Array.of(0, 0, 1)), false);
});

test('little-endian words: all 32 bits survive', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (value) => {
      const bytes = new Uint8Array(8);
      writeU32le(bytes, 3, value);
      assert.equal(readU32le(bytes, 3), value);
      assert.equal(new DataView(bytes.buffer).getUint32(3, true), value);
    }),
  );
});

test('nearest name: a typo finds its word, something else finds nothing', () => {
  const words = ['AllowedIPs', 'Endpoint', 'PublicKey', 'PersistentKeepalive'];
  assert.equal(nearest('AllowdIPs', words), 'AllowedIPs');
  assert.equal(nearest('endpiont', words), 'Endpoint');
  assert.equal(nearest('Colour', words), undefined);
});
