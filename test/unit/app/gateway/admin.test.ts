import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Admin } from '../../../../src/app/gateway/admin.ts';
import type { Gateway } from '../../../../src/link/gateway.ts';
import { key } from '../../link/provision-kit.ts';
import { join, startTestGateway, type TestGatewayOptions, uuid } from './kit.ts';

async function start(t: TestContext, options: TestGatewayOptions = {}) {
  const gateway = await startTestGateway(t, options);
  return { ...gateway, admin: gateway.running.admin, link: gateway.running.gateway };
}

const states = (admin: Admin) => admin.machines().map(({ id, state }) => `${id} ${state}`);
const isRefused = async (link: Gateway, number: number) =>
  join(link, number).then(
    () => false,
    (error: Error) => error.message === '7 unauthorized',
  );

test('machines: state, transport, addresses, traffic', async (t) => {
  const { admin, link, overlay } = await start(t);
  for (const number of [1, 2, 3]) await join(link, number, { wireguardOverGrpc: number === 2 });
  overlay.states.set(key('machine 1'), { handshakeAgeMs: 5_000, udpEndpoint: '198.51.100.1:1' });
  overlay.states.set(key('machine 2'), { handshakeAgeMs: 275_000, udpEndpoint: undefined });
  overlay.bytes.set(key('machine 1'), { rxBytes: 10, txBytes: 20 });
  const [first, second, third] = admin.machines();
  assert.deepEqual(
    [first?.state, first?.transport, first?.endpoint, first?.rxBytes, first?.txBytes, first?.talosVersion],
    ['connected', 'udp', '198.51.100.1:1', 10, 20, 'v1.7.0'],
  );
  assert.deepEqual([second?.state, second?.transport, second?.endpoint], ['down', null, null]);
  assert.notEqual(second?.lastHandshake, null);
  assert.deepEqual([third?.state, third?.lastHandshake], ['down', null]);
  assert.equal(admin.status().machines['down'], 2);
});

test('a machine with a stream and no UDP endpoint is connected through gRPC', async (t) => {
  const { admin, link, overlay } = await start(t);
  await join(link, 1, { wireguardOverGrpc: true });
  const header = overlay.peers.get(key('machine 1'))?.endpoint;
  const opened = overlay.streams?.open(
    { header, lane: 0 },
    { write: () => {}, setPaused: () => {}, end: () => {} },
  );
  assert.ok(opened && !('code' in opened));
  overlay.states.set(key('machine 1'), { handshakeAgeMs: 0, udpEndpoint: undefined });
  assert.equal(admin.machine(uuid(1)).transport, 'grpc');
});

test('a machine is found by id, address, key, and by the beginning of an id that is its alone', async (t) => {
  const { admin, link } = await start(t);
  for (const number of [1, 2]) await join(link, number);
  const view = admin.machine(uuid(1));
  for (const text of [view.address, view.publicKey, '00000001', uuid(1).toUpperCase()]) {
    assert.equal(admin.machine(text).id, uuid(1), text);
  }
  assert.throws(() => admin.machine('0000'), { code: 'usage', hint: new RegExp(uuid(2)) });
  assert.throws(() => admin.machine('000'), { code: 'not_found' });
  assert.throws(() => admin.machine('nobody'), { code: 'not_found' });
});

test('accept: a waiting machine keeps its address and becomes a member', async (t) => {
  const { admin, link } = await start(t, { config: { accept: 'manual' } });
  await join(link, 1);
  const waiting = admin.machine(uuid(1));
  assert.deepEqual([waiting.state, waiting.pendingReason], ['pending', 'approval']);
  const accepted = await admin.accept(uuid(1));
  assert.deepEqual([accepted?.state, accepted?.address], ['down', waiting.address]);
  await assert.rejects(admin.accept(uuid(1)), /has been accepted already/);
});

test('deny: a waiting machine is turned away until that is taken back', async (t) => {
  const { admin, link } = await start(t, { config: { accept: 'manual' } });
  await join(link, 1);
  assert.equal(await admin.deny(uuid(1)), uuid(1));
  assert.deepEqual([states(admin), admin.denied()], [[], [uuid(1)]]);
  assert.ok(await isRefused(link, 1));
  assert.equal(await admin.accept(uuid(1)), undefined);
  await join(link, 1);
  assert.deepEqual(states(admin), [`${uuid(1)} pending`]);
});

test('deny: a member loses its peer and its place', async (t) => {
  const { admin, link, overlay } = await start(t);
  await join(link, 1);
  assert.equal(await admin.deny(uuid(1)), uuid(1));
  assert.equal(overlay.peers.size, 0);
  assert.ok(await isRefused(link, 1));
});

test('rm: peer, address and journal are gone, and the use of the token is given back', async (t) => {
  const { admin, link, overlay } = await start(t);
  await admin.createToken({ name: 'once', useLimit: 1 }, false);
  const token = link.registry.tokenRecords().find(({ name }) => name === 'once')?.token;
  await join(link, 1, { joinToken: token });
  assert.equal(admin.tokens().find(({ name }) => name === 'once')?.status, 'used_up');
  await admin.remove(uuid(1));
  assert.deepEqual([states(admin), overlay.peers.size], [[], 0]);
  assert.equal(admin.tokens().find(({ name }) => name === 'once')?.status, 'active');
  await join(link, 1, { joinToken: token });
});

test('rm of a waiting machine: it may come again', async (t) => {
  const { admin, link } = await start(t, { config: { accept: 'manual' } });
  await join(link, 1);
  await admin.remove(uuid(1));
  assert.deepEqual(states(admin), []);
  await join(link, 1);
});

test('tunnel: the choice holds from the next Provision on', async (t) => {
  const { admin, link, overlay } = await start(t);
  await join(link, 1);
  assert.equal((await admin.setTunnel(uuid(1), 'on')).tunnel, 'on');
  await join(link, 1);
  assert.match(overlay.peers.get(key('machine 1'))?.endpoint ?? '', /^\[fdae:41e4:649b:9304:/);
  assert.equal((await admin.setTunnel(uuid(1), 'auto')).tunnel, 'auto');
});

test('tokens: created with limits, listed without their text, shown with everything to paste', async (t) => {
  const { admin } = await start(t);
  const expiresAtMs = Date.now() + 60_000;
  const created = await admin.createToken(
    { name: 'rack 7', description: 'the new rack', useLimit: 3, expiresAtMs },
    false,
  );
  assert.match(created.joinUrl, /^grpc:\/\/127\.0\.0\.1:4000\?jointoken=\w{43}$/);
  const [first, second] = admin.tokens();
  assert.deepEqual([first?.name, first?.isDefault, first?.status], ['initial token', true, 'active']);
  assert.deepEqual(
    [second?.name, second?.description, second?.useLimit, second?.expires, second?.isDefault],
    ['rack 7', 'the new rack', 3, new Date(expiresAtMs).toISOString(), false],
  );
  assert.ok(!JSON.stringify(admin.tokens()).includes('jointoken'));
  assert.ok(!JSON.stringify(admin.tokens()).includes(created.joinUrl.split('=')[1] as string));
  assert.deepEqual(admin.join('rack 7', false), created);
  assert.match(admin.join('rack 7', true).joinUrl, /grpc_tunnel=true/);
  await assert.rejects(admin.createToken({ name: 'rack 7' }, false), { code: 'in_use' });
  await assert.rejects(admin.createToken({ name: 'a name that is too long' }, false), { code: 'usage' });
});

test('tokens: revoked and back, default, removed', async (t) => {
  const { admin, link } = await start(t);
  await join(link, 1);
  assert.equal((await admin.revokeToken('initial token', true)).status, 'revoked');
  assert.ok(await isRefused(link, 2));
  assert.equal((await admin.revokeToken('initial token', false)).status, 'active');
  await assert.rejects(admin.removeToken('initial token'), {
    code: 'usage',
    hint: /another one the default/,
  });
  await admin.createToken({ name: 'next' }, true);
  assert.equal(admin.join(undefined, false).name, 'next');
  assert.equal((await admin.setDefaultToken('initial token')).isDefault, true);
  await admin.removeToken('next');
  assert.throws(() => admin.join('next', false), { code: 'not_found' });
});

test('entries of machines only, and nothing of a machine that waits', async (t) => {
  const { admin, link } = await start(t, { config: { accept: 'manual' } });
  await join(link, 1);
  assert.throws(() => admin.entries(uuid(1), 'log', 10), /waits for acceptance/);
  await admin.accept(uuid(1));
  assert.deepEqual(admin.entries(uuid(1), 'log', 10), []);
});
