// Endpoint order, Talos versions and node unique tokens.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEndpoint, swapEnds } from '../../../src/link/endpoints.ts';
import { supportsSecureJoin } from '../../../src/link/talos-version.ts';
import {
  formatUniqueToken,
  generateUniqueToken,
  machineFingerprint,
  parseUniqueToken,
  sameFingerprint,
  sameToken,
} from '../../../src/link/unique-token.ts';
import { seededRandom } from '../../kit/random.ts';

test('the endpoint list travels with its ends swapped, which is a swap and not a reversal', () => {
  const cases: [string[], string[]][] = [
    [['a'], ['a']],
    [
      ['a', 'b'],
      ['b', 'a'],
    ],
    [
      ['a', 'b', 'c'],
      ['c', 'b', 'a'],
    ],
    [
      ['a', 'b', 'c', 'd'],
      ['d', 'b', 'c', 'a'],
    ],
    [[], []],
  ];
  for (const [list, wire] of cases) {
    assert.deepEqual(swapEnds(list), wire);
    assert.deepEqual(swapEnds(wire), list);
  }
});

test('endpoints are names or addresses with a port', () => {
  for (const good of [
    '1.2.3.4:51820',
    '[fd00::1]:1',
    'gw.example.org:65535',
    'host:50180',
    'a_b.example.:1',
  ]) {
    assert.ok(isEndpoint(good), good);
  }
  for (const bad of [
    '',
    'host',
    'host:0',
    'host:65536',
    'fd00::1:51820',
    ':51820',
    ' a:1',
    'a:1 ',
    'a b:1',
    '-a:1',
  ]) {
    assert.ok(!isEndpoint(bad), bad);
  }
});

test('node unique tokens came with Talos 1.6.0, whose pre-releases are older than it', () => {
  const cases: [string | undefined, boolean][] = [
    ['v1.6.0', true],
    ['1.6.0', true],
    ['v1.6', true],
    ['v1.6.1-alpha.0', true],
    ['v1.7.0-alpha.0', true],
    ['v1.13.0', true],
    ['v2.0.0-alpha.1', true],
    ['v1.6.0+build', true],
    ['v1.6.0-alpha.1', false],
    ['v1.6.0-beta.0-12-gdeadbee', false],
    ['v1.5.9', false],
    ['v0.14.3', false],
    [undefined, false],
    ['', false],
    ['main', false],
    ['v1', false],
    ['v1.6.0 ', false],
  ];
  for (const [version, expected] of cases) assert.equal(supportsSecureJoin(version), expected, `${version}`);
});

test('a unique token is a JSON object; absent and empty are the same', () => {
  assert.equal(parseUniqueToken(undefined), undefined);
  assert.equal(parseUniqueToken(''), undefined);
  assert.deepEqual(parseUniqueToken('{"Fingerprint":"f","Token":"t"}'), { fingerprint: 'f', token: 't' });
  assert.deepEqual(parseUniqueToken('{"token":"t","Other":1}'), { fingerprint: '', token: 't' });
});

test('a malformed unique token is refused with a text that does not repeat it', () => {
  for (const text of [
    'random-token',
    '[]',
    'null',
    '"x"',
    '{}',
    '{"Token":""}',
    '{"Token":1}',
    '{"Token":"t","Fingerprint":{}}',
  ]) {
    assert.throws(
      () => parseUniqueToken(text),
      (error: unknown) => error instanceof SyntaxError && !error.message.includes(text),
      text,
    );
  }
  assert.throws(() => parseUniqueToken(`{"Token":"${'x'.repeat(5000)}"}`), SyntaxError);
});

test('the secret decides equality, the fingerprint only tells whether the hardware is the same', () => {
  const a = { fingerprint: 'f', token: 't' };
  assert.ok(sameToken(a, { fingerprint: 'other', token: 't' }));
  assert.ok(!sameToken(a, { fingerprint: 'f', token: 'u' }));
  assert.ok(sameFingerprint(a, { fingerprint: 'f', token: 'u' }));
  assert.ok(!sameFingerprint(a, { fingerprint: 'g', token: 't' }));
  assert.ok(!sameFingerprint({ fingerprint: '', token: 'a' }, { fingerprint: '', token: 'b' }));
});

test('a generated unique token survives its text form; the fingerprint does not depend on the order of links', () => {
  const fingerprint = machineFingerprint(['52:54:00:00:00:02', '52:54:00:00:00:01']);
  assert.equal(fingerprint, machineFingerprint(['52:54:00:00:00:01', '52:54:00:00:00:02']));
  assert.match(fingerprint, /^[0-9a-f]{64}$/);
  const token = generateUniqueToken(seededRandom(3), fingerprint);
  assert.match(token.token, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(parseUniqueToken(formatUniqueToken(token)), token);
});
