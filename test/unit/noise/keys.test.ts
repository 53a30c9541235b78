import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { KeySlots } from '../../../src/noise/key-slots.ts';
import { PresharedKey, PrivateKey, PublicKey, parseKeyBytes } from '../../../src/noise/keys.ts';
import { randomBytes, seededRandom } from '../../kit/random.ts';

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('keys', () => {
  test('a private key is clamped on import, once for all', () => {
    const key = new PrivateKey(new Uint8Array(32).fill(0xff));
    assert.deepEqual([key.bytes[0], key.bytes[31]], [0xf8, 0x7f]);
    const low = new PrivateKey(new Uint8Array(32).fill(1));
    assert.deepEqual([low.bytes[0], low.bytes[1], low.bytes[31]], [0, 1, 0x41]);
    assert.ok(new PrivateKey(key.bytes).equals(key));
  });

  test('an all-zero private key stays all zero, because it means "no key"', () => {
    assert.equal(new PrivateKey(new Uint8Array(32)).isZero, true);
    assert.equal(new PrivateKey(new Uint8Array(32).fill(1)).isZero, false);
    assert.equal(PresharedKey.none.isZero, true);
  });

  test('a preshared key is taken as it is', () => {
    const bytes = randomBytes(seededRandom(1), 32);
    assert.deepEqual(new PresharedKey(bytes).bytes, bytes);
  });

  test('generated keys come from the given randomness, private ones clamped', () => {
    const drawn = randomBytes(seededRandom(2), 32);
    assert.ok(PrivateKey.generate(seededRandom(2)).equals(new PrivateKey(drawn)));
    assert.ok(PresharedKey.generate(seededRandom(2)).equals(new PresharedKey(drawn)));
  });

  test('a key has exactly 32 bytes', () => {
    for (const size of [0, 31, 33, 64]) {
      const bytes = new Uint8Array(size);
      for (const Key of [PrivateKey, PresharedKey, PublicKey]) {
        assert.throws(() => new Key(bytes), {
          name: 'RangeError',
          message: `a key has 32 bytes, got ${size}`,
        });
      }
    }
  });

  test('zero wipes the buffer that bytes gives out', () => {
    const key = new PresharedKey(randomBytes(seededRandom(3), 32));
    const { bytes } = key;
    key.zero();
    assert.deepEqual(bytes, new Uint8Array(32));
    assert.equal(key.isZero, true);
  });

  test('keys parse from what they print, as base64 and hexadecimal, and compare by value (property)', () => {
    fc.assert(
      fc.property(bytes32, bytes32, (a, b) => {
        const key = new PresharedKey(a);
        assert.deepEqual(parseKeyBytes(key.exposeBase64()), a);
        assert.deepEqual(parseKeyBytes(key.exposeHex()), a);
        assert.deepEqual(parseKeyBytes(key.exposeHex().toUpperCase()), a);
        const isSame = Buffer.compare(a, b) === 0;
        assert.equal(key.equals(new PresharedKey(b)), isSame);
        assert.equal(new PublicKey(a).equals(new PublicKey(b)), isSame);
        assert.ok(new PublicKey(a).equals(new PublicKey(a)));
      }),
    );
  });

  test('what is no key does not parse', () => {
    const good = new PresharedKey(new Uint8Array(32).fill(0xfb)).exposeBase64();
    const bad = [
      '',
      good.slice(1),
      `${good}=`,
      good.replace('=', ''),
      good.replaceAll('+', '-'),
      `${good.slice(0, 42)}9=`,
      ` ${good.slice(1)}`,
      'g'.repeat(64),
      '0'.repeat(63),
      '0'.repeat(65),
    ];
    assert.ok(good.includes('+'));
    for (const text of bad) assert.equal(parseKeyBytes(text), undefined, text);
  });

  test('a public key shows itself shortened in logs and whole in JSON', () => {
    const key = new PublicKey(new Uint8Array(32).fill(1));
    assert.equal(key.base64, 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=');
    assert.equal(String(key), 'peer(AQEB…BAQE)');
    assert.equal(JSON.stringify(key), `"${key.base64}"`);
    assert.equal(key.hex, '01'.repeat(32));
  });
});

describe('key slots', () => {
  test('handles start at 1, are unique while in use, and are reused when free', () => {
    const slots = new KeySlots<string>();
    assert.deepEqual([slots.add('a'), slots.add('b'), slots.add('c')], [1, 2, 3]);
    assert.equal(slots.remove(2), 'b');
    assert.equal(slots.get(2), undefined);
    assert.equal(slots.remove(2), undefined, 'a second removal finds nothing');
    assert.deepEqual([slots.add('d'), slots.add('e')], [2, 4]);
    assert.deepEqual(
      [1, 2, 3, 4].map((handle) => slots.get(handle)),
      ['a', 'd', 'c', 'e'],
    );
  });

  test('a handle that was never given out names nothing', () => {
    const slots = new KeySlots<string>();
    for (const handle of [0, -1, 1, 99]) {
      assert.equal(slots.get(handle), undefined);
      assert.equal(slots.remove(handle), undefined);
    }
    assert.equal(slots.add('a'), 1);
  });
});
