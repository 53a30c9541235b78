import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findToken, newToken, revokeToken } from '../../../src/link/token-admin.ts';
import { tokenStatus } from '../../../src/link/tokens.ts';
import { seededRandom } from '../../kit/random.ts';

const random = seededRandom(1);

test('a token has what was asked for, and a random secret unless one was given', () => {
  const token = newToken({ name: 'rack 1', useLimit: 1, expiresAtMs: 2000 }, random, 1000);
  assert.match(token.token, /^[0-9A-Za-z]{43}$/);
  assert.deepEqual(
    { ...token, token: '' },
    { token: '', name: 'rack 1', useLimit: 1, expiresAtMs: 2000, createdAtMs: 1000, isRevoked: false },
  );
  assert.equal(newToken({ name: 'a', token: 'mine' }, random, 0).token, 'mine');
});

test('names, tokens, limits and expiries that cannot be are refused', () => {
  for (const wanted of [
    { name: '' },
    { name: 'a name that is far too long' },
    { name: 'a', token: 'v1:x' },
    { name: 'a', useLimit: 0 },
    { name: 'a', useLimit: 1.5 },
    { name: 'a', expiresAtMs: 1000 },
    { name: 'a', expiresAtMs: Number.NaN },
  ]) {
    assert.throws(() => newToken(wanted, random, 1000), { code: 'usage' }, JSON.stringify(wanted));
  }
});

test('a token is found by name or by itself; an error names the others and not what was typed', () => {
  const tokens = [
    newToken({ name: 'a', token: 'x' }, random, 0),
    newToken({ name: 'b', token: 'a' }, random, 0),
  ];
  assert.equal(findToken('a', tokens), tokens[0]);
  assert.equal(findToken('x', tokens), tokens[0]);
  assert.throws(
    () => findToken('secret', tokens),
    (error: Error & { hint?: string }) =>
      !error.message.includes('secret') && error.hint === 'there are "a", "b"',
  );
});

test('revoking can be taken back', () => {
  const token = newToken({ name: 'a' }, random, 0);
  const [change] = revokeToken(token, true);
  assert.ok(change?.kind === 'put_token');
  assert.equal(tokenStatus(change.record, 0, 0), 'revoked');
  const [back] = revokeToken(change.record, false);
  assert.ok(back?.kind === 'put_token');
  assert.equal(tokenStatus(back.record, 0, 0), 'active');
});
