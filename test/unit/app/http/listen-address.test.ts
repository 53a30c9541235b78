import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLocalHost } from '../../../../src/app/http/host-check.ts';
import {
  formatListenAddress,
  isLoopback,
  parseListenAddress,
} from '../../../../src/app/http/listen-address.ts';
import { AppError } from '../../../../src/core/errors.ts';

test('listen address: a port alone is on loopback', () => {
  assert.deepEqual(parseListenAddress('9586', '--metrics'), { host: '127.0.0.1', port: 9586 });
  assert.deepEqual(parseListenAddress('0', '--metrics'), { host: '127.0.0.1', port: 0 });
});

test('listen address: addresses of both families, and localhost', () => {
  assert.deepEqual(parseListenAddress('0.0.0.0:80', '-'), { host: '0.0.0.0', port: 80 });
  assert.deepEqual(parseListenAddress('[::1]:65535', '-'), { host: '::1', port: 65535 });
  assert.deepEqual(parseListenAddress('localhost:1', '-'), { host: '127.0.0.1', port: 1 });
});

test('listen address: what it prints is read again', () => {
  for (const text of ['127.0.0.1:9586', '[fd00::1]:1', '0.0.0.0:0'])
    assert.equal(formatListenAddress(parseListenAddress(text, '-')), text);
});

test('listen address: everything else is a usage error that names the flag', () => {
  for (const text of [
    '',
    'x',
    ':9586',
    '1.2.3:4',
    '::1:80',
    '[1.2.3.4]:5',
    '1.2.3.4:65536',
    'host:1',
    '-1',
    '1.2.3.4',
  ])
    assert.throws(
      () => parseListenAddress(text, '--metrics'),
      (error) => error instanceof AppError && error.exitCode === 2 && error.message.startsWith('--metrics'),
      text,
    );
});

test('listen address: only 127.0.0.0/8 and ::1 are loopback', () => {
  assert.deepEqual(['127.0.0.1', '127.9.9.9', '::1', '0.0.0.0', '::', '10.0.0.1'].map(isLoopback), [
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('host check: addresses and localhost are local, names are not', () => {
  for (const host of [
    '127.0.0.1',
    '127.0.0.1:80',
    '[::1]',
    '[::1]:80',
    'localhost',
    'localhost.:1',
    '10.0.0.1:2',
  ])
    assert.ok(isLocalHost(host), host);
  for (const host of [
    undefined,
    '',
    'evil.example',
    'localhost.evil',
    '[evil]',
    '127.0.0.1.evil:80',
    'a:b:c',
  ])
    assert.ok(!isLocalHost(host), String(host));
});
