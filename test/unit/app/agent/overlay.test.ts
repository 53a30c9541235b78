import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LinkSettings, Overlay, type OverlayDevice } from '../../../../src/app/agent/overlay.ts';
import {
  formatAddress,
  formatPrefix,
  parseSocketAddress,
  type SocketAddress,
} from '../../../../src/core/ip.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import type { Link, LinkKind } from '../../../../src/link/agent-link.ts';
import { PrivateKey } from '../../../../src/noise/keys.ts';
import type { DeviceChange } from '../../../../src/tunnel/config.ts';
import { formatEndpoint } from '../../../../src/tunnel/endpoint.ts';
import { seededRandom } from '../../../kit/random.ts';
import { key } from '../../link/provision-kit.ts';

const LINK: Link = {
  kind: 'udp',
  serverPublicKey: key('server'),
  serverAddress: 'fdae:41e4:649b:9303::1',
  nodeAddressPrefix: 'fdae:41e4:649b:9303::5/64',
  endpoints: ['10.0.0.1:1'],
  peerAddrPort: '',
};

class TestOverlay implements LinkSettings {
  readonly log: string[] = [];
  readonly changes: DeviceChange[] = [];
  readonly handshakes: string[] = [];
  readonly probes: string[] = [];
  readonly overlay: Overlay;

  constructor() {
    const device: OverlayDevice = {
      configure: (change) => {
        this.changes.push(change);
        this.log.push('configure');
        return Promise.resolve();
      },
      state: () => ({ privateKey: undefined, publicKey: undefined, listenPort: 0, fwmark: 0, peers: [] }),
      setOnlyDestination: (address) => this.log.push(`only ${formatAddress(address)}`),
      observe: () => undefined,
      startHandshake: (publicKey) => this.handshakes.push(publicKey.base64),
      probe: (publicKey, endpoint) => {
        this.probes.push(`${publicKey.base64} ${formatEndpoint(endpoint)} ${endpoint.carrier}`);
        return true;
      },
    };
    this.overlay = new Overlay({
      interfaceName: 'over0',
      privateKey: PrivateKey.generate(seededRandom(1)),
      device,
      settings: this,
      logger: silentLogger,
    });
  }

  setAddress(name: string, address: Uint8Array, previous: Uint8Array | undefined): void {
    this.log.push(
      `${name} ${formatAddress(address)} instead of ${previous ? formatAddress(previous) : 'none'}`,
    );
  }

  setUp(name: string, isUp: boolean): void {
    this.log.push(`${name} ${isUp ? 'up' : 'down'}`);
  }

  apply(more: Partial<Link>, endpoint: string, via: LinkKind = 'udp'): Promise<void> {
    return this.overlay.apply({
      link: { ...LINK, ...more },
      endpoint: parseSocketAddress(endpoint) as SocketAddress,
      via,
    });
  }
}

test('the first link makes the interface: address, key, the gateway as its only peer, up', async () => {
  const kit = new TestOverlay();
  await kit.apply({}, '10.0.0.1:50180');
  assert.deepEqual(kit.log, [
    'only fdae:41e4:649b:9303::5',
    'over0 fdae:41e4:649b:9303::5 instead of none',
    'configure',
    'over0 up',
  ]);
  const [change] = kit.changes;
  assert.ok(change?.privateKey && change.replacePeers);
  const [peer, ...others] = change.peers;
  assert.deepEqual(others, []);
  assert.equal(peer?.publicKey.base64, key('server'));
  assert.equal(peer.persistentKeepalive, 25);
  assert.deepEqual(
    peer.allowedIps?.map(({ prefix }) => formatPrefix(prefix)),
    ['fdae:41e4:649b:9303::1/128'],
  );
  assert.ok(peer.endpoint);
  assert.deepEqual([formatEndpoint(peer.endpoint), peer.endpoint.carrier], ['10.0.0.1:50180', 0]);
});

test('between UDP and the tunnel only the endpoint changes: sessions and interface stay', async () => {
  const kit = new TestOverlay();
  await kit.apply({}, '10.0.0.1:50180');
  kit.log.length = 0;
  const label = '[fdae:41e4:649b:9304::9]:50889';
  await kit.apply({ kind: 'grpc', peerAddrPort: label }, label, 'grpc');
  kit.overlay.probe(parseSocketAddress('10.0.0.1:50180') as SocketAddress);
  assert.deepEqual([kit.log, kit.probes], [['configure'], [`${key('server')} 10.0.0.1:50180 0`]]);
  await kit.apply({}, '10.0.0.1:50180', 'udp');
  assert.deepEqual(kit.log, ['configure', 'configure']);
  for (const [i, carrier] of [
    [1, 1],
    [2, 0],
  ] as const) {
    const { peers, ...rest } = kit.changes[i] as DeviceChange;
    assert.deepEqual(rest, { replacePeers: false });
    assert.deepEqual(Object.keys(peers[0] ?? {}), ['publicKey', 'endpoint']);
    assert.equal(peers[0]?.endpoint?.carrier, carrier);
  }
});

test('another address replaces the old one, another server key the old peer', async () => {
  const kit = new TestOverlay();
  await kit.apply({}, '10.0.0.1:1');
  kit.log.length = 0;
  await kit.apply(
    { nodeAddressPrefix: 'fdae:41e4:649b:9303::6/64', serverPublicKey: key('other') },
    '10.0.0.1:1',
  );
  assert.deepEqual(kit.log, [
    'only fdae:41e4:649b:9303::6',
    'over0 fdae:41e4:649b:9303::6 instead of fdae:41e4:649b:9303::5',
    'configure',
  ]);
  const change = kit.changes[1];
  assert.ok(change?.replacePeers && !change.privateKey);
  assert.equal(change.peers[0]?.allowedIps?.length, 1);
  kit.overlay.startHandshake();
  assert.deepEqual(kit.handshakes, [key('other')]);
});

test('before the first link there is nothing to see and nobody to greet', () => {
  const kit = new TestOverlay();
  kit.overlay.startHandshake();
  kit.overlay.probe(parseSocketAddress('10.0.0.1:50180') as SocketAddress);
  assert.deepEqual([kit.overlay.observe(), kit.handshakes, kit.probes], [undefined, [], []]);
  assert.deepEqual(kit.overlay.transferred(), { receivedBytes: 0, sentBytes: 0 });
});
