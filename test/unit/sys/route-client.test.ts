import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { SystemError } from '../../../src/core/errors.ts';
import { type Address, parseAddress, parsePrefix } from '../../../src/core/ip.ts';
import { fdWatcher } from '../../../src/sys/readiness.ts';
import { RouteClient } from '../../../src/sys/route-client.ts';
import { ROUTE_EVENTS, type RouteEvent, RouteMonitor } from '../../../src/sys/route-monitor.ts';
import * as rt from '../../../src/sys/rtnetlink.ts';
import { Namespace, requireRoot } from '../../kit/netns.ts';

const address = (text: string): Address => parseAddress(text) as Address;
const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);
const failsWith = (errnoName: string, words: RegExp) => (error: unknown) =>
  error instanceof SystemError && error.errnoName === errnoName && words.test(error.message);

describe('rtnetlink', { skip: requireRoot() }, () => {
  let namespace: Namespace;
  let client: RouteClient;
  let near: number;
  before(() => {
    namespace = Namespace.create();
    // Both ends of the pair stay here: the far one is there to be up.
    namespace.ip('link add near0 type veth peer name near1');
    namespace.ip('link set near1 up');
    client = namespace.within(() => new RouteClient());
    near = client.link('near0')?.index ?? assert.fail('no near0');
  });
  after(async () => {
    client.close();
    await namespace.close();
  });

  test('a link is found by name and by index, an absent one is undefined', () => {
    const lo = client.link('lo') ?? assert.fail('no lo');
    assert.deepEqual([lo.index, lo.name, lo.mtu], [1, 'lo', 65_536]);
    assert.ok((lo.flags & rt.IFF_UP) !== 0 && (lo.flags & rt.IFF_RUNNING) !== 0);
    assert.deepEqual(client.link(1), lo);
    assert.equal(client.link('absent0'), undefined);
    assert.equal(client.link(4_711), undefined);
  });

  test('links go up and down and change their MTU', () => {
    client.setLinkMtu(near, 1_380);
    client.setLinkUp(near, true);
    const link = client.link(near);
    assert.equal(link?.mtu, 1_380);
    assert.equal((link?.flags ?? 0) & rt.IFF_UP, rt.IFF_UP);
    assert.match(namespace.ip('link show near0'), /<[^>]*\bUP\b.*mtu 1380/);
    client.setLinkUp(near, false);
    assert.equal((client.link(near)?.flags ?? 0) & rt.IFF_UP, 0);
    client.setLinkUp(near, true);
  });

  test('addresses of both families are added once, with their on-link routes', () => {
    client.addAddress(near, address('192.0.2.1'), 24);
    client.addAddress(near, address('2001:db8::1'), 64);
    const shown = namespace.ip('address show near0');
    assert.match(shown, /inet 192\.0\.2\.1\/24 scope global near0/);
    assert.match(shown, /inet6 2001:db8::1\/64 scope global/);
    assert.throws(
      () => client.addAddress(near, address('192.0.2.1'), 24),
      failsWith('EEXIST', /add address 192\.0\.2\.1\/24 to link \d+/),
    );
  });

  test('on-link routes of both families are added to any table and deleted', () => {
    for (const destination of ['198.51.100.0/24', '0.0.0.0/0', '2001:db8:1::/48', '::/0']) {
      const family = destination.includes(':') ? 6 : 4;
      const route = { destination: prefix(destination), interfaceIndex: near, table: 51_820 };
      assert.ok(!client.hasRoutes(family, 51_820) && client.hasRoutes(family, rt.RT_TABLE_MAIN));
      client.addRoute(route);
      assert.ok(client.hasRoutes(family, 51_820));
      const text = destination.endsWith('/0') ? 'default' : destination;
      assert.match(namespace.ip(`-${family} route show table 51820`), new RegExp(`^${text} dev near0`, 'm'));
      assert.throws(() => client.addRoute(route), failsWith('EEXIST', /add route .* table 51820/));
      client.deleteRoute(route);
      assert.equal(namespace.ip(`-${family} route show table 51820`), '');
      assert.throws(() => client.deleteRoute(route), failsWith('ESRCH', /delete route/));
    }
  });

  test('the kernel says in words what is wrong, where it does', () => {
    assert.throws(
      () => client.addRoute({ destination: prefix('198.51.100.0/24'), interfaceIndex: 4_711 }),
      failsWith('ENODEV', /add route 198\.51\.100\.0\/24 dev 4711 table 254/),
    );
    client.setLinkUp(near, false);
    assert.throws(
      () => client.addRoute({ destination: prefix('198.51.100.0/24'), interfaceIndex: near }),
      failsWith('ENETDOWN', /\(Device for nexthop is not up\)/),
    );
    client.setLinkUp(near, true);
    client.addAddress(near, address('2001:db8::2'), 64);
  });

  test('policy rules as wg-quick makes them are added, found and deleted', () => {
    for (const family of [4, 6] as const) {
      const shown = () => namespace.ip(`-${family} rule show`);
      const mark = { family, table: 51_820, fwmark: 51_820, invert: true };
      const suppress = { family, table: rt.RT_TABLE_MAIN, suppressPrefixLength: 0 };
      assert.ok(!client.hasRule(mark) && !client.hasRule(suppress));
      client.addRule(mark);
      assert.ok(client.hasRule(mark) && !client.hasRule(suppress));
      client.addRule(suppress);
      assert.ok(client.hasRule(suppress) && !client.hasRule({ ...mark, invert: false }));
      assert.match(shown(), /not from all fwmark 0xca6c lookup 51820/);
      assert.match(shown(), /lookup main suppress_prefixlength 0/);
      client.deleteRule(mark);
      client.deleteRule(suppress);
      assert.doesNotMatch(shown(), /51820|suppress/);
      assert.throws(() => client.deleteRule(mark), failsWith('ENOENT', /delete IPv/));
      const placed = { ...mark, priority: 1_000 };
      client.addRule(placed);
      assert.ok(
        client.hasRule(placed) && client.hasRule(mark) && !client.hasRule({ ...mark, priority: 1_001 }),
      );
      assert.throws(() => client.addRule(placed), failsWith('EEXIST', new RegExp(`add IPv${family} rule`)));
      client.deleteRule(placed);
    }
  });

  test('a route look-up tells interface and source, and honours the mark', () => {
    assert.deepEqual(client.routeTo(address('192.0.2.9')), {
      interfaceIndex: near,
      source: address('192.0.2.1'),
      mtu: undefined,
    });
    assert.equal(client.routeTo(address('2001:db8::9'))?.interfaceIndex, near);
    assert.equal(client.routeTo(address('127.0.0.1'))?.interfaceIndex, 1);
    assert.equal(client.routeTo(address('203.0.113.1')), undefined);
    assert.equal(client.routeTo(address('2001:db8:ffff::1')), undefined);
    const all = { destination: prefix('0.0.0.0/0'), interfaceIndex: near, table: 99 };
    client.addRoute(all);
    client.addRule({ family: 4, table: 99, fwmark: 5 });
    assert.equal(client.routeTo(address('203.0.113.1')), undefined);
    assert.equal(client.routeTo(address('203.0.113.1'), { mark: 5 })?.interfaceIndex, near);
    client.deleteRule({ family: 4, table: 99, fwmark: 5 });
    client.deleteRoute(all);
  });

  test('a route look-up from a source that is not ours finds nothing', () => {
    const source = address('198.51.100.77');
    assert.equal(client.routeTo(address('192.0.2.9'), { source }), undefined);
    assert.ok(client.routeTo(address('192.0.2.9'), { source: address('192.0.2.1') }));
  });

  test('a link in another namespace is found by the id of that namespace', async () => {
    const other = Namespace.create();
    other.ip('link add far0 mtu 1234 type veth peer name far1');
    const fd = openSync(other.path, 'r');
    const id = client.namespaceId(fd);
    assert.equal(client.namespaceId(fd), id);
    closeSync(fd);
    assert.equal(client.link('far0'), undefined);
    assert.equal(client.link('far0', id)?.mtu, 1_234);
    await other.close();
  });

  test('a deleted link is gone', () => {
    namespace.ip('link add short0 type veth peer name short1');
    const index = client.link('short0')?.index ?? assert.fail('no short0');
    client.deleteLink(index);
    assert.equal(client.link('short0'), undefined);
    assert.throws(() => client.deleteLink(index), failsWith('ENODEV', /delete link/));
  });

  test('the monitor reports links, addresses and routes of both families, and nothing after close', async () => {
    const seen: RouteEvent[] = [];
    let wake = () => {};
    const monitor = namespace.within(
      () =>
        new RouteMonitor({
          groups: ROUTE_EVENTS,
          watcher: fdWatcher,
          onEvents: (events) => {
            seen.push(...events);
            wake();
          },
        }),
    );
    const until = async (found: (event: RouteEvent) => boolean) => {
      while (!seen.some(found)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      seen.length = 0;
    };
    client.setLinkMtu(near, 1_300);
    await until((event) => event.kind === 'link' && event.link.mtu === 1_300 && !event.gone);
    for (const text of ['192.0.2.77', '2001:db8::77']) {
      client.addAddress(near, address(text), text.includes(':') ? 128 : 32);
      await until((event) => event.kind === 'address');
    }
    for (const text of ['198.51.100.0/24', '2001:db8:5::/48']) {
      client.addRoute({ destination: prefix(text), interfaceIndex: near });
      await until((event) => event.kind === 'route');
    }
    client.deleteLink(near);
    await until((event) => event.kind === 'link' && event.link.name === 'near0' && event.gone);
    monitor.close();
    monitor.close();
    namespace.ip('link add late0 type veth peer name late1');
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    assert.deepEqual(seen, []);
  });
});
