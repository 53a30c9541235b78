import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AppError } from '../../../src/core/errors.ts';
import { parseAddress, parsePrefix } from '../../../src/core/ip.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../../src/noise/keys.ts';
import { type DeviceSource, parseShowRequest, showReport } from '../../../src/app/show-report.ts';
import { type ShowStyle, formatDevice, toJson } from '../../../src/app/show.ts';
import {
  formatAgo,
  formatAsGlibc,
  formatBytes,
  formatDuration,
  palette,
  wantsColour,
} from '../../../src/app/show-values.ts';
import type { UapiDevice, UapiPeer } from '../../../src/tunnel/uapi-reply.ts';
import { publicKeyOracle } from '../../kit/x25519.ts';

const NONE = palette(false);
const STYLE: ShowStyle = { isColoured: false, showsKeys: false, nowSeconds: 1_700_000_000 };

function peer(fill: number, rest: Partial<UapiPeer> = {}): UapiPeer {
  return {
    publicKey: new PublicKey(new Uint8Array(32).fill(fill)),
    presharedKey: PresharedKey.none,
    endpoint: undefined,
    lastHandshakeMs: 0,
    txBytes: 0n,
    rxBytes: 0n,
    persistentKeepalive: 0,
    allowedIps: [],
    ...rest,
  };
}

const prefix = (text: string) => {
  const parsed = parsePrefix(text);
  assert.ok(parsed);
  return parsed;
};

const FULL: UapiDevice = {
  privateKey: new PrivateKey(new Uint8Array(32).fill(1)),
  listenPort: 51820,
  fwmark: 0xca6c,
  peers: [
    peer(2),
    peer(3, {
      presharedKey: new PresharedKey(new Uint8Array(32).fill(9)),
      endpoint: { address: Uint8Array.of(192, 0, 2, 1), port: 7 },
      lastHandshakeMs: 1_699_999_935_000,
      txBytes: 1_500_000n,
      rxBytes: 92n,
      persistentKeepalive: 25,
      allowedIps: [prefix('10.0.0.0/8'), prefix('fd00::/64')],
    }),
  ],
};

function source(devices: Record<string, UapiDevice>): DeviceSource {
  const known = new Map(Object.entries(devices));
  return {
    list: () => Promise.resolve([...known.keys()]),
    get: (name) => {
      const device = known.get(name);
      return device ? Promise.resolve(device) : Promise.reject(new AppError('not_found', name));
    },
    publicKeyOf: publicKeyOracle,
  };
}

async function show(
  devices: Record<string, UapiDevice>,
  target: string,
  field?: string,
  isJson = false,
): Promise<string> {
  return (await showReport(parseShowRequest(target, field, isJson), source(devices), STYLE)).text;
}

test('show prints the human form of wg, latest handshake first, secrets hidden', async () => {
  assert.equal(
    await show({ wg0: FULL }, 'wg0'),
    `interface: wg0
  public key: ${publicKeyOracle(FULL.privateKey as PrivateKey).base64}
  private key: (hidden)
  listening port: 51820
  fwmark: 0xca6c

peer: ${FULL.peers[1]?.publicKey.base64}
  preshared key: (hidden)
  endpoint: 192.0.2.1:7
  allowed ips: 10.0.0.0/8, fd00::/64
  latest handshake: 1 minute, 5 seconds ago
  transfer: 92 B received, 1.43 MiB sent
  persistent keepalive: every 25 seconds

peer: ${FULL.peers[0]?.publicKey.base64}
  allowed ips: (none)
`,
  );
});

test('show with WG_HIDE_KEYS=never prints the keys', () => {
  const device = { ...FULL, name: 'wg0', publicKey: undefined };
  const text = formatDevice(device, { ...STYLE, showsKeys: true });
  assert.ok(text.includes(`private key: ${FULL.privateKey?.exposeBase64()}`));
  assert.ok(text.includes(`preshared key: ${FULL.peers[1]?.presharedKey.exposeBase64()}`));
});

test('all devices are set apart by an empty line', async () => {
  const empty: UapiDevice = { privateKey: undefined, listenPort: 0, fwmark: 0, peers: [] };
  assert.equal(await show({ wg0: empty, wg1: empty }, 'all'), 'interface: wg0\n\ninterface: wg1\n');
  assert.equal(await show({}, 'all'), '');
});

test('interfaces are listed on one line', async () => {
  assert.equal(await show({ wg0: FULL, wg1: FULL }, 'interfaces'), 'wg0 wg1\n');
  assert.equal(await show({}, 'interfaces'), '');
});

test('fields of all devices carry the name of the interface', async () => {
  assert.equal(await show({ wg0: FULL }, 'all', 'listen-port'), 'wg0\t51820\n');
  assert.equal(await show({ wg0: FULL }, 'wg0', 'listen-port'), '51820\n');
});

test('JSON has the shape of wg-json and no secrets', async () => {
  const text = await show({ wg0: FULL }, 'all', undefined, true);
  assert.deepEqual(JSON.parse(text), {
    wg0: {
      publicKey: publicKeyOracle(FULL.privateKey as PrivateKey).base64,
      listenPort: 51820,
      fwmark: 0xca6c,
      peers: {
        [FULL.peers[0]?.publicKey.base64 as string]: { allowedIps: [] },
        [FULL.peers[1]?.publicKey.base64 as string]: {
          endpoint: '192.0.2.1:7',
          latestHandshake: 1_699_999_935,
          transferRx: 92,
          transferTx: 1_500_000,
          persistentKeepalive: 25,
          allowedIps: ['10.0.0.0/8', 'fd00::/64'],
        },
      },
    },
  });
});

test('a device that vanishes while all are shown is a failure beside the others', async () => {
  const vanishing: DeviceSource = { ...source({ wg0: FULL }), list: () => Promise.resolve(['gone', 'wg0']) };
  const report = await showReport(parseShowRequest('all', 'peers', false), vanishing, STYLE);
  assert.equal(report.failures.length, 1);
  assert.ok(report.text.startsWith('wg0\t'));
});

test('an unknown field is a usage error with the nearest one', () => {
  assert.throws(() => parseShowRequest('wg0', 'dmp', false), { code: 'usage', hint: 'did you mean dump?' });
  assert.throws(() => parseShowRequest('wg0', 'dump', true), { code: 'usage' });
  assert.throws(() => parseShowRequest('interfaces', 'dump', false), { code: 'usage' });
});

test('durations name years, days, hours, minutes and seconds, each singular or plural', () => {
  const all = 365 * 86_400 + 2 * 86_400 + 3600 + 2 * 60 + 1;
  assert.equal(formatDuration(all, NONE), '1 year, 2 days, 1 hour, 2 minutes, 1 second');
  assert.equal(formatDuration(65_535, NONE), '18 hours, 12 minutes, 15 seconds');
});

test('a handshake of this second was now, and one of the future is a clock that went back', () => {
  assert.equal(formatAgo(5, 5, NONE), 'Now');
  assert.equal(formatAgo(6, 5, NONE), '(System clock wound backward; connection problems may ensue.)');
});

test('amounts round as printf does: exactly, and ties to even', () => {
  const cases: readonly (readonly [bigint, string])[] = [
    [0n, '0 B'],
    [1023n, '1023 B'],
    [1024n, '1.00 KiB'],
    [1152n, '1.12 KiB'],
    [1408n, '1.38 KiB'],
    [1664n, '1.62 KiB'],
    [2n ** 20n - 1n, '1024.00 KiB'],
    [2n ** 40n - 1n, '1024.00 GiB'],
    [2n ** 50n, '1024.00 TiB'],
    [2n ** 64n - 1n, '16777216.00 TiB'],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes, NONE), text);
});

test('addresses print as inet_ntop of glibc prints them', () => {
  for (const text of [
    '::',
    '::1',
    '::ffff:1.2.3.4',
    '::ffff:0.0.0.0',
    '::1.2.3.4',
    '::0.1.0.2',
    '64:ff9b::102:304',
    'fd00::1',
    '1::',
    '10.0.0.1',
  ])
    assert.equal(formatAsGlibc(parseAddress(text) as Uint8Array), text);
});

test('colour: WG_COLOR_MODE, then NO_COLOR, then the terminal', () => {
  assert.equal(wantsColour({}, true), true);
  assert.equal(wantsColour({}, false), false);
  assert.equal(wantsColour({ NO_COLOR: '1' }, true), false);
  assert.equal(wantsColour({ NO_COLOR: '' }, true), true);
  assert.equal(wantsColour({ WG_COLOR_MODE: 'always', NO_COLOR: '1' }, false), true);
  assert.equal(wantsColour({ WG_COLOR_MODE: 'never' }, true), false);
  assert.equal(wantsColour({ WG_COLOR_MODE: 'auto' }, true), true);
});

test('show: on a terminal the age of a handshake has a colour, which WG_COLOR_MODE leaves to wg', () => {
  const now = STYLE.nowSeconds;
  const line = (age: number, coloursAge: boolean) => {
    const peers = [peer(2, { lastHandshakeMs: (now - age) * 1_000 })];
    const device = { ...FULL, peers, name: 'wg0', publicKey: undefined };
    const text = formatDevice(device, { ...STYLE, isColoured: true, coloursAge });
    return text.split('\n').find((one) => one.includes('latest handshake')) ?? '';
  };
  assert.ok(line(179, true).includes('\x1b[32m2 minutes, 59 seconds ago\x1b[0m'));
  assert.ok(line(180, true).includes('\x1b[33m3 minutes ago'));
  assert.ok(line(274, true).includes('\x1b[33m4 minutes'));
  assert.ok(line(275, true).includes('\x1b[31m4 minutes, 35 seconds ago'));
  assert.ok(line(179, false).includes('2 \x1b[36mminutes'));
});

test('show: docs/reference/json.md lists every member of the JSON', () => {
  const text = readFileSync(new URL('../../../../docs/reference/json.md', import.meta.url), 'utf8');
  const device = { ...FULL, name: 'wg0', publicKey: new PublicKey(new Uint8Array(32).fill(5)) };
  const [shown] = Object.values(toJson([device], true) as Record<string, { peers: Record<string, object> }>);
  assert.ok(shown);
  const members = [...Object.keys(shown), ...Object.values(shown.peers).flatMap((one) => Object.keys(one))];
  assert.ok(members.length > 8);
  for (const member of members) assert.match(text, new RegExp(`\\b${member}\\b`), member);
});
