import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chacha20 } from '@noble/ciphers/chacha.js';
import { Arena } from '../../../src/core/arena.ts';
import { toHex } from '../../../src/core/bytes.ts';
import { uniform } from '../../../src/core/random.ts';
import { AEAD_DESCRIPTOR } from '../../../src/noise/aead.ts';
import { loadKernels } from '../../../src/wasm/kernels.ts';
import { hex } from '../../contracts/crypto.ts';
import { randomBytes, seededRandom } from '../../kit/random.ts';
import { readVectors, requireVectors } from '../../kit/vectors.ts';
import { authenticatedData, poly1305 } from '../../reference/poly1305.ts';

const GROUP_SIZE = 8;
const TEXT_SIZE = 4096;
const arena = new Arena({ bytes: (GROUP_SIZE + 1) * TEXT_SIZE });
const table = arena.alloc(GROUP_SIZE * AEAD_DESCRIPTOR.size);
const texts = arena.alloc(GROUP_SIZE * TEXT_SIZE);

interface Message {
  /** r and s. */
  readonly key: Uint8Array;
  readonly text: Uint8Array;
}

/** Tags of 1 to 8 messages under any Poly1305 keys: hands the kernel what ChaCha20 would have put there. */
function tags(messages: readonly Message[]): Uint8Array[] {
  const { exports, layout, scratch } = loadKernels(arena);
  for (const [i, { key, text }] of messages.entries()) {
    const view = new DataView(key.buffer, key.byteOffset, key.length);
    const at = texts + i * TEXT_SIZE + i;
    for (let word = 0; word < 8; word++) {
      const row = scratch + layout.ONE_TIME_KEYS + 32 * word;
      arena.view.setUint32(row + 4 * i, view.getUint32(4 * word, true), true);
    }
    const descriptor = table + i * AEAD_DESCRIPTOR.size;
    arena.view.setUint32(scratch + layout.GROUP + 4 * i, descriptor, true);
    arena.view.setUint32(descriptor + AEAD_DESCRIPTOR.at, at, true);
    arena.view.setUint32(descriptor + AEAD_DESCRIPTOR.length, text.length, true);
    arena.u8.set(text, at);
  }
  exports.computeTags(messages.length);
  const at = scratch + layout.TAGS;
  return messages.map((_, i) => arena.u8.slice(at + 16 * i, at + 16 * i + 16));
}

function assertTags(messages: readonly Message[]): void {
  for (const [i, tag] of tags(messages).entries()) {
    const { key, text } = messages[i] as Message;
    assert.equal(
      toHex(tag),
      toHex(poly1305(key, authenticatedData(text))),
      `message ${i} of ${messages.length}: ${text.length} bytes of ${text[0]}, key ${toHex(key)}`,
    );
  }
}

/** 16 bytes whose 13-bit limbs all have this value. */
function limbs(value: bigint): Uint8Array {
  let number = 0n;
  for (let i = 0n; i < 10n; i++) number |= value << (13n * i);
  return Uint8Array.from({ length: 16 }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
}

function keyOf(r: Uint8Array, s: number): Uint8Array {
  const key = new Uint8Array(32).fill(s);
  key.set(r);
  return key;
}

const EXTREME_R: readonly Uint8Array[] = [
  new Uint8Array(16),
  new Uint8Array(16).fill(0xff),
  Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 1 : 0)),
  Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 5 : 0)),
  Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? 0x0f : 0)),
  hex('ffffff0ffcffff0ffcffff0ffcffff0f'),
  hex('00100008001000080010000800100008'),
  // The centring of limbs turns at 4096.
  ...[1n, 4094n, 4095n, 4096n, 4097n, 8190n, 8191n].map(limbs),
];
const EXTREME_KEYS = EXTREME_R.flatMap((r) => [0, 0xff].map((s) => keyOf(r, s)));
const FILLS = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];

test('the slow twin passes RFC 8439 section 2.5.2', () => {
  const key = hex('85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b');
  const text = new TextEncoder().encode('Cryptographic Forum Research Group');
  assert.equal(toHex(poly1305(key, text)), 'a8061dc1305136c6c22b8baf0c0127a9');
});

test('a lone text gives the right tag for extreme keys and bytes', () => {
  for (const key of EXTREME_KEYS) {
    for (const fill of FILLS) {
      for (const length of [0, 1, 16, 33, 160, 161, 170, 176, 192, 208, 1420]) {
        assertTags([{ key, text: new Uint8Array(length).fill(fill) }]);
      }
    }
  }
});

test('texts in lanes side by side give the right tags for extreme keys and bytes', () => {
  for (let i = 0; i < EXTREME_KEYS.length; i++) {
    for (const length of [0, 16, 64, 240, 1420]) {
      const messages = Array.from({ length: GROUP_SIZE }, (_, lane) => ({
        key: EXTREME_KEYS[(i + lane) % EXTREME_KEYS.length] as Uint8Array,
        text: new Uint8Array(length).fill(FILLS[lane % FILLS.length] as number),
      }));
      assertTags(messages);
    }
  }
});

const P = (1n << 130n) - 5n;
const BLOCK = 1n << 128n;

/** r = 1: the hash is the plain sum of the blocks, each with its bit 128, and of the length block. */
const PLAIN_SUM_KEYS = [0, 0xff].map((s) => keyOf(EXTREME_R[2] as Uint8Array, s));

function textOf(blocks: readonly bigint[]): Uint8Array {
  return Uint8Array.from({ length: 16 * blocks.length }, (_, i) =>
    Number(((blocks[i >> 4] as bigint) >> BigInt(8 * (i & 15))) & 0xffn),
  );
}

/** A text in which the blocks from `first` on make the plain sum congruent to `wanted`. */
function textWithSum(count: number, first: number, wanted: bigint): Uint8Array {
  const fixed = BigInt(count + 1) * BLOCK + (BigInt(16 * count) << 64n);
  let missing = (((wanted - fixed) % P) + P) % P;
  const blocks = Array.from({ length: count }, () => 0n);
  for (let i = 0; i < count && missing > 0n; i++) {
    const share = missing < BLOCK ? missing : BLOCK - 1n;
    blocks[(first + i) % count] = share;
    missing -= share;
  }
  return textOf(blocks);
}

test('a hash at either end of 0 .. p - 1 is fully reduced before s is added', () => {
  for (const key of PLAIN_SUM_KEYS) {
    for (let count = 4; count <= 40; count++) {
      for (let wanted = -8n; wanted <= 8n; wanted++) {
        const messages = Array.from({ length: GROUP_SIZE }, (_, first) => ({
          key,
          text: textWithSum(count, first, wanted),
        }));
        assertTags(messages);
        for (const message of messages) assertTags([message]);
      }
    }
  }
});

test('the sum of four lanes carries correctly when its lowest piece is about to overflow', () => {
  const random = seededRandom(2);
  for (const key of PLAIN_SUM_KEYS) {
    for (let count = 11; count <= 26; count++) {
      for (let distance = 1n; distance <= 64n; distance++) {
        const blocks = Array.from({ length: count }, () =>
          BigInt(`0xff${Buffer.from(randomBytes(random, 15)).toString('hex')}`),
        );
        const low = blocks.reduce((sum, block) => sum + block, 0n) & 0x3ffffffn;
        blocks[0] = (blocks[0] as bigint) + ((1n << 26n) - distance - low);
        assertTags([{ key, text: textOf(blocks) }]);
      }
    }
  }
});

test('any group of any lengths gives the right tags (5000 random groups)', () => {
  const random = seededRandom(1);
  const pick = <T>(from: readonly T[]) => from[uniform(random, from.length)] as T;
  const lengthKinds = [
    () => uniform(random, 3),
    () => uniform(random, 64),
    () => 16 * uniform(random, 30),
    () => uniform(random, 800),
    () => 1000 + uniform(random, 500),
  ];
  for (let round = 0; round < 5000; round++) {
    const sameLength = pick(lengthKinds)();
    const isEven = uniform(random, 3) === 0;
    const messages = Array.from({ length: 1 + uniform(random, GROUP_SIZE) }, () => {
      const length = isEven ? sameLength : pick(lengthKinds)();
      return {
        key: uniform(random, 2) === 0 ? pick(EXTREME_KEYS) : randomBytes(random, 32),
        text: uniform(random, 3) > 0 ? new Uint8Array(length).fill(pick(FILLS)) : randomBytes(random, length),
      };
    });
    assertTags(messages);
  }
});

const WYCHEPROOF = 'wycheproof-chacha20_poly1305_test.json';

interface Group {
  readonly ivSize: number;
  readonly tests: readonly {
    tcId: number;
    key: string;
    iv: string;
    aad: string;
    ct: string;
    tag: string;
    result: string;
  }[];
}

// No Wycheproof vector has the nonce of a transport message. Those without additional data still say what Poly1305 has
// to give, among them ones built for extreme limbs and carries.
test(
  'the tags of Wycheproof vectors without additional data come out right',
  { skip: requireVectors(WYCHEPROOF) },
  () => {
    const { testGroups } = readVectors(WYCHEPROOF) as { testGroups: readonly Group[] };
    let checked = 0;
    for (const group of testGroups) {
      for (const { key, iv, aad, ct, tag, result, tcId } of group.tests) {
        if (group.ivSize !== 96 || aad !== '') continue;
        const oneTimeKey = chacha20(hex(key), hex(iv), new Uint8Array(64)).slice(0, 32);
        const text = hex(ct);
        for (const count of [1, 2, 5, GROUP_SIZE]) {
          const messages = Array.from({ length: count }, () => ({ key: oneTimeKey, text }));
          for (const computed of tags(messages)) {
            assert.equal(toHex(computed) === tag, result === 'valid', `test ${tcId}, group of ${count}`);
          }
        }
        checked++;
      }
    }
    assert.ok(checked >= 40, `only ${checked} vectors without additional data`);
  },
);
