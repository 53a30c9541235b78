import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  duration,
  formatListen,
  listenAddress,
  oneOf,
  portOrNone,
  wholeNumber,
} from '../../../src/app/flag-values.ts';

test('listen addresses: with and without an address, IPv6 in brackets', () => {
  const cases: readonly (readonly [string, string | undefined, number])[] = [
    [':4000', undefined, 4000],
    ['4000', undefined, 4000],
    ['192.0.2.1:4000', '192.0.2.1', 4000],
    ['localhost:1', '127.0.0.1', 1],
    ['[2001:db8::1]:65535', '2001:db8::1', 65_535],
    ['[::]:0', '::', 0],
  ];
  for (const [text, host, port] of cases) {
    assert.deepEqual(listenAddress('--listen', text), { host, port }, text);
  }
  assert.equal(formatListen({ host: '2001:db8::1', port: 1 }), '[2001:db8::1]:1');
  assert.equal(formatListen({ host: undefined, port: 1 }), ':1');
});

test('listen addresses that are none are refused with an example', () => {
  for (const text of ['', ':', '192.0.2.1', '::1:4000', '[x]:1', ':65536', 'a b:1', '[192.0.2.1]:1']) {
    assert.throws(() => listenAddress('--listen', text), { code: 'usage' }, text);
  }
  assert.throws(() => listenAddress('--listen', '192.0.2.1'), { hint: 'the port is missing' });
});

test('choices: case and hyphens do not matter, typos get the nearest one', () => {
  const modes = ['strict', 'legacyAllowed', 'legacy'] as const;
  assert.equal(oneOf('--mode', 'legacy-allowed', modes), 'legacyAllowed');
  assert.equal(oneOf('--mode', 'STRICT', modes), 'strict');
  assert.throws(() => oneOf('--mode', 'strcit', modes), { hint: 'did you mean strict?' });
});

test('numbers, ports and durations have bounds and units', () => {
  assert.equal(wholeNumber('--n', '7', 1, 9), 7);
  for (const text of ['0', '10', '1.5', '-1', '1e1', '']) {
    assert.throws(() => wholeNumber('--n', text, 1, 9), { code: 'usage' }, text);
  }
  assert.equal(portOrNone('--p', 'none'), undefined);
  assert.equal(portOrNone('--p', '8090'), 8090);
  assert.throws(() => portOrNone('--p', '0'), { code: 'usage' });
  assert.equal(duration('--d', '90s'), 90_000);
  assert.equal(duration('--d', '2w'), 1_209_600_000);
  for (const text of ['0s', '1', 'h', '1y', '-1s', '1.5h'])
    assert.throws(() => duration('--d', text), { code: 'usage' });
});
