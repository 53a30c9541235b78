import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/core/clock.ts';
import { SystemError } from '../../../src/core/errors.ts';
import { type Address, parseAddress } from '../../../src/core/ip.ts';
import { NetworkNamespace } from '../../../src/sys/namespace.ts';
import { PingSocket } from '../../../src/sys/ping-socket.ts';
import { RouteClient } from '../../../src/sys/route-client.ts';
import { requireRoot } from '../../kit/netns.ts';

const LOCALHOST = parseAddress('127.0.0.1') as Uint8Array;
const ELSEWHERE = parseAddress('192.0.2.1') as Uint8Array;

const place = (): string => readlinkSync('/proc/thread-self/ns/net');

function setLoopbackUp(): void {
  const routes = new RouteClient();
  routes.setLinkUp(routes.link('lo')?.index ?? assert.fail(), true);
  routes.close();
}

describe('network namespaces', { skip: requireRoot() }, () => {
  test('making one leaves the thread where it is, and running in it comes back', () => {
    const home = place();
    const namespace = NetworkNamespace.create();
    assert.equal(place(), home);
    const inside = namespace.run(place);
    assert.notEqual(inside, home);
    assert.equal(place(), home);
    assert.throws(() => namespace.run(() => assert.fail('within')), /within/);
    assert.equal(place(), home);
    namespace.close();
  });

  test('a new one has a loopback device, down, and nothing else', () => {
    const namespace = NetworkNamespace.create();
    namespace.run(() => {
      const routes = new RouteClient();
      assert.equal(routes.link(1)?.name, 'lo');
      assert.equal((routes.link(1)?.flags ?? 1) & 1, 0);
      assert.equal(routes.link(2), undefined);
      routes.close();
    });
    namespace.close();
  });

  test('entering for good moves what is opened from then on', () => {
    const home = NetworkNamespace.current();
    const namespace = NetworkNamespace.create();
    const inside = namespace.run(place);
    namespace.enter();
    assert.equal(place(), inside);
    home.enter();
    namespace.close();
    home.close();
  });

  test('a ping is answered and takes time', () => {
    const namespace = NetworkNamespace.create();
    namespace.run(() => {
      setLoopbackUp();
      const socket = new PingSocket(LOCALHOST, systemClock);
      for (let i = 0; i < 3; i++) assert.ok((socket.ping(5_000) ?? assert.fail('no answer')) > 0);
      socket.close();
    });
    namespace.close();
  });

  test('a ping of IPv6 is answered and takes time', () => {
    const namespace = NetworkNamespace.create();
    namespace.run(() => {
      setLoopbackUp();
      const socket = new PingSocket(parseAddress('::1') as Address, systemClock);
      for (let i = 0; i < 3; i++) assert.ok((socket.ping(5_000) ?? assert.fail('no answer')) > 0);
      socket.close();
    });
    namespace.close();
  });

  test('an address without a route is refused by name', () => {
    const namespace = NetworkNamespace.create();
    namespace.run(() =>
      assert.throws(
        () => new PingSocket(ELSEWHERE, systemClock),
        (error: unknown) =>
          error instanceof SystemError && error.message === 'connect ICMP socket to 192.0.2.1: ENETUNREACH',
      ),
    );
    namespace.close();
  });
});
