import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { writeU32le } from '../../../src/core/bytes.ts';
import { AEAD_TAG_SIZE, MAC_SIZE, TIMESTAMP_SIZE, XAEAD_NONCE_SIZE } from '../../../src/noise/constants.ts';
import { KEY_SIZE } from '../../../src/noise/keys.ts';
import { COOKIE_REPLY, INITIATION, RESPONSE, TRANSPORT, classify } from '../../../src/noise/messages.ts';

/** Fails unless each field ends where the next one begins and the last one ends the message. */
function assertLayout(table: Record<string, number>, fields: readonly [string, number][]): void {
  let at = 0;
  for (const [field, size] of fields) {
    assert.equal(table[field], at, `${field} begins where the field before it ends`);
    at += size;
  }
  assert.equal(table['size'], at);
  assert.equal(Object.keys(table).length, fields.length + 1);
}

test('the offsets of the messages add up field by field', () => {
  const macs: [string, number][] = [
    ['mac1', MAC_SIZE],
    ['mac2', MAC_SIZE],
  ];
  assertLayout(INITIATION, [
    ['type', 4],
    ['sender', 4],
    ['ephemeral', KEY_SIZE],
    ['static', KEY_SIZE + AEAD_TAG_SIZE],
    ['timestamp', TIMESTAMP_SIZE + AEAD_TAG_SIZE],
    ...macs,
  ]);
  assertLayout(RESPONSE, [
    ['type', 4],
    ['sender', 4],
    ['receiver', 4],
    ['ephemeral', KEY_SIZE],
    ['empty', AEAD_TAG_SIZE],
    ...macs,
  ]);
  assertLayout(COOKIE_REPLY, [
    ['type', 4],
    ['receiver', 4],
    ['nonce', XAEAD_NONCE_SIZE],
    ['cookie', MAC_SIZE + AEAD_TAG_SIZE],
  ]);
  assertLayout(TRANSPORT, [
    ['type', 4],
    ['receiver', 4],
    ['counter', 8],
    ['content', AEAD_TAG_SIZE],
  ]);
});

const EXACT = new Map([
  [1, 148],
  [2, 92],
  [3, 64],
]);

test('a datagram is classified by its whole first word and its exact length, at any offset', () => {
  const bytes = new Uint8Array(70_000);
  for (const at of [0, 1, 77]) {
    for (let type = 0; type <= 260; type++) {
      writeU32le(bytes, at, type);
      for (const length of [
        0, 1, 3, 4, 16, 31, 32, 33, 63, 64, 65, 91, 92, 93, 147, 148, 149, 1500, 65_535,
      ]) {
        const fits = type === 4 ? length >= 32 : EXACT.get(type) === length;
        assert.equal(classify(bytes, at, length), fits ? type : 0, `type ${type}, length ${length}`);
      }
    }
  }
});

test('nonzero reserved bytes make an unknown type', () => {
  const bytes = new Uint8Array(148);
  for (const [type, length] of [...EXACT, [4, 32] as const]) {
    for (let bit = 8; bit < 32; bit++) {
      writeU32le(bytes, 0, type | (1 << bit));
      assert.equal(classify(bytes, 0, length), 0);
    }
  }
});

test('any bytes are classified without an exception (property)', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200, size: 'max' }), (bytes) => {
      const type = classify(bytes, 0, bytes.length);
      assert.ok(type === 0 || bytes.length === (type === 4 ? bytes.length : EXACT.get(type)));
    }),
  );
});
