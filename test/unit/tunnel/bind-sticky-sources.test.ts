import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { decodeEndpoint, encodeEndpoint, ENDPOINT } from '../../../src/tunnel/endpoint.ts';
import { type RouteCheck, StickySources } from '../../../src/tunnel/sticky-sources.ts';
import { address } from '../../kit/pair.ts';

const arena = new Arena({ bytes: 1 << 20 });
const records = arena.alloc(8_192 * 64);

/** Peers are told apart by their number; all were learnt at interface 3. */
function learn(peer: number, source = '192.0.2.1'): number {
  const record = records + 64 * peer;
  const remote = source.includes(':') ? address('2001:db8::9') : address('198.51.100.9');
  encodeEndpoint(
    {
      address: remote,
      port: 1 + peer,
      scope: 0,
      carrier: 0,
      source: { address: address(source), interfaceIndex: 3 },
    },
    arena.u8,
    record,
  );
  return record;
}

function world(leavesBy = 3) {
  const asked: string[] = [];
  const routes = { leavesBy };
  const check: RouteCheck = (interfaceIndex, destination, source) => {
    asked.push(`${destination.join('.')} from ${source.join('.')}`);
    return interfaceIndex === routes.leavesBy;
  };
  return { asked, routes, sources: new StickySources(arena, check) };
}

const sourceOf = (record: number) => decodeEndpoint(arena.u8, record)?.source;

test('nobody is asked until routes change: what came in proves the route', () => {
  const { asked, sources } = world(9);
  const record = learn(0);
  sources.check(record);
  assert.deepEqual(asked, []);
  assert.ok(sourceOf(record));
});

test('after a change each record is asked for once, until the next change', () => {
  const { asked, sources } = world();
  const record = learn(0);
  sources.routesChanged();
  for (let i = 0; i < 3; i++) sources.check(record);
  assert.deepEqual(asked, ['198.51.100.9 from 192.0.2.1']);
  sources.routesChanged();
  sources.check(record);
  assert.equal(asked.length, 2);
});

test('a source whose interface the route has left is cleared, the endpoint stays', () => {
  for (const source of ['192.0.2.1', '2001:db8::1']) {
    const { sources, routes } = world();
    const record = learn(0, source);
    sources.routesChanged();
    sources.check(record);
    assert.ok(sourceOf(record));
    routes.leavesBy = 4;
    sources.routesChanged();
    sources.check(record);
    assert.equal(sourceOf(record), undefined);
    assert.equal(decodeEndpoint(arena.u8, record)?.port, 1);
  }
});

test('a source that old packets teach again after the change is asked for again', () => {
  const { asked, sources, routes } = world();
  sources.routesChanged();
  routes.leavesBy = 4;
  for (let i = 0; i < 2; i++) {
    const record = learn(0);
    sources.check(record);
    assert.equal(sourceOf(record), undefined);
  }
  assert.equal(asked.length, 2);
});

test('a record with another source, remote or port counts as another one', () => {
  const { asked, sources } = world();
  sources.routesChanged();
  sources.check(learn(0));
  sources.check(learn(0, '192.0.2.2'));
  arena.u16[(learn(0) + ENDPOINT.port) / 2] = 999;
  sources.check(records);
  assert.equal(asked.length, 3);
});

test('records without a source cost no question', () => {
  const { asked, sources } = world();
  sources.routesChanged();
  const record = learn(0);
  arena.u8.fill(0, record + ENDPOINT.source, record + ENDPOINT.carrier);
  sources.check(record);
  assert.deepEqual(asked, []);
});

test('records that share a place in memory of checks are still told apart', () => {
  const { asked, sources } = world();
  sources.routesChanged();
  const [a, b] = [learn(1), learn(1 + 4_096)];
  sources.check(a);
  sources.check(b);
  sources.check(a);
  assert.equal(asked.length, 3);
  for (let peer = 0; peer < 4_096; peer++) sources.check(learn(peer));
  const before = asked.length;
  for (let peer = 0; peer < 4_096; peer++) sources.check(learn(peer));
  assert.equal(asked.length, before);
});
