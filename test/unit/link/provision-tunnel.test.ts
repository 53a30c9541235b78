import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProvisionSettings } from '../../../src/link/provision-context.ts';
import { setTunnel } from '../../../src/link/machine-admin.ts';
import { key, OTHER_UUID, TestGateway, UUID } from './provision-kit.ts';

const tunnel = { wireguardOverGrpc: true };

test('tunnel or UDP: the gateway decides, then the operator, then the machine', () => {
  const cases: [ProvisionSettings['tunnel'], boolean | undefined, boolean | undefined, boolean][] = [
    ['hint', undefined, undefined, false],
    ['hint', undefined, true, true],
    ['hint', true, undefined, true],
    ['hint', false, true, false],
    ['forced', undefined, undefined, true],
    ['forced', false, undefined, true],
    ['forbidden', true, true, false],
    ['forbidden', undefined, true, false],
  ];
  for (const [setting, machine, hint, expected] of cases) {
    const gateway = new TestGateway();
    gateway.provision();
    const record = gateway.registry.machine(UUID);
    assert.ok(record);
    gateway.registry.apply(setTunnel(record, machine));
    gateway.settings = { ...gateway.settings, tunnel: setting };
    const { response } = gateway.provision({ wireguardOverGrpc: hint });
    assert.equal(response.grpcPeerAddrPort !== '', expected, `${setting} ${machine} ${hint}`);
  }
});

test('in tunnel mode the one endpoint is the virtual address, which stands where clients look for it', () => {
  const { response, peer } = new TestGateway().provision(tunnel);
  assert.match(response.grpcPeerAddrPort, /^\[fdae:41e4:649b:9304:[0-9a-f:]+\]:50889$/);
  assert.deepEqual(response.serverEndpoint, [response.grpcPeerAddrPort]);
  assert.equal(peer.virtualEndpoint, response.grpcPeerAddrPort);
});

test('a gateway that forces the tunnel needs no UDP endpoint', () => {
  const gateway = new TestGateway({ tunnel: 'forced', endpoints: [] });
  assert.notEqual(gateway.provision().response.grpcPeerAddrPort, '');
});

test('every Provision hands out a fresh virtual address, so that a dead relay of Talos comes back', () => {
  const gateway = new TestGateway();
  const first = gateway.provision(tunnel).response.grpcPeerAddrPort;
  const second = gateway.provision(tunnel).response.grpcPeerAddrPort;
  assert.notEqual(first, second);
});

test('except over a tunnel that works: stream open, handshake younger than 275 s, the same key', () => {
  const cases: [string, boolean, number, boolean, boolean][] = [
    ['alive', true, 274_999, true, true],
    ['down', true, 275_000, true, false],
    ['never shook hands', true, Infinity, true, false],
    ['no stream', false, 0, true, false],
    ['new key', true, 0, false, false],
  ];
  for (const [name, isOpen, ageMs, sameKey, isKept] of cases) {
    const gateway = new TestGateway();
    const first = gateway.provision(tunnel).response.grpcPeerAddrPort;
    if (isOpen) gateway.openStreams.add(key('a'));
    gateway.handshakeAgeMs.set(key('a'), ageMs);
    const call = sameKey ? tunnel : { ...tunnel, nodePublicKey: key('b') };
    assert.equal(gateway.provision(call).response.grpcPeerAddrPort === first, isKept, name);
  }
});

test('over a live tunnel an unchanged call stores nothing', () => {
  const gateway = new TestGateway();
  gateway.provision(tunnel);
  gateway.openStreams.add(key('a'));
  gateway.handshakeAgeMs.set(key('a'), 1000);
  assert.deepEqual(gateway.provision(tunnel).changes, []);
});

test('tunnel on, off and on again: the node address stays, the virtual one goes', () => {
  const gateway = new TestGateway();
  const on = gateway.provision(tunnel);
  const off = gateway.provision();
  const again = gateway.provision(tunnel);
  assert.deepEqual([off.response.grpcPeerAddrPort, off.peer.virtualEndpoint], ['', undefined]);
  assert.deepEqual(off.response.serverEndpoint, ['gw:50180']);
  assert.notEqual(again.response.grpcPeerAddrPort, on.response.grpcPeerAddrPort);
  assert.equal(again.response.nodeAddressPrefix, on.response.nodeAddressPrefix);
});

test('waiting machines have a tunnel by the same rules', () => {
  const gateway = new TestGateway({ accept: 'manual' });
  const first = gateway.provision(tunnel);
  assert.equal(first.pending, 'approval');
  assert.notEqual(gateway.provision(tunnel).response.grpcPeerAddrPort, first.response.grpcPeerAddrPort);
  const now = gateway.provision(tunnel).response.grpcPeerAddrPort;
  gateway.openStreams.add(key('a'));
  gateway.handshakeAgeMs.set(key('a'), 0);
  assert.equal(gateway.provision(tunnel).response.grpcPeerAddrPort, now);
});

test('two machines never share a virtual address', () => {
  const gateway = new TestGateway();
  const first = gateway.provision(tunnel).response.grpcPeerAddrPort;
  const second = gateway.provision({ ...tunnel, nodeUuid: OTHER_UUID, nodePublicKey: key('b') });
  assert.notEqual(second.response.grpcPeerAddrPort, first);
});
