import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatPrefix } from '../../../src/core/ip.ts';
import { nodeCrypto } from '../../../src/noise/crypto-node.ts';
import { PresharedKey, PublicKey } from '../../../src/noise/keys.ts';
import type { DeviceChange, DeviceState, PeerChange } from '../../../src/tunnel/config.ts';
import { formatEndpoint } from '../../../src/tunnel/endpoint.ts';
import { FakeDevice } from '../../kit/fake-device.ts';
import { World, prefix } from '../../kit/pair.ts';
import { endpoint } from '../../kit/stranger.ts';

const KEYS = [1, 2, 3, 4].map(
  (fill) => new PublicKey(nodeCrypto().x25519.importPrivateKey(new Uint8Array(32).fill(fill)).publicKey),
);
const PREFIXES = [
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.0.0/24',
  '10.1.0.1/32',
  '0.0.0.0/0',
  '::/0',
  'fd00::/8',
  'fd00::1/128',
];

const peerChange: fc.Arbitrary<PeerChange> = fc.record(
  {
    publicKey: fc.constantFrom(...KEYS),
    updateOnly: fc.boolean(),
    remove: fc.boolean(),
    presharedKey: fc.nat(3).map((fill) => new PresharedKey(new Uint8Array(32).fill(fill))),
    endpoint: fc.integer({ min: 1, max: 5 }).map((port) => endpoint('192.0.2.9', port)),
    persistentKeepalive: fc.constantFrom(0, 1, 25, 65_535),
    replaceAllowedIps: fc.boolean(),
    allowedIps: fc.array(
      fc.record({ prefix: fc.constantFrom(...PREFIXES.map(prefix)), remove: fc.boolean() }),
      { maxLength: 6 },
    ),
  },
  { requiredKeys: ['publicKey'] },
);

const deviceChange: fc.Arbitrary<DeviceChange> = fc.record(
  {
    listenPort: fc.integer({ min: 1000, max: 1005 }),
    fwmark: fc.nat(3),
    replacePeers: fc.boolean(),
    peers: fc.array(peerChange, { maxLength: 5 }),
  },
  { requiredKeys: ['peers'] },
);

function shown({ listenPort, fwmark, peers }: DeviceState) {
  return {
    listenPort,
    fwmark,
    peers: peers.map((peer) => ({
      publicKey: peer.publicKey.hex,
      presharedKey: peer.presharedKey.exposeHex(),
      endpoint: peer.endpoint && formatEndpoint(peer.endpoint),
      persistentKeepalive: peer.persistentKeepalive,
      allowedIps: peer.allowedIps.map(formatPrefix),
    })),
  };
}

test('configuration: whatever is changed in whatever order, up or down, the state is that of a device without any protocol', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: deviceChange },
    { weight: 1, arbitrary: fc.constantFrom('up', 'down', 'wait') },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
      const world = new World();
      const { device, privateKey } = world.end('alice', ['192.0.2.1']);
      const model = new FakeDevice();
      for (const each of [device, model]) await each.configure({ privateKey, listenPort: 999, peers: [] });
      for (const each of steps) {
        if (each === 'up') await device.up();
        else if (each === 'down') await device.down();
        else if (each === 'wait') world.advance(60_000);
        else {
          await device.configure(each);
          await model.configure(each);
          world.settle();
        }
        assert.deepEqual(shown(device.state()), shown(model.state()));
      }
      await device.close();
      assert.deepEqual(device.timers(), []);
    }),
    { numRuns: 60 },
  );
});
