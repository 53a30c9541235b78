import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { toBase64 } from '../../../src/core/bytes.ts';
import {
  formatSignedToken,
  generatePlainToken,
  MACHINE_REQUEST_KEY,
  parseJoinToken,
  PROVIDER_KEY,
  sign,
  verifySignature,
} from '../../../src/link/join-token.ts';
import {
  plainTokenProblem,
  resolveJoinToken,
  TokenBook,
  tokenNameProblem,
  type TokenRecord,
  tokenStatus,
} from '../../../src/link/tokens.ts';
import { seededRandom } from '../../kit/random.ts';

const provided = { [PROVIDER_KEY]: 'test' };

test('signatures are those of the published vectors', () => {
  assert.equal(toBase64(sign(provided, 'abcd')), 'Y3igo9WlIIVNYjWfh2ZX96zgYnTB9pY27dBZVrp42Lg=');
  assert.equal(
    toBase64(sign({ [MACHINE_REQUEST_KEY]: 'request1', ...provided }, 'abcd')),
    'zYkLTp9EHjypLlkdmff5vgP5HDWFKTQpFGo5DJvL5x0=',
  );
});

test('the signed text does not depend on the order of the keys and escapes as Go does', () => {
  assert.deepEqual(sign({ b: '1', a: '2' }, 'k'), sign({ a: '2', b: '1' }, 'k'));
  // Go writes <, >, & as < and so on, which the two spellings of one JSON text would not.
  assert.notDeepEqual(sign({ a: '<' }, 'k'), sign({ a: '\\u003c' }, 'k'));
});

test('a signed token carries its data and verifies with the token that signed it and no other', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('v1' as const, 'v2' as const),
      fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ unit: 'binary', maxLength: 8 }), {
        noNullPrototype: true,
      }),
      (version, extra) => {
        const token = parseJoinToken(formatSignedToken(version, extra, 'secret'));
        assert.equal(token.version, version);
        assert.ok(verifySignature(token, 'secret'));
        assert.ok(!verifySignature(token, 'Secret'));
        assert.ok(!verifySignature(token, ''));
      },
    ),
  );
});

function encoded(version: string, value: unknown): string {
  return `${version}:${Buffer.from(JSON.stringify(value)).toString('base64')}`;
}

test('a signed token without a signature, or with one of another length, verifies nothing', () => {
  for (const signature of [undefined, '', 'AAAA', 'not base64!']) {
    const token = parseJoinToken(encoded('v2', { extra_data: {}, signature }));
    assert.ok(!verifySignature(token, ''), String(signature));
  }
});

test('a changed member breaks the signature', () => {
  const token = parseJoinToken(formatSignedToken('v2', provided, 'abcd'));
  assert.ok(!verifySignature({ ...token, extraData: { [PROVIDER_KEY]: 'other' } }, 'abcd'));
});

test('broken signed tokens are malformed', () => {
  for (const text of [
    'v1:',
    'v1:!!!!',
    'v2:e30',
    'v1:bm90IGpzb24=',
    encoded('v1', []),
    encoded('v1', null),
    encoded('v2', { extra_data: [] }),
    encoded('v2', { extra_data: { a: 1 } }),
    encoded('v2', { extra_data: {}, signature: 1 }),
    'x'.repeat(9000),
  ]) {
    assert.throws(() => parseJoinToken(text), SyntaxError, text.slice(0, 40));
  }
});

test('everything else is a plain token, also what merely looks similar', () => {
  for (const text of ['abcd', 'v3:x', 'V1:x', 'v1', '1:x']) {
    assert.deepEqual([parseJoinToken(text).version, parseJoinToken(text).plain], ['plain', text]);
  }
});

test('generated tokens are 43 characters of base62 and fit to be plain tokens', () => {
  const tokens = new Set(Array.from({ length: 50 }, (_, i) => generatePlainToken(seededRandom(i))));
  assert.equal(tokens.size, 50);
  for (const token of tokens) {
    assert.match(token, /^[0-9A-Za-z]{43}$/);
    assert.equal(plainTokenProblem(token), undefined);
  }
});

test('names of tokens have 1 to 16 characters, none of them a control character', () => {
  for (const name of [
    'a',
    'initial token',
    '1234567890123456',
    'ümläut',
    '🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀',
  ]) {
    assert.equal(tokenNameProblem(name), undefined, name);
  }
  for (const name of ['', '12345678901234567', 'a\nb', 'a\u0085b', '\u007f'])
    assert.ok(tokenNameProblem(name));
});

test('plain tokens that could be taken for something else are not made', () => {
  for (const token of ['', 'v1:abc', 'v2:abc', 'a b', 'ü', 'x'.repeat(256)])
    assert.ok(plainTokenProblem(token));
});

const record = (token: string, more: Partial<TokenRecord> = {}): TokenRecord => ({
  token,
  name: token,
  createdAtMs: 0,
  isRevoked: false,
  ...more,
});

test('status: revoked before expired before used up', () => {
  const all = record('t', { isRevoked: true, expiresAtMs: 100, useLimit: 1 });
  assert.equal(tokenStatus(all, 1, 100), 'revoked');
  assert.equal(tokenStatus({ ...all, isRevoked: false }, 1, 100), 'expired');
  assert.equal(tokenStatus({ ...all, isRevoked: false }, 1, 99), 'used_up');
  assert.equal(tokenStatus({ ...all, isRevoked: false }, 0, 99), 'active');
  assert.equal(tokenStatus(record('t'), 1_000_000, Number.MAX_SAFE_INTEGER), 'active');
  assert.equal(tokenStatus(record('t', { useLimit: 0 }), 0, 0), 'used_up');
});

test('a presented token is found in its form, with the key that its form calls for', () => {
  const plain = record('plain');
  const main = record('main');
  const ofProvider = record('provider secret', { provider: 'test' });
  const book = new TokenBook([plain, main, ofProvider], 'main');
  const unsigned = { a: 'b' };
  const cases: [string, string | undefined, object][] = [
    ['plain', 'plain', { kind: 'known', token: plain, extraData: {} }],
    ['default, plain', 'main', { kind: 'known', token: main, extraData: {} }],
    ['missing', undefined, { kind: 'unknown', reason: 'missing' }],
    ['empty', '', { kind: 'unknown', reason: 'missing' }],
    ['unknown', 'other', { kind: 'unknown', reason: 'unknown' }],
    ['a prefix of one', 'mai', { kind: 'unknown', reason: 'unknown' }],
    ['a signing key is not for joining', 'provider secret', { kind: 'unknown', reason: 'unknown' }],
    ['v1 by the default', formatSignedToken('v1', unsigned, 'main'), { kind: 'known', token: main }],
    ['v2 without provider', formatSignedToken('v2', unsigned, 'main'), { kind: 'known', token: main }],
    ['v1 ignores the provider', formatSignedToken('v1', provided, 'main'), { kind: 'known', token: main }],
    [
      'v1 by another token',
      formatSignedToken('v1', unsigned, 'plain'),
      { kind: 'unknown', reason: 'bad_signature' },
    ],
    [
      'v2 by its provider',
      formatSignedToken('v2', provided, 'provider secret'),
      { kind: 'known', token: ofProvider },
    ],
    [
      'v2 by the default',
      formatSignedToken('v2', provided, 'main'),
      { kind: 'unknown', reason: 'bad_signature' },
    ],
    [
      'v2 by an absent provider',
      formatSignedToken('v2', { [PROVIDER_KEY]: 'gone' }, 'main'),
      { kind: 'no_provider', provider: 'gone' },
    ],
    ['broken', 'v2:!', { kind: 'malformed' }],
  ];
  for (const [name, presented, expected] of cases) {
    assert.deepEqual(
      { ...resolveJoinToken(presented, book), ...expected },
      resolveJoinToken(presented, book),
      name,
    );
  }
});

test('without a default token no signed token is worth anything', () => {
  const book = new TokenBook([record('main')], undefined);
  assert.deepEqual(resolveJoinToken(formatSignedToken('v1', {}, 'main'), book), {
    kind: 'unknown',
    reason: 'bad_signature',
  });
});

test('a key of Object.prototype in extra data is data', () => {
  const token = parseJoinToken(encoded('v2', JSON.parse('{"extra_data":{"__proto__":"x"}}') as object));
  assert.equal(token.extraData['__proto__'], 'x');
  assert.equal(token.extraData['toString'], undefined);
});
