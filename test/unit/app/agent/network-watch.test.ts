import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOnThisMachine, networkState } from '../../../../src/app/agent/network-watch.ts';

const entry = (address: string, internal = false) => ({
  address,
  netmask: '',
  family: 'IPv6' as const,
  mac: '',
  internal,
  cidr: `${address}/64`,
  scopeid: 0,
});

const state = (interfaces: Record<string, ReturnType<typeof entry>[]>, defaultRoutes: string[] = []) =>
  networkState({ interfaces, defaultRoutes }, 'siderolink');

test('a network is an address that is neither loopback, nor link-local, nor our own', () => {
  assert.ok(!state({}).hasNetwork);
  assert.ok(
    !state({ lo: [entry('::1', true)], eth0: [entry('fe80::1')], siderolink: [entry('fd00::1')] }).hasNetwork,
  );
  assert.ok(!state({ eth0: [entry('169.254.1.1')] }).hasNetwork);
  assert.ok(state({ eth0: [entry('fe80::1'), entry('2001:db8::1')] }).hasNetwork);
});

test('the network is another one when an address or a default route is', () => {
  const before = state({ eth0: [entry('2001:db8::1')], siderolink: [entry('fd00::1')] }, ['default 2']);
  const same = state({ siderolink: [entry('fd00::2')], eth0: [entry('2001:db8::1')] }, ['default 2']);
  assert.equal(same.fingerprint, before.fingerprint);
  for (const other of [
    state({ eth0: [entry('2001:db8::2')] }, ['default 2']),
    state({ eth1: [entry('2001:db8::1')] }, ['default 2']),
    state({ eth0: [entry('2001:db8::1')] }, ['default 3']),
    state({ eth0: [entry('2001:db8::1')] }),
  ])
    assert.notEqual(other.fingerprint, before.fingerprint);
});

test('a gateway on this machine needs no network', () => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1']) assert.ok(isOnThisMachine(host), host);
  for (const host of ['10.0.0.1', 'gateway.example', 'fd00::1']) assert.ok(!isOnThisMachine(host), host);
});
