import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { parseAddress, type Address } from '../../../src/core/ip.ts';
import { silentLogger } from '../../../src/core/log.ts';
import type { ProvisionResponse } from '../../../src/gen/siderolink/provision.ts';
import {
  Gateway,
  type GatewayOptions,
  type OverlayDevice,
  type OverlayPeerConfig,
  type OverlayPeerState,
} from '../../../src/link/gateway.ts';
import { STATUS } from '../../../src/link/grpc-status.ts';
import { acceptPending, beginRemoval, removeMachine } from '../../../src/link/machine-admin.ts';
import { MemoryStore } from '../../../src/link/memory-store.ts';
import type { ProvisionCall } from '../../../src/link/provision-context.ts';
import { EMPTY_CONTENTS, type Store } from '../../../src/link/store.ts';
import { StreamTable } from '../../../src/link/stream-table.ts';
import { firstStart } from '../../../src/link/token-admin.ts';
import { FakeClock } from '../../kit/clock.ts';
import { seededRandom } from '../../kit/random.ts';
import { key, OTHER_UUID, SETTINGS, token, UUID } from './provision-kit.ts';

class FakeDevice implements OverlayDevice {
  readonly peers = new Map<string, OverlayPeerConfig>();
  readonly states = new Map<string, OverlayPeerState>();
  calls = 0;
  failures = 0;

  async configure(remove: readonly string[], put: readonly OverlayPeerConfig[]): Promise<void> {
    this.calls++;
    await Promise.resolve();
    if (this.failures > 0) {
      this.failures--;
      throw new Error('no memory');
    }
    for (const publicKey of remove) this.peers.delete(publicKey);
    for (const peer of put) this.peers.set(peer.publicKey, peer);
    const addresses = [...this.peers.values()].map(({ nodeAddress }) => nodeAddress);
    assert.equal(new Set(addresses).size, addresses.length, 'two peers with one allowed IP');
  }

  peer(publicKey: string): OverlayPeerState | undefined {
    return this.states.get(publicKey);
  }
}

const CALLER = parseAddress('192.0.2.1') as Address;
const STORED = { ...EMPTY_CONTENTS, tokens: [token('good')], defaultToken: 'good' };

async function start(more: Partial<GatewayOptions> = {}, store: Store = new MemoryStore(STORED)) {
  const device = new FakeDevice();
  const clock = new FakeClock();
  const streams = new StreamTable({ deliver: () => true });
  const gateway = await Gateway.start({
    store,
    device,
    streams,
    clock,
    settings: SETTINGS,
    random: seededRandom(7),
    logger: silentLogger,
    rateLimit: { perSecond: 1000, burst: 1000 },
    useLastEndpoints: true,
    ...more,
  });
  const provision = async (call: Partial<ProvisionCall> = {}) => {
    const answer = await gateway.provision(
      { nodeUuid: UUID, nodePublicKey: key('a'), joinToken: 'good', talosVersion: 'v1.7.0', ...call },
      CALLER,
    );
    assert.ok(!('code' in answer), JSON.stringify(answer));
    return answer;
  };
  const isAdmitted = (header: string) =>
    !('code' in streams.open({ header, lane: 0 }, { write: () => {}, setPaused: () => {}, end: () => {} }));
  return { gateway, device, clock, streams, store, provision, isAdmitted };
}

const addressOf = (answer: ProvisionResponse) => answer.nodeAddressPrefix.replace('/64', '');
const tunnel = { wireguardOverGrpc: true };

test('a machine that joins has its peer and its virtual address before it is answered', async () => {
  const { device, provision, isAdmitted } = await start();
  const answer = await provision(tunnel);
  assert.deepEqual(
    [...device.peers.values()],
    [{ publicKey: key('a'), nodeAddress: addressOf(answer), endpoint: answer.grpcPeerAddrPort }],
  );
  assert.ok(isAdmitted(answer.grpcPeerAddrPort));
});

test('a call that changes nothing touches neither store nor device', async () => {
  const { device, provision } = await start();
  await provision();
  const calls = device.calls;
  await provision();
  assert.equal(device.calls, calls);
});

test('a new key replaces the old peer in one step, and the old virtual address is worth nothing', async () => {
  const { device, provision, isAdmitted } = await start();
  const first = await provision(tunnel);
  const second = await provision({ ...tunnel, nodePublicKey: key('b') });
  assert.deepEqual([...device.peers.keys()], [key('b')]);
  assert.equal(addressOf(first), addressOf(second));
  assert.ok(!isAdmitted(first.grpcPeerAddrPort) && isAdmitted(second.grpcPeerAddrPort));
});

test('a peer that nothing moved keeps the endpoint it roamed to', async () => {
  const { device, provision } = await start();
  await provision(tunnel);
  await provision({ talosVersion: 'v1.8.0' });
  await provision({ talosVersion: 'v1.9.0' });
  assert.equal(device.peers.get(key('a'))?.endpoint, undefined);
});

test('after a restart every peer and virtual address is back before the first stream is admitted', async () => {
  const before = await start();
  const overUdp = await before.provision();
  const tunnelled = await before.provision({ ...tunnel, nodeUuid: OTHER_UUID, nodePublicKey: key('b') });
  before.device.states.set(key('a'), { handshakeAgeMs: 0, udpEndpoint: '198.51.100.7:1234' });
  await before.gateway.sweep();
  const after = await start({}, before.store);
  assert.deepEqual(
    [...after.device.peers.values()].toSorted((x, y) => (x.publicKey < y.publicKey ? -1 : 1)),
    [
      { publicKey: key('a'), nodeAddress: addressOf(overUdp), endpoint: '198.51.100.7:1234' },
      { publicKey: key('b'), nodeAddress: addressOf(tunnelled), endpoint: undefined },
    ],
  );
  assert.ok(after.isAdmitted(tunnelled.grpcPeerAddrPort));
  assert.deepEqual(await after.provision(), overUdp);
});

test('after a restart a tunnelled machine is called once its stream is open, unless it was faster', async () => {
  const before = await start();
  const answer = await before.provision(tunnel);
  const after = await start({}, before.store);
  after.device.states.set(key('a'), { handshakeAgeMs: Infinity, udpEndpoint: undefined });
  after.gateway.streamOpened(key('a'));
  await after.gateway.commit([]);
  await setImmediate();
  assert.equal(after.device.peers.get(key('a'))?.endpoint, answer.grpcPeerAddrPort);
  const calls = after.device.calls;
  after.device.states.set(key('a'), { handshakeAgeMs: 0, udpEndpoint: '198.51.100.7:1234' });
  after.gateway.streamOpened(key('a'));
  after.gateway.streamOpened(key('nobody'));
  await setImmediate();
  assert.equal(after.device.calls, calls);
});

test('last endpoints are left out when they are not wanted', async () => {
  const before = await start();
  await before.provision();
  before.device.states.set(key('a'), { handshakeAgeMs: 0, udpEndpoint: '198.51.100.7:1234' });
  await before.gateway.sweep();
  const after = await start({ useLastEndpoints: false }, before.store);
  assert.equal(after.device.peers.get(key('a'))?.endpoint, undefined);
});

test('streams are refused for good only when all addresses are known and the device has its peers', async () => {
  const order: string[] = [];
  const device = new FakeDevice();
  const configure = device.configure.bind(device);
  device.configure = async (remove, put) => {
    order.push('device');
    await configure(remove, put);
  };
  const before = await start();
  await before.provision(tunnel);
  const streams = {
    allow: () => void order.push('allow'),
    isOpen: () => false,
    start: () => void order.push('start'),
  };
  await start({ device, streams }, before.store);
  assert.deepEqual(order, ['allow', 'device', 'start']);
});

test('calls for one machine at the same time come to one machine', async () => {
  const { device, gateway, provision } = await start();
  const answers = await Promise.all(Array.from({ length: 20 }, () => provision()));
  assert.equal(new Set(answers.map(addressOf)).size, 1);
  assert.equal(gateway.registry.machineCount, 1);
  assert.equal(device.peers.size, 1);
});

test('a single-use token serves one of many machines that come at the same time', async () => {
  const { gateway } = await start(
    {},
    new MemoryStore({ ...STORED, tokens: [token('good', { useLimit: 1 })] }),
  );
  const calls = Array.from({ length: 10 }, (_, n) =>
    gateway.provision(
      { nodeUuid: `machine-${n}`, nodePublicKey: key(`key ${n}`), joinToken: 'good', talosVersion: 'v1.7.0' },
      CALLER,
    ),
  );
  const answers = await Promise.all(calls);
  assert.equal(answers.filter((answer) => !('code' in answer)).length, 1);
  assert.deepEqual(gateway.counters.provisions, { OK: 1, PERMISSION_DENIED: 9 });
  assert.deepEqual(gateway.counters.refusals, { used_up_join_token: 9 });
});

test('when the device fails, the machine hears INTERNAL and the next call makes good for it', async () => {
  const { gateway, device, provision } = await start();
  device.failures = 1;
  const call = { nodeUuid: UUID, nodePublicKey: key('a'), joinToken: 'good', talosVersion: 'v1.7.0' };
  assert.deepEqual(await gateway.provision(call, CALLER), {
    code: STATUS.INTERNAL,
    message: 'internal server error',
  });
  assert.equal(device.peers.size, 0);
  await provision();
  assert.equal(device.peers.size, 1);
});

test('when the store fails, nothing has happened', async () => {
  const store = new MemoryStore(STORED);
  const commit = store.commit.bind(store);
  let failures = 1;
  store.commit = async (changes) => {
    if (failures-- > 0) throw new Error('disk full');
    return commit(changes);
  };
  const { gateway, device, provision } = await start({}, store);
  const call = { nodeUuid: UUID, nodePublicKey: key('a'), joinToken: 'good', talosVersion: 'v1.7.0' };
  assert.equal(((await gateway.provision(call, CALLER)) as { code: number }).code, STATUS.INTERNAL);
  assert.deepEqual([device.peers.size, gateway.registry.machineCount], [0, 0]);
  await provision();
});

test('too many calls from one address are refused, other addresses served', async () => {
  const { gateway } = await start({ rateLimit: { perSecond: 1, burst: 2 } });
  const call = { nodeUuid: UUID, nodePublicKey: key('a'), joinToken: 'good', talosVersion: 'v1.7.0' };
  await gateway.provision(call, CALLER);
  await gateway.provision(call, CALLER);
  assert.equal(((await gateway.provision(call, CALLER)) as { code: number }).code, STATUS.RESOURCE_EXHAUSTED);
  assert.ok(!('code' in (await gateway.provision(call, parseAddress('192.0.2.2') as Address))));
});

test('waiting machines are forgotten 275 s after their last sign of life, Provision or handshake', async () => {
  const { gateway, device, clock, provision } = await start({ settings: { ...SETTINGS, accept: 'manual' } });
  await provision();
  await provision({ nodeUuid: OTHER_UUID, nodePublicKey: key('b') });
  clock.tick(275_000);
  device.states.set(key('b'), { handshakeAgeMs: 274_999, udpEndpoint: undefined });
  await gateway.sweep();
  assert.deepEqual(
    gateway.registry.pendingRecords().map(({ publicKey }) => publicKey),
    [key('b')],
  );
  assert.deepEqual([...device.peers.keys()], [key('b')]);
});

test('an accepted machine keeps its peer and stream, a removed one loses both', async () => {
  const { gateway, device, streams, provision, isAdmitted } = await start({
    settings: { ...SETTINGS, accept: 'manual' },
  });
  const answer = await provision(tunnel);
  assert.ok(isAdmitted(answer.grpcPeerAddrPort));
  const [pending] = gateway.registry.pendingRecords();
  assert.ok(pending);
  assert.ok(await gateway.commit(acceptPending(pending, gateway.registry, 0)));
  assert.ok(streams.isOpen(key('a')));
  assert.equal(device.peers.size, 1);
  const machine = gateway.registry.machine(UUID);
  assert.ok(machine);
  assert.ok(await gateway.commit(removeMachine(machine)));
  assert.ok(!streams.isOpen(key('a')));
  assert.equal(device.peers.size, 0);
  assert.equal(await gateway.commit(removeMachine(machine)), false);
});

test('a removal that the end of the process interrupted is finished at the next start', async () => {
  const before = await start();
  await before.provision();
  const machine = before.gateway.registry.machine(UUID);
  assert.ok(machine);
  await before.gateway.commit(beginRemoval(machine));
  const after = await start({}, before.store);
  assert.deepEqual([after.gateway.registry.machineCount, after.device.peers.size], [0, 0]);
});

test('endpoints are remembered when they change, and only of peers that are up', async () => {
  const { gateway, device, store, provision } = await start();
  await provision();
  device.states.set(key('a'), { handshakeAgeMs: 275_000, udpEndpoint: '192.0.2.9:9' });
  await gateway.sweep();
  assert.equal((await store.load()).endpoints.size, 0);
  device.states.set(key('a'), { handshakeAgeMs: 1, udpEndpoint: '192.0.2.9:9' });
  await gateway.sweep();
  assert.equal((await store.load()).endpoints.get(key('a')), '192.0.2.9:9');
});

test('the first start makes a key and a default token, later ones nothing', async () => {
  const store = new MemoryStore();
  await store.commit(firstStart(await store.load(), seededRandom(1), 5, 'from-config'));
  const contents = await store.load();
  assert.ok(contents.serverKey);
  assert.equal(contents.defaultToken, 'from-config');
  assert.equal(contents.tokens[0]?.name, 'initial token');
  assert.deepEqual(firstStart(contents, seededRandom(2), 6), []);
});
