/** Real `wg` and our own client, side by side, against one and the same device. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { parseShowRequest, showReport } from '../../src/app/show-report.ts';
import { SHOW_FIELDS, type ShowStyle } from '../../src/app/show.ts';
import { getDevice, listInterfaces, setDevice } from '../../src/app/uapi-client.ts';
import { parseWgConf } from '../../src/app/wg-conf.ts';
import { toDeviceChange } from '../../src/app/wg-conf-print.ts';
import { parseAddress, parsePrefix } from '../../src/core/ip.ts';
import { silentLogger } from '../../src/core/log.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../src/noise/keys.ts';
import type { DeviceChange, PeerChange } from '../../src/tunnel/config.ts';
import { printChange } from '../../src/tunnel/uapi-change.ts';
import { printEndpoint } from '../../src/tunnel/uapi-reply.ts';
import { openUapiSocket, uapiPath } from '../../src/tunnel/uapi-socket.ts';
import { FakeDevice } from '../kit/fake-device.ts';
import { Namespace, requireRoot } from '../kit/netns.ts';
import { WIREGUARD_GO, WireGuardProcess, requireInterop } from '../kit/programs.ts';
import { publicKeyOracle } from '../kit/x25519.ts';
import { fakeZones } from '../kit/zones.ts';

const skip = requireRoot({ programs: ['wg', 'unshare', 'mount'] });

const execute = promisify(execFile);

/**
 * Runs `wg` with `directory` in place of /var/run/wireguard and no kernel interfaces in sight. Not synchronously: it
 * is this process that answers it.
 */
async function wg(
  directory: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const script =
    'mount -t tmpfs none /run && mkdir /run/wireguard && mount --bind "$1" /run/wireguard && shift && exec wg "$@"';
  const { stdout } = await execute('unshare', ['-mn', 'sh', '-ec', script, 'sh', directory, ...args], {
    env: { ...process.env, ...env },
    maxBuffer: 64 << 20,
  });
  return stdout;
}

/** Serves fake devices under a temporary directory. `wg` runs in a child, so they are served by this process. */
async function serve(t: TestContext, devices: Record<string, FakeDevice>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-show-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, device] of Object.entries(devices)) {
    const socket = await openUapiSocket(uapiPath(name, directory));
    t.after(() => socket.close());
    socket.serve({ device, zones: fakeZones, logger: silentLogger }, () => {});
  }
  return directory;
}

/** Our answer to the same question. */
async function ours(
  directory: string,
  args: readonly string[],
  style: Partial<ShowStyle> = {},
): Promise<string> {
  const [target = 'all', field] = args;
  const source = {
    list: () => listInterfaces(directory),
    get: (name: string) => getDevice(name, directory),
    publicKeyOf: publicKeyOracle,
  };
  const now = { isColoured: false, showsKeys: false, nowSeconds: Math.floor(Date.now() / 1000) };
  const { text, failures } = await showReport(parseShowRequest(target, field, false), source, {
    ...now,
    ...style,
  });
  assert.deepEqual(failures, []);
  return text;
}

/** Asks both until both ran within one second, since ages are printed in seconds. */
async function compare(
  directory: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  style: Partial<ShowStyle> = {},
): Promise<void> {
  for (;;) {
    const second = Math.floor(Date.now() / 1000);
    const theirs = await wg(directory, ['show', ...args], env);
    const mine = await ours(directory, args, style);
    if (Math.floor(Date.now() / 1000) !== second) continue;
    assert.equal(mine, theirs, `wg show ${args.join(' ')}`);
    return;
  }
}

function endpoint(text: string, port: number): NonNullable<PeerChange['endpoint']> {
  return { address: parseAddress(text) as Uint8Array, port, scope: 0, carrier: 0 };
}

function peer(fill: number, rest: Partial<PeerChange> & { ips?: readonly string[] }): PeerChange {
  const { ips = [], ...change } = rest;
  const allowedIps = ips.map((text) => {
    const prefix = parsePrefix(text);
    assert.ok(prefix, text);
    return { prefix, remove: false };
  });
  return { publicKey: new PublicKey(new Uint8Array(32).fill(fill)), allowedIps, ...change };
}

const KEY = new PrivateKey(new Uint8Array(32).fill(77));
const IPS = [
  '10.0.0.0/8',
  '0.0.0.0/0',
  '::/0',
  '::ffff:1.2.3.0/120',
  '::1.2.3.4/128',
  'fd00:0:0:1::/64',
  '64:ff9b::/96',
];
const CHANGE: DeviceChange = {
  privateKey: KEY,
  listenPort: 51820,
  fwmark: 0xca6c,
  peers: [
    peer(1, {}),
    peer(2, { ips: IPS, endpoint: endpoint('192.0.2.1', 65535), persistentKeepalive: 25 }),
    peer(3, {
      ips: ['10.1.0.0/16'],
      endpoint: endpoint('2001:db8::1', 1),
      persistentKeepalive: 65535,
      presharedKey: new PresharedKey(new Uint8Array(32).fill(8)),
    }),
    peer(4, { ips: ['10.2.0.0/16'], endpoint: endpoint('::ffff:1.2.3.4', 9), persistentKeepalive: 3600 }),
    peer(5, { ips: ['10.3.0.0/16'] }),
  ],
};

async function richDevice(): Promise<FakeDevice> {
  const device = new FakeDevice();
  await device.configure(CHANGE);
  const now = Date.now();
  const seen = [
    [1, 3_661_000, 1023n, 1024n],
    [2, 31_536_000_000 + 86_400_000 + 61_000, 1152n, 2n ** 40n],
    [3, 0, 2n ** 20n - 1n, 0n],
    [5, -100_000, 2n ** 64n - 1n, 5n * 2n ** 30n + 2n ** 29n],
  ] as const;
  for (const [fill, ageMs, txBytes, rxBytes] of seen)
    device.observe(Buffer.alloc(32, fill).toString('hex'), {
      lastHandshakeMs: now - ageMs,
      txBytes,
      rxBytes,
    });
  return device;
}

test('the human form is that of wg, with and without colours and keys', { skip }, async (t) => {
  const directory = await serve(t, { wg0: await richDevice(), empty: new FakeDevice() });
  await compare(directory, ['wg0']);
  await compare(directory, ['empty']);
  await compare(directory, ['wg0'], { WG_COLOR_MODE: 'always' }, { isColoured: true });
  await compare(directory, ['wg0'], { WG_HIDE_KEYS: 'never' }, { showsKeys: true });
  await compare(directory, ['empty'], { WG_COLOR_MODE: 'always' }, { isColoured: true });
});

for (const field of SHOW_FIELDS) {
  test(`show ${field} is that of wg, for one interface and for all`, { skip }, async (t) => {
    const directory = await serve(t, { wg0: await richDevice(), empty: new FakeDevice() });
    for (const target of ['wg0', 'empty', 'all']) {
      // wg of 2021 prints the name once for all endpoints of an interface; later ones print it on every line, as here.
      if (field === 'endpoints' && target === 'all') continue;
      await compare(directory, [target, field]);
    }
  });
}

test('all interfaces and their list come in the order of wg', { skip }, async (t) => {
  const directory = await serve(t, {
    zeta: new FakeDevice(),
    alpha: await richDevice(),
    beta: new FakeDevice(),
    ['wg=_+.-']: new FakeDevice(),
  });
  await compare(directory, []);
  await compare(directory, ['all']);
  await compare(directory, ['interfaces']);
});

test('without any interface all forms are as empty as those of wg', { skip }, async (t) => {
  const directory = await serve(t, {});
  for (const args of [[], ['all'], ['interfaces'], ['all', 'dump']]) await compare(directory, args);
});

/** A change as UAPI text, in which two changes can be compared. */
function asText(change: DeviceChange | undefined): string {
  assert.ok(change);
  return printChange(change, (to) => printEndpoint(to, fakeZones));
}

const CONFIGURATIONS: Readonly<Record<string, string>> = {
  'nothing at all': '',
  'an interface': `[Interface]\nPrivateKey = ${KEY.exposeBase64()}\nListenPort = 7\nFwMark = 0xff\n`,
  'odd spacing, case and comments': `[ interface ] # x\nLISTENPORT=7#8\n fw mark = off\n[PEER]\npublickey = ${'A'.repeat(43)}=\n`,
  'several peers': `[Peer]
PublicKey = ${Buffer.alloc(32, 1).toString('base64')}
PresharedKey = ${Buffer.alloc(32, 2).toString('base64')}
AllowedIPs = 10.1.2.3/8, fd00::1, 192.0.2.1
AllowedIPs = 0.0.0.0/0
Endpoint = 192.0.2.1:51820
PersistentKeepalive = 25
[Peer]
PublicKey = ${Buffer.alloc(32, 3).toString('base64')}
Endpoint = [2001:db8::1]:1
PersistentKeepalive = off
[Peer]
PublicKey = ${Buffer.alloc(32, 4).toString('base64')}
Endpoint = 2001:db8::2:1
`,
};
for (const [what, text] of Object.entries(CONFIGURATIONS)) {
  test(`a file with ${what} asks of a device what wg setconf asks`, { skip }, async (t) => {
    const device = new FakeDevice();
    const directory = await serve(t, { wg0: device });
    const file = join(directory, 'wg0.conf');
    writeFileSync(file, text);
    await wg(directory, ['setconf', 'wg0', file]);
    const { conf } = parseWgConf(text, 'wg0.conf');
    const mine = toDeviceChange(
      conf,
      (one) => one.endpoint && endpoint(one.endpoint.host, one.endpoint.port),
    );
    assert.equal(asText(mine), asText(device.changes[0]));
  });
}

test(
  'a live wireguard-go is shown, dumped and changed as wg does it',
  { skip: requireInterop([WIREGUARD_GO]), timeout: 60_000 },
  async () => {
    await using namespace = Namespace.create();
    const program = WireGuardProcess.start(WIREGUARD_GO, namespace);
    await setDevice(program.link, asText(CHANGE));
    const style = { isColoured: false, showsKeys: false, nowSeconds: 0 };
    const source = {
      list: () => listInterfaces(),
      get: (name: string) => getDevice(name),
      publicKeyOf: publicKeyOracle,
    };
    const shown = async (field?: string) =>
      (await showReport(parseShowRequest(program.link, field, false), source, style)).text;
    const sorted = (text: string) => text.split('\n').sort().join('\n');
    // wireguard-go prints its peers in another order each time.
    assert.equal(sorted(await shown()), sorted(namespace.exec('wg', ['show', program.link])));
    for (const field of SHOW_FIELDS)
      assert.equal(
        sorted(await shown(field)),
        sorted(namespace.exec('wg', ['show', program.link, field])),
        field,
      );
    assert.ok((await listInterfaces()).includes(program.link));
    await assert.rejects(setDevice(program.link, 'set=1\nnonsense=1\n\n'), { errnoName: 'EINVAL' });
    await assert.rejects(getDevice(`${program.link}x`), { code: 'not_found' });
  },
);
