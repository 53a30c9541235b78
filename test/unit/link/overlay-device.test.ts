import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPrefix } from '../../../src/core/ip.ts';
import { PublicKey } from '../../../src/noise/keys.ts';
import type { DeviceChange } from '../../../src/tunnel/config.ts';
import { formatEndpoint } from '../../../src/tunnel/endpoint.ts';
import { formatSocketAddress } from '../../../src/core/ip.ts';
import { VIRTUAL_PREFIX } from '../../../src/link/addresses.ts';
import { DeviceOverlay, endpointOf } from '../../../src/link/overlay-device.ts';
import { connectedPair, type End } from '../../kit/pair.ts';

const KEY = 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=';
const OTHER_KEY = 'AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=';
const NODE = 'fdae:41e4:649b:9303::17';
const VIRTUAL = formatSocketAddress({ address: VIRTUAL_PREFIX.address, port: 50_889 });

async function overlay() {
  const both = await connectedPair();
  const { device } = both.bob;
  const changes: DeviceChange[] = [];
  const target = {
    configure: (change: DeviceChange) => {
      changes.push(change);
      return device.configure(change);
    },
    observe: (key: PublicKey) => device.observe(key),
  };
  return { ...both, changes, overlay: new DeviceOverlay(target) };
}

function shown(end: End, key: string) {
  const peer = end.device.state().peers.find(({ publicKey }) => publicKey.base64 === key);
  return (
    peer && {
      allowedIps: peer.allowedIps.map(formatPrefix),
      keepalive: peer.persistentKeepalive,
      endpoint: peer.endpoint && `${peer.endpoint.carrier} ${formatEndpoint(peer.endpoint)}`,
    }
  );
}

test('overlay: a peer has one address, keepalives, and the carrier that its endpoint stands for', async () => {
  const { overlay: device, bob } = await overlay();
  for (const [endpoint, expected] of [
    [VIRTUAL, `1 ${VIRTUAL}`],
    ['192.0.2.9:51820', '0 192.0.2.9:51820'],
    ['[fe80::1%3]:51820', '0 [fe80::1%3]:51820'],
    // As it is.
    [undefined, '0 [fe80::1%3]:51820'],
  ] as const) {
    await device.configure([], [{ publicKey: KEY, nodeAddress: NODE, endpoint }]);
    const allowedIps = [`${NODE}/128`];
    assert.deepEqual(shown(bob, KEY), { allowedIps, keepalive: 25, endpoint: expected });
  }
});

test('overlay: an address moves from one key to another in one step', async () => {
  const { overlay: device, bob, changes } = await overlay();
  const peer = { nodeAddress: NODE, endpoint: undefined };
  await device.configure([], [{ ...peer, publicKey: KEY }]);
  changes.length = 0;
  await device.configure([KEY], [{ ...peer, publicKey: OTHER_KEY }]);
  assert.equal(changes.length, 1);
  assert.equal(shown(bob, KEY), undefined);
  assert.deepEqual(shown(bob, OTHER_KEY)?.allowedIps, [`${NODE}/128`]);
  await device.configure([KEY], []);
});

test('overlay: where a peer was heard from is known once it was, and only over UDP', async () => {
  const { overlay: device, alice } = await overlay();
  const aliceKey = alice.publicKey.base64;
  assert.deepEqual(device.peer(aliceKey), {
    handshakeAgeMs: 0,
    udpEndpoint: formatEndpoint(alice.endpoint),
  });
  await device.configure([], [{ publicKey: aliceKey, nodeAddress: NODE, endpoint: VIRTUAL }]);
  assert.equal(device.peer(aliceKey)?.udpEndpoint, undefined);
  await device.configure([], [{ publicKey: KEY, nodeAddress: NODE, endpoint: '192.0.2.9:51820' }]);
  assert.deepEqual(device.peer(KEY), { handshakeAgeMs: Infinity, udpEndpoint: undefined });
  assert.equal(device.peer(OTHER_KEY), undefined);
});

test('overlay: what no record can hold is an error of its own', async () => {
  assert.throws(() => endpointOf('192.0.2.9'), /endpoint "192.0.2.9" is not address:port/);
  const device = new DeviceOverlay({ configure: () => Promise.resolve(), observe: () => undefined });
  assert.throws(() => device.peer('short'), /is not a key/);
  const peer = { publicKey: KEY, nodeAddress: '10.0.0.1', endpoint: undefined };
  await assert.rejects(device.configure([], [peer]), /is not IPv6/);
});
