/**
 * What every backend of the handshake primitives has to do: published vectors, edge sizes, and agreement with
 * independent implementations. Call each function with each implementation.
 */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import { blake2s as referenceBlake2s } from '@noble/hashes/blake2.js';
import * as fc from 'fast-check';
import { parseHex, toHex } from '../../src/core/bytes.ts';
import { systemRandom } from '../../src/core/random.ts';
import type { Aead, Blake2s, X25519 } from '../../src/noise/crypto.ts';
import { kdf1, kdf2, kdf3 } from '../../src/noise/kdf.ts';
import { nobleX25519 } from '../../src/noise/x25519-noble.ts';
import { LOW_ORDER_POINTS } from '../kit/low-order.ts';
import { randomBytes, seededRandom } from '../kit/random.ts';
import { assertHides } from '../kit/secrets.ts';
import { readVectors, requireVectors } from '../kit/vectors.ts';

const BLAKE2S_KAT = 'blake2s-kat.json';
const X25519_VECTORS = 'wycheproof-x25519_test.json';
const AEAD_VECTORS = 'wycheproof-chacha20_poly1305_test.json';
const XAEAD_VECTORS = 'wycheproof-xchacha20_poly1305_test.json';

export function hex(text: string): Uint8Array {
  const bytes = parseHex(text, text.length / 2);
  assert.ok(bytes, `${text} is not hexadecimal`);
  return bytes;
}

/** The input generator of RFC 7693 appendix E. */
function sequence(length: number, seed: number): Uint8Array {
  let a = Math.imul(0xdead_4bad, seed);
  let b = 1;
  return Uint8Array.from({ length }, () => {
    const next = (a + b) | 0;
    a = b;
    b = next;
    return next >>> 24;
  });
}

/** Cuts `bytes` into parts at pseudo-random places, empty parts included. */
function split(bytes: Uint8Array, count: number): Uint8Array[] {
  const cuts = Array.from({ length: count - 1 }, (_, i) => (bytes.length * (i * 7 + 3)) % (bytes.length + 1));
  cuts.sort((a, b) => a - b);
  return [0, ...cuts].map((from, i) => bytes.subarray(from, cuts[i] ?? bytes.length));
}

interface KnownAnswer {
  readonly in: string;
  readonly key: string;
  readonly out: string;
}

export function blake2sContract(name: string, blake2s: Blake2s): void {
  describe(`BLAKE2s ${name}`, () => {
    test('hashes RFC 7693 appendix B', () => {
      assert.equal(
        toHex(blake2s.hash(new TextEncoder().encode('abc'))),
        '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982',
      );
    });

    test(
      'hashes the 256 unkeyed known answers of the BLAKE2 project',
      { skip: requireVectors(BLAKE2S_KAT) },
      () => {
        const answers = (readVectors(BLAKE2S_KAT) as KnownAnswer[]).filter(({ key }) => key === '');
        assert.equal(answers.length, 256);
        for (const answer of answers) assert.equal(toHex(blake2s.hash(hex(answer.in))), answer.out);
      },
    );

    test('hashes parts as if they were joined', () => {
      for (const length of [0, 1, 63, 64, 65, 127, 128, 129, 300]) {
        const bytes = sequence(length, length + 1);
        const key = sequence(32, 9);
        for (let count = 1; count <= 5; count++) {
          const parts = split(bytes, count);
          assert.deepEqual(blake2s.hash(...parts), blake2s.hash(bytes));
          assert.deepEqual(blake2s.mac(key, ...parts), blake2s.mac(key, bytes));
          assert.deepEqual(blake2s.hmac(key, ...parts), blake2s.hmac(key, bytes));
        }
      }
      assert.deepEqual(blake2s.hash(), blake2s.hash(new Uint8Array(0)));
    });

    // The two digests below were computed with Python's hashlib.blake2s and hmac over the same inputs.
    test('makes the same keyed 16-byte macs as Python for keys of 1, 16 and 32 bytes', () => {
      const all = createHash('blake2s256');
      for (let length = 0; length <= 300; length++) {
        for (const keyLength of [1, 16, 32]) {
          const mac = blake2s.mac(sequence(keyLength, keyLength), sequence(length, length));
          assert.equal(mac.length, 16);
          all.update(mac);
        }
      }
      assert.equal(all.digest('hex'), 'cb1cc0c3ae1194d2d4d4de02d1756586aa05412d8082f8295db1c4cf348970d8');
    });

    test('makes the same HMACs as Python for keys of 0, 32 and 64 bytes', () => {
      const all = createHash('blake2s256');
      for (let length = 0; length <= 300; length++) {
        for (const keyLength of [0, 32, 64]) {
          all.update(blake2s.hmac(sequence(keyLength, keyLength), sequence(length, length)));
        }
      }
      assert.equal(all.digest('hex'), '35b915f05c936e5cdc78e389bb62dfc47cdf0a9023499eebad5cfc227e7f76ba');
    });

    test('derives the three KDF vectors of wireguard-go', () => {
      const vectors = [
        [
          'test-key',
          'test-input',
          '6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633',
          'df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a',
          'fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24',
        ],
        [
          'wireguard',
          'wireguard',
          '491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8',
          '1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f',
          '31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160',
        ],
        [
          '',
          '',
          '8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0',
          '58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e',
          '0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e',
        ],
      ] as const;
      for (const [key, input, t1, t2, t3] of vectors) {
        const bytes = [new TextEncoder().encode(key), new TextEncoder().encode(input)] as const;
        assert.equal(toHex(kdf1(blake2s, ...bytes)), t1);
        assert.deepEqual(kdf2(blake2s, ...bytes).map(toHex), [t1, t2]);
        assert.deepEqual(kdf3(blake2s, ...bytes).map(toHex), [t1, t2, t3]);
      }
    });

    test('returns arrays of its own, and does not change or keep its inputs', () => {
      const key = sequence(32, 1);
      const input = sequence(80, 2);
      const first = [blake2s.hash(input), blake2s.mac(key, input), blake2s.hmac(key, input)];
      const copies = first.map((bytes) => bytes.slice());
      blake2s.hash(key);
      blake2s.mac(input.subarray(0, 16), key);
      blake2s.hmac(input.subarray(0, 32), key);
      assert.deepEqual(first, copies);
      assert.deepEqual(key, sequence(32, 1));
      assert.deepEqual(input, sequence(80, 2));
    });

    test('agrees with OpenSSL and noble on any input (property)', () => {
      const bytes = fc.uint8Array({ maxLength: 400, size: 'max' });
      const key = fc.uint8Array({ minLength: 1, maxLength: 32, size: 'max' });
      fc.assert(
        fc.property(key, fc.array(bytes, { maxLength: 4 }), (key, parts) => {
          const joined = Buffer.concat(parts);
          const plain = createHash('blake2s256').update(joined).digest('hex');
          assert.equal(toHex(blake2s.hash(...parts)), plain);
          const hmac = createHmac('blake2s256', key).update(joined).digest('hex');
          assert.equal(toHex(blake2s.hmac(key, ...parts)), hmac);
          assert.deepEqual(blake2s.mac(key, ...parts), referenceBlake2s(joined, { key, dkLen: 16 }));
        }),
      );
    });
  });
}

interface WycheproofFile<Test> {
  readonly testGroups: readonly { readonly ivSize?: number; readonly tests: readonly Test[] }[];
}

interface XdhTest {
  readonly tcId: number;
  readonly flags: readonly string[];
  readonly public: string;
  readonly private: string;
  readonly shared: string;
}

export function x25519Contract(name: string, x25519: X25519): void {
  const shared = (privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined =>
    x25519.importPrivateKey(privateKey).diffieHellman(x25519.importPublicKey(publicKey));

  describe(`X25519 ${name}`, () => {
    test('computes the two vectors of RFC 7748 section 5.2', () => {
      const vectors = [
        [
          'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
          'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
          'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
        ],
        [
          '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
          'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
          '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
        ],
      ] as const;
      for (const [scalar, point, expected] of vectors) {
        assert.equal(toHex(shared(hex(scalar), hex(point)) as Uint8Array), expected);
      }
    });

    test('iterates as in RFC 7748 section 5.2, once and a thousand times', () => {
      let scalar = hex(`09${'00'.repeat(31)}`);
      let point = scalar;
      for (let i = 1; i <= 1000; i++) {
        [scalar, point] = [shared(scalar, point) as Uint8Array, scalar];
        if (i === 1) {
          const once = '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079';
          assert.equal(toHex(scalar), once);
        }
      }
      assert.equal(toHex(scalar), '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51');
    });

    test('agrees on a secret as in RFC 7748 section 6.1', () => {
      const alice = x25519.importPrivateKey(
        hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'),
      );
      const bob = x25519.importPrivateKey(
        hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'),
      );
      assert.equal(
        toHex(alice.publicKey),
        '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
      );
      assert.equal(toHex(bob.publicKey), 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
      const secret = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
      const toAlice = bob.diffieHellman(x25519.importPublicKey(alice.publicKey)) as Uint8Array;
      const toBob = alice.diffieHellman(x25519.importPublicKey(bob.publicKey)) as Uint8Array;
      assert.deepEqual([toHex(toAlice), toHex(toBob)], [secret, secret]);
    });

    test(
      'computes all Wycheproof cases and refuses the 31 with an all-zero secret',
      {
        skip: requireVectors(X25519_VECTORS),
      },
      () => {
        const file = readVectors(X25519_VECTORS) as WycheproofFile<XdhTest>;
        const tests = file.testGroups.flatMap((group) => group.tests);
        assert.equal(tests.length, 518);
        let refused = 0;
        for (const { tcId, flags, private: secret, public: point, shared: expected } of tests) {
          const result = shared(hex(secret), hex(point));
          if (flags.includes('ZeroSharedSecret')) {
            assert.equal(result, undefined, `case ${tcId}`);
            refused++;
          } else {
            assert.equal(result && toHex(result), expected, `case ${tcId}`);
          }
        }
        assert.equal(refused, 31);
      },
    );

    test('refuses every point of low order that the kernel tests', () => {
      const key = x25519.importPrivateKey(sequence(32, 5));
      for (const point of LOW_ORDER_POINTS) {
        assert.equal(key.diffieHellman(x25519.importPublicKey(point)), undefined, toHex(point));
      }
    });

    test('generates keys from the given randomness, and different ones from the system', () => {
      const secret = randomBytes(seededRandom(7), 32);
      const generated = x25519.generate(seededRandom(7));
      assert.deepEqual(generated.publicKey, nobleX25519.importPrivateKey(secret).publicKey);
      const a = x25519.generate(systemRandom);
      const b = x25519.generate(systemRandom);
      assert.notDeepEqual(a.publicKey, b.publicKey);
      assert.deepEqual(
        a.diffieHellman(x25519.importPublicKey(b.publicKey)),
        b.diffieHellman(x25519.importPublicKey(a.publicKey)),
      );
    });

    test('copies keys on import, and accepts public keys of another backend', () => {
      const secret = sequence(32, 6);
      const point = nobleX25519.generate(seededRandom(8)).publicKey.slice();
      const expected = shared(secret, point);
      const key = x25519.importPrivateKey(secret);
      const remote = x25519.importPublicKey(point);
      const foreign = nobleX25519.importPublicKey(point);
      secret.fill(0);
      point.fill(0);
      assert.deepEqual(key.diffieHellman(remote), expected);
      assert.deepEqual(key.diffieHellman(foreign), expected);
    });

    test('computes nothing after zero', () => {
      const key = x25519.generate(seededRandom(9));
      const remote = x25519.importPublicKey(x25519.generate(seededRandom(10)).publicKey);
      key.zero();
      assert.equal(key.diffieHellman(remote), undefined);
    });

    test('does not print private keys', () => {
      const secret = randomBytes(seededRandom(11), 32);
      const key = x25519.importPrivateKey(secret);
      assertHides(key, secret);
    });

    test('agrees with noble for any key and point (property)', () => {
      const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
      fc.assert(
        fc.property(key, key, (secret, point) => {
          const reference = nobleX25519.importPrivateKey(secret);
          assert.deepEqual(
            shared(secret, point),
            reference.diffieHellman(nobleX25519.importPublicKey(point)),
          );
          assert.deepEqual(x25519.importPrivateKey(secret).publicKey, reference.publicKey);
        }),
        { numRuns: 50 },
      );
    });
  });
}

interface AeadTest {
  readonly tcId: number;
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
  readonly result: 'valid' | 'invalid';
}

export function aeadContract(name: string, aead: Aead): void {
  const check = (file: string, ivSize: number, count: number, seal: Aead['seal'], open: Aead['open']) => {
    const { testGroups } = readVectors(file) as WycheproofFile<AeadTest>;
    const tests = testGroups.filter((group) => group.ivSize === ivSize).flatMap((group) => group.tests);
    assert.equal(tests.length, count);
    for (const { tcId, key, iv, aad, msg, ct, tag, result } of tests) {
      const sealed = hex(ct + tag);
      const opened = open(hex(key), hex(iv), sealed, hex(aad));
      assert.equal(opened && toHex(opened), result === 'valid' ? msg : undefined, `case ${tcId}, open`);
      if (result === 'valid') {
        assert.equal(toHex(seal(hex(key), hex(iv), hex(msg), hex(aad))), ct + tag, `case ${tcId}, seal`);
      }
    }
  };

  describe(`handshake AEAD ${name}`, () => {
    test('seals and opens the example of RFC 8439 section 2.8.2', () => {
      const key = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
      const nonce = hex('070000004041424344454647');
      const ad = hex('50515253c0c1c2c3c4c5c6c7');
      const text = new TextEncoder().encode(
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
      );
      const sealed = aead.seal(key, nonce, text, ad);
      assert.equal(
        toHex(sealed),
        'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71' +
          'de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def0' +
          '8e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
      );
      assert.deepEqual(aead.open(key, nonce, sealed, ad), text);
    });

    test(
      'seals and opens all Wycheproof cases of ChaCha20-Poly1305',
      { skip: requireVectors(AEAD_VECTORS) },
      () => {
        check(
          AEAD_VECTORS,
          96,
          316,
          (...inputs) => aead.seal(...inputs),
          (...inputs) => aead.open(...inputs),
        );
      },
    );

    test(
      'seals and opens all Wycheproof cases of XChaCha20-Poly1305',
      { skip: requireVectors(XAEAD_VECTORS) },
      () => {
        check(
          XAEAD_VECTORS,
          192,
          306,
          (...inputs) => aead.xseal(...inputs),
          (...inputs) => aead.xopen(...inputs),
        );
      },
    );

    test('refuses what is too short to hold a tag', () => {
      const key = new Uint8Array(32);
      for (let length = 0; length < 16; length++) {
        const sealed = new Uint8Array(length);
        assert.equal(aead.open(key, new Uint8Array(12), sealed, new Uint8Array(0)), undefined);
        assert.equal(aead.xopen(key, new Uint8Array(24), sealed, new Uint8Array(0)), undefined);
      }
    });
  });
}
