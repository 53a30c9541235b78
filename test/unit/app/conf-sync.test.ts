import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatReload } from '../../../src/app/config/reload.ts';
import { upReload } from '../../../src/app/up-reload.ts';
import { parseWgConf } from '../../../src/app/wg-conf.ts';
import { toDeviceChange } from '../../../src/app/wg-conf-print.ts';
import { AppError } from '../../../src/core/errors.ts';
import { formatPrefix, parseAddress } from '../../../src/core/ip.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { PrivateKey } from '../../../src/noise/keys.ts';
import { FakeDevice } from '../../kit/fake-device.ts';
import { seededRandom } from '../../kit/random.ts';
import { fakeZones } from '../../kit/zones.ts';

const random = seededRandom(5);
const secret = () => PrivateKey.generate(random).exposeBase64();
const [ALICE, BOB] = [`${'A'.repeat(43)}=`, `${'B'.repeat(42)}E=`];
const KEY = secret();

interface Peer {
  readonly key: string;
  readonly lines: readonly string[];
}

const conf = (device: readonly string[], ...peers: readonly Peer[]) =>
  [
    '[Interface]',
    ...device,
    ...peers.flatMap(({ key, lines }) => ['[Peer]', `PublicKey = ${key}`, ...lines]),
    '',
  ].join('\n');
const alice = (...lines: readonly string[]): Peer => ({
  key: ALICE,
  lines: ['AllowedIPs = 10.0.0.2/32', ...lines],
});
const bob = (...lines: readonly string[]): Peer => ({
  key: BOB,
  lines: ['AllowedIPs = 10.0.0.3/32', ...lines],
});

/** A device as `culvert up` leaves it behind, and its file. */
async function running(text: string) {
  const file = { text };
  const parse = () => parseWgConf(file.text, 'wg0.conf').conf;
  const device = new FakeDevice();
  const lookups: string[] = [];
  const address = (host: string) => parseAddress(host) ?? Uint8Array.of(192, 0, 2, 9);
  await device.configure(
    toDeviceChange(
      parse(),
      ({ endpoint }) =>
        endpoint && { address: address(endpoint.host), port: endpoint.port, scope: 0, carrier: 0 },
    ),
  );
  device.changes.length = 0;
  const reload = upReload({
    conf: parse(),
    read: parse,
    device,
    resolver: {
      lookup: async (host) => {
        lookups.push(host);
        return '192.0.2.9';
      },
      zones: fakeZones,
      sleep: async () => {},
      retries: 0,
      onRetry: () => {},
    },
    onApplied: () => {},
    logger: silentLogger,
  });
  const peers = () =>
    device.state().peers.map(({ publicKey, allowedIps }) => [publicKey.base64, allowedIps.map(formatPrefix)]);
  return { file, device, lookups, peers, reload: async () => formatReload(await reload()) };
}

test('sync: the same file changes nothing, whatever has roamed', async () => {
  const up = await running(conf([`PrivateKey = ${KEY}`], alice('Endpoint = vpn.example:51820')));
  const publicKey = up.device.state().peers[0]?.publicKey;
  assert.ok(publicKey);
  await up.device.configure({
    peers: [{ publicKey, endpoint: { address: Uint8Array.of(10, 1, 1, 1), port: 7, scope: 0, carrier: 0 } }],
  });
  up.device.changes.length = 0;
  assert.equal(await up.reload(), 'nothing has changed\n');
  assert.deepEqual([up.device.changes, up.lookups], [[], []]);
});

test('sync: peers come and go, and one that stays is not named', async () => {
  const up = await running(conf([`PrivateKey = ${KEY}`], alice()));
  up.file.text = conf([`PrivateKey = ${KEY}`], alice(), bob());
  assert.match(await up.reload(), /^Peer B+E=: not set -> added\nroutes of AllowedIPs: .*needs a restart/);
  assert.deepEqual(
    up.device.changes.at(-1)?.peers.map(({ publicKey }) => publicKey.base64),
    [BOB],
  );
  up.file.text = conf([`PrivateKey = ${KEY}`], bob());
  assert.match(await up.reload(), /^Peer A+=: there -> removed\n/);
  assert.deepEqual(up.peers(), [[BOB, ['10.0.0.3/32']]]);
});

test('sync: of a peer only what has changed is set', async () => {
  const up = await running(conf([`PrivateKey = ${KEY}`], alice('Endpoint = 192.0.2.1:1'), bob()));
  up.file.text = conf(
    [`PrivateKey = ${KEY}`],
    alice('Endpoint = 192.0.2.1:1', 'PersistentKeepalive = 25'),
    bob(`PresharedKey = ${secret()}`, 'Endpoint = vpn.example:2'),
  );
  const text = await up.reload();
  assert.equal(
    text,
    `Peer ${ALICE} PersistentKeepalive: 0 -> 25\nPeer ${BOB} PresharedKey: changed\nPeer ${BOB} Endpoint: not set -> vpn.example:2\n`,
  );
  const [first, second] = up.device.changes.at(-1)?.peers ?? [];
  assert.deepEqual(Object.keys(first ?? {}), ['publicKey', 'persistentKeepalive']);
  assert.deepEqual(Object.keys(second ?? {}), ['publicKey', 'presharedKey', 'endpoint']);
  assert.deepEqual(up.lookups, ['vpn.example']);
});

test('sync: allowed IPs become those of the file, and move from one peer to the other', async () => {
  const up = await running(conf([`PrivateKey = ${KEY}`], alice(), bob()));
  up.file.text = conf([`PrivateKey = ${KEY}`], alice(), {
    key: BOB,
    lines: ['AllowedIPs = 10.0.0.4/32, 10.0.0.5/32'],
  });
  await up.reload();
  assert.deepEqual(up.peers(), [
    [ALICE, ['10.0.0.2/32']],
    [BOB, ['10.0.0.4/32', '10.0.0.5/32']],
  ]);
  up.file.text = conf(
    [`PrivateKey = ${KEY}`],
    { key: ALICE, lines: ['AllowedIPs = 10.0.0.4/32'] },
    { key: BOB, lines: ['AllowedIPs = 10.0.0.2/32'] },
  );
  await up.reload();
  assert.deepEqual(up.peers(), [
    [ALICE, ['10.0.0.4/32']],
    [BOB, ['10.0.0.2/32']],
  ]);
});

test('sync: key, port and mark; what the file leaves out stays, a hook may have set it', async () => {
  const up = await running(conf([`PrivateKey = ${KEY}`], alice()));
  up.file.text = conf(['ListenPort = 51820', 'FwMark = 0x10'], alice());
  assert.equal(await up.reload(), 'ListenPort: 0 -> 51820\nFwMark: off -> 0x10\n');
  assert.equal(up.device.state().privateKey?.exposeBase64(), KEY);
  const other = secret();
  up.file.text = conf([`PrivateKey = ${other}`], alice());
  const text = await up.reload();
  assert.equal(text, 'PrivateKey: changed\n');
  const { privateKey, listenPort, fwmark } = up.device.state();
  assert.deepEqual([privateKey?.exposeBase64(), listenPort, fwmark], [other, 51_820, 0x10]);
});

test('sync: what is set up in the system needs down and up, and is named until then', async () => {
  const up = await running(conf(['Address = 10.0.0.1/24', 'Table = off'], alice()));
  up.file.text = conf(
    ['Address = 10.0.0.7/24', 'Table = off', 'DNS = 10.0.0.53', 'MTU = 1300', 'PostUp = true'],
    alice(),
  );
  const expected = [
    'Address: 10.0.0.1/24 -> 10.0.0.7/24',
    'DNS: not set -> 10.0.0.53',
    'MTU: not set -> 1300',
    'PostUp: not set -> true',
  ].map((line) => `${line}: needs a restart, left as it was\n`);
  assert.equal(await up.reload(), expected.join(''));
  assert.equal(await up.reload(), expected.join(''));
  assert.deepEqual(up.device.changes, []);
});

test('sync: the mark that keeps a default route out of itself is not taken away under it', async () => {
  const full: Peer = { key: ALICE, lines: ['AllowedIPs = 0.0.0.0/0'] };
  const up = await running(conf(['FwMark = 0x10'], full));
  up.file.text = conf(['FwMark = 0x20'], full);
  assert.equal(await up.reload(), 'FwMark: 0x10 -> 0x20: needs a restart, left as it was\n');
  assert.equal(up.device.state().fwmark, 0x10);
});

test('sync: a file that is wrong, or a device that refuses, changes nothing', async () => {
  const up = await running(conf([`PrivateKey = ${KEY}`], alice()));
  up.file.text = conf(['Foo = bar'], alice(), bob());
  await assert.rejects(up.reload(), { code: 'config', message: /wg0\.conf:2/ });
  assert.deepEqual(up.peers(), [[ALICE, ['10.0.0.2/32']]]);
  up.file.text = conf(['ListenPort = 51820'], alice());
  up.device.failure = new AppError('in_use', 'the port is taken');
  await assert.rejects(up.reload(), { code: 'in_use' });
  up.device.failure = undefined;
  assert.equal(await up.reload(), 'ListenPort: 0 -> 51820\n');
});
