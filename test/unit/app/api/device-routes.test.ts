import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceStatusView, PeerView } from '../../../../src/app/api/device-views.ts';
import type { PeersView } from '../../../../src/app/api/device-routes.ts';
import type { RowsChange } from '../../../../src/app/api/live-feed.ts';
import { type Address, parseAddress } from '../../../../src/core/ip.ts';
import { PresharedKey } from '../../../../src/noise/keys.ts';
import { GRPC_CARRIER } from '../../../../src/tunnel/endpoint.ts';
import { meteredPeer } from '../../../kit/metrics.ts';
import { startDeviceApi } from './kit.ts';

const endpoint = (text: string, carrier = 0) => ({
  address: parseAddress(text) as Address,
  port: 51_820,
  scope: 0,
  carrier,
});

const ago = (ms: number) => Date.now() - ms;

test('device API: status tells the device, and peers by the age of their handshake', async (t) => {
  const ages = [0, 179_000, 181_000];
  const peers = [...ages.map((age, i) => meteredPeer(i, { lastHandshakeMs: ago(age) })), meteredPeer(9)];
  const { shown, call } = await startDeviceApi(t, { peers });
  const { body } = await call('GET', '/status');
  const { started, publicKey, ...status } = body as DeviceStatusView;
  assert.deepEqual(status, {
    kind: 'device',
    version: '1.2.3',
    interface: 'wg0',
    listenPort: 51_820,
    mtu: 1_420,
    isUp: true,
    peers: { active: 2, stale: 1, never: 1 },
  });
  assert.equal(publicKey, shown.publicKey?.base64);
  assert.ok(Date.parse(started) < Date.now());
});

test('device API: a peer is shown with what wg shows of it, and by what it is reached', async (t) => {
  const plain = meteredPeer(1, {
    endpoint: endpoint('2001:db8::1'),
    lastHandshakeMs: 1_700_000_000_123,
    rxBytes: 5n,
    txBytes: 6n,
    persistentKeepalive: 25,
  });
  const tunnelled = meteredPeer(2, { endpoint: endpoint('fdae::1', GRPC_CARRIER) });
  const names = new Map([[plain.publicKey.hex, 'office']]);
  const { call } = await startDeviceApi(t, { peers: [plain, tunnelled, meteredPeer(3)], names });
  const { body } = await call('GET', '/peers/office');
  assert.deepEqual(body, {
    publicKey: plain.publicKey.base64,
    name: 'office',
    state: 'stale',
    transport: 'udp',
    endpoint: '[2001:db8::1]:51820',
    allowedIps: ['10.0.0.1/32'],
    lastHandshake: '2023-11-14T22:13:20.123Z',
    rxBytes: 5,
    txBytes: 6,
    persistentKeepalive: 25,
    hasPresharedKey: false,
  });
  const { peers } = (await call('GET', '/peers')).body as PeersView;
  assert.deepEqual(
    peers.map(({ name, transport, state }) => [name, transport, state]),
    [
      ['office', 'udp', 'stale'],
      [null, 'grpc', 'never'],
      [null, null, 'never'],
    ],
  );
});

test('device API: peers are found by key, name, endpoint and allowed IP, and come in pages', async (t) => {
  const all = Array.from({ length: 1_500 }, (_, i) =>
    meteredPeer(i, i === 7 ? { endpoint: endpoint('192.0.2.7'), lastHandshakeMs: ago(0) } : {}),
  );
  const names = new Map([[all[9]?.publicKey.hex ?? '', 'Lap top']]);
  const { call } = await startDeviceApi(t, { peers: all, names });
  const find = async (query: Record<string, string>): Promise<[number, number]> => {
    const { body } = await call('GET', `/peers?${new URLSearchParams(query).toString()}`);
    const { peers, total } = body as PeersView;
    return [peers.length, total];
  };
  assert.deepEqual(await find({}), [100, 1_500]);
  assert.deepEqual(await find({ limit: '1000', offset: '600' }), [900, 1_500]);
  assert.deepEqual(await find({ search: 'lap T' }), [1, 1]);
  assert.deepEqual(await find({ search: '192.0.2.7:51820' }), [1, 1]);
  assert.deepEqual(await find({ search: '10.0.4.210/32' }), [1, 1]);
  assert.deepEqual(await find({ search: all[3]?.publicKey.base64 ?? '' }), [1, 1]);
  assert.deepEqual(await find({ state: 'active' }), [1, 1]);
  assert.equal((await call('GET', '/peers?state=down')).status, 400);
  assert.equal((await call('GET', '/peers?limit=1001')).status, 400);
});

test('device API: one peer is named by its public key or its name; a name of two is refused', async (t) => {
  const all = [1, 2, 3].map((number) => meteredPeer(number));
  const names = new Map(all.slice(1).map(({ publicKey }) => [publicKey.hex, 'twin']));
  const { call } = await startDeviceApi(t, { peers: all, names });
  const key = all[0]?.publicKey.base64 ?? '';
  const found = await call('GET', `/peers/${encodeURIComponent(key)}`);
  assert.equal((found.body as PeerView).publicKey, key);
  assert.equal((await call('GET', '/peers/twin')).status, 400);
  assert.equal((await call('GET', '/peers/nobody')).status, 404);
});

test('device API: private and preshared keys are in no answer, and nothing can be changed', async (t) => {
  const secret = new Uint8Array(32).fill(0x5a);
  const peer = meteredPeer(1, { presharedKey: new PresharedKey(secret) });
  const { call, watch } = await startDeviceApi(t, { peers: [peer] });
  const watcher = await watch('/live');
  await watcher.until('the first turn', () => watcher.of('tick').length > 0);
  const answers = await Promise.all(
    ['/status', '/datapath', '/peers', `/peers/${encodeURIComponent(peer.publicKey.base64)}`].map((path) =>
      call('GET', path),
    ),
  );
  const said = JSON.stringify([watcher.events, answers.map(({ body }) => body)]);
  assert.match(said, /"hasPresharedKey":true/);
  for (const encoding of ['base64', 'base64url', 'hex'] as const)
    assert.ok(!said.includes(Buffer.from(secret).toString(encoding)), encoding);
  assert.ok(!/private/i.test(said));
  for (const method of ['POST', 'PUT', 'DELETE']) {
    for (const path of ['/status', '/peers', '/peers/x', '/datapath', '/live']) {
      assert.equal((await call(method, path)).status, 405, `${method} ${path}`);
    }
  }
});

test('device API: without its token nobody is told anything, and the hint names the command', async (t) => {
  const { url } = await startDeviceApi(t);
  for (const headers of [{}, { authorization: 'Bearer wrong' }]) {
    const response = await fetch(`${url}api/v1/status`, { headers });
    assert.equal(response.status, 401);
    assert.match(((await response.json()) as { hint: string }).hint, /^"culvert page wg0" prints/);
  }
  assert.equal((await fetch(`${url}healthz`)).status, 200);
});

test('device API: who watches gets all peers, then what changes and who comes and goes', async (t) => {
  const [first, second] = [meteredPeer(1), meteredPeer(2)];
  const { shown, watch } = await startDeviceApi(t, { peers: [first] });
  const watcher = await watch('/live');
  await watcher.until('the first turn', () => watcher.of('tick').length === 1);
  shown.peers = [{ ...first, rxBytes: 9n }, second];
  await watcher.until('the second turn', () => watcher.of('tick').length === 2);
  shown.peers = [second];
  await watcher.until('the third turn', () => watcher.of('tick').length === 3);
  const changes = watcher.of('peers') as RowsChange<PeerView>[];
  const keys = (change: RowsChange<PeerView> | undefined) =>
    change?.changed.map(({ publicKey }) => publicKey);
  assert.deepEqual(keys(changes[0]), [first.publicKey.base64]);
  assert.deepEqual(changes[1]?.changed[0], { rxBytes: 9, publicKey: first.publicKey.base64 });
  assert.deepEqual(keys(changes[1]), [first.publicKey.base64, second.publicKey.base64]);
  assert.deepEqual(changes[2], { changed: [], removed: [first.publicKey.base64] });
});
