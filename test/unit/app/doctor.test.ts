import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type CheckId, type Facts, isUsable, judge, type Status } from '../../../src/app/doctor.ts';
import { type DoctorJson, doctorJson, doctorText } from '../../../src/app/doctor-report.ts';
import { palette } from '../../../src/app/show-values.ts';
import { requireRoot } from '../../kit/netns.ts';

const CULVERT = fileURLToPath(new URL('../../../../bin/culvert', import.meta.url));

/** A machine on which all is well. */
const GOOD: Required<Facts> = {
  node: 'v22.1.0',
  platform: { os: 'linux', architecture: 'x64', kernel: '6.8.0-41-generic' },
  systemCalls: { state: 'works' },
  tun: { state: 'works' },
  rights: { isRoot: true, hasNetAdmin: true },
  kernelModule: 'absent',
  tools: { wg: true, wgQuick: true },
  buffers: { wanted: 7 << 20, send: 7 << 20, receive: 7 << 20 },
  offloads: { gso: true, gro: true },
  ipv6: true,
  uapi: { directory: '/var/run/wireguard', isWritable: true, live: [], stale: [] },
  clock: Date.UTC(2026, 10, 22, 20, 41, 29),
  route: { interfaceName: 'eth0', mtu: 1500 },
  crypto: {
    handshake: [
      { operation: 'X25519', chosen: 'node', candidates: [{ name: 'node', ns: 61_500 }] },
      {
        operation: 'ChaCha20-Poly1305',
        chosen: 'node',
        candidates: [
          { name: 'noble', ns: undefined },
          { name: 'node', ns: 11_400 },
        ],
      },
      { operation: 'BLAKE2s', chosen: 'wasm', candidates: [{ name: 'wasm', ns: 5_200 }] },
    ],
    transport: {
      chosen: 'wasm+openssl',
      longestShort: 3083,
      sizes: [64, 512, 1420, 16_384],
      candidates: [
        { name: 'wasm', result: [160, 512, 1420, 16_384] },
        { name: 'openssl', result: 'openssl: neither Node nor libcrypto.so.3 offers the EVP functions' },
      ],
    },
  },
};

const ORDER: readonly CheckId[] = [
  'node',
  'platform',
  'system-calls',
  'tun',
  'rights',
  'kernel-module',
  'tools',
  'socket-buffers',
  'udp-offloads',
  'ipv6',
  'uapi',
  'clock',
  'mtu',
  'crypto',
];

function check(facts: Partial<Facts>, id: CheckId) {
  const found = judge({ ...GOOD, ...facts }).find((each) => each.id === id);
  return found ?? assert.fail(`no check ${id}`);
}

function text(facts: Facts): string {
  return doctorText(judge(facts), facts, '1.2.3', palette(false));
}

test('on a machine where all is well every check is ok, in a fixed order', () => {
  const checks = judge(GOOD);
  assert.deepEqual(
    checks.map(({ id }) => id),
    ORDER,
  );
  for (const { id, status, hint } of checks) assert.deepEqual([id, status, hint], [id, 'ok', undefined]);
  assert.ok(isUsable(checks));
});

const { crypto } = GOOD;

/** What differs, the check that notices, what it says, and what the hint contains. */
const CASES: readonly (readonly [Partial<Facts>, CheckId, Status, string, string?])[] = [
  [{ node: 'v20.19.0' }, 'node', 'ok', 'v20.19.0'],
  [{ node: 'v20.18.3' }, 'node', 'problem', 'v20.18.3 is too old', '20.19 or later'],
  [{ node: 'v18.99.0' }, 'node', 'problem', 'v18.99.0 is too old', '20.19 or later'],
  [
    { platform: { os: 'darwin', architecture: 'arm64', kernel: '25.0.0' } },
    'platform',
    'problem',
    'darwin arm64',
    '64-bit Linux',
  ],
  [
    { systemCalls: { state: 'fails', problem: 'koffi does not load', hint: 'reinstall' } },
    'system-calls',
    'problem',
    'koffi does not load',
    'reinstall',
  ],
  [{ tun: { state: 'opens' } }, 'tun', 'ok', '/dev/net/tun can be opened'],
  [
    { tun: { state: 'fails', problem: '/dev/net/tun is missing', hint: 'modprobe tun' } },
    'tun',
    'problem',
    '/dev/net/tun is missing',
    'modprobe tun',
  ],
  [{ rights: { isRoot: false, hasNetAdmin: true } }, 'rights', 'ok', 'CAP_NET_ADMIN'],
  [
    { rights: { isRoot: false, hasNetAdmin: false } },
    'rights',
    'problem',
    'neither root nor CAP_NET_ADMIN',
    'sudo',
  ],
  [
    { rights: { isRoot: true, hasNetAdmin: false } },
    'rights',
    'problem',
    'root without CAP_NET_ADMIN',
    '--cap-add NET_ADMIN',
  ],
  [{ kernelModule: 'loaded' }, 'kernel-module', 'warning', 'faster, and preferred by wg-quick', 'culvert up'],
  [{ kernelModule: 'loadable' }, 'kernel-module', 'warning', 'preferred by wg-quick', 'culvert up'],
  [
    { tools: { wg: false, wgQuick: false } },
    'tools',
    'warning',
    'not found: wg, wg-quick',
    'install wireguard-tools',
  ],
  [
    { tools: { wg: true, wgQuick: false } },
    'tools',
    'warning',
    'not found: wg-quick',
    'install wireguard-tools',
  ],
  [
    { buffers: { wanted: 7 << 20, send: 212_992, receive: 4 << 20 } },
    'socket-buffers',
    'warning',
    'receive 4 MiB, send 208 KiB of 7 MiB',
    'net.core.rmem_max=7340032',
  ],
  [{ offloads: { gso: false, gro: true } }, 'udp-offloads', 'warning', 'without GSO (Linux 4.18)', 'kernel'],
  [
    { offloads: { gso: false, gro: false } },
    'udp-offloads',
    'warning',
    'without GSO (Linux 4.18) and GRO (Linux 5.0)',
    'kernel',
  ],
  [{ ipv6: false }, 'ipv6', 'warning', 'IPv4 only', 'disable_ipv6=0'],
  [{ uapi: { ...GOOD.uapi, live: ['wg0', 'wg1'] } }, 'uapi', 'ok', '/var/run/wireguard, in use by wg0, wg1'],
  [
    { uapi: { ...GOOD.uapi, live: ['wg0'], stale: ['wg1'] } },
    'uapi',
    'warning',
    'nobody listens on wg1',
    'rm /var/run/wireguard/wg1.sock',
  ],
  [
    { uapi: { ...GOOD.uapi, isWritable: false, stale: ['wg1'] } },
    'uapi',
    'problem',
    '/var/run/wireguard cannot be written to',
    'run as root',
  ],
  [{ clock: 0 }, 'clock', 'warning', '1970-01-01 00:00:00 UTC is far in the past', 'set it'],
  [{ clock: Date.UTC(2025, 0) - 1 }, 'clock', 'warning', 'is far in the past', 'set it'],
  [{ clock: Date.UTC(2025, 0) }, 'clock', 'ok', '2025-01-01 00:00:00 UTC'],
  [{ clock: Date.UTC(2045, 0) - 1 }, 'clock', 'ok', '2044-12-31 23:59:59 UTC'],
  [{ clock: Date.UTC(2045, 0) }, 'clock', 'warning', 'is far in the future', 'before the first handshake'],
  [
    { route: { interfaceName: 'ppp0', mtu: 1360 } },
    'mtu',
    'ok',
    '1360 by default on ppp0, so 1280 in a tunnel',
  ],
  [{ route: { interfaceName: 'ppp0', mtu: 1359 } }, 'mtu', 'warning', 'so 1279 in a tunnel', '1280'],
  [{ route: null }, 'mtu', 'warning', 'no default route', 'need a route'],
  [
    { crypto: { ...crypto, transport: { ...crypto.transport, chosen: 'noble' } } },
    'crypto',
    'warning',
    'noble for packets',
    'not constant time',
  ],
  [
    { crypto: { ...crypto, handshake: [{ operation: 'X25519', chosen: 'noble', candidates: [] }] } },
    'crypto',
    'warning',
    'noble for handshakes',
    'not constant time',
  ],
];

for (const [facts, id, status, detail, hint] of CASES) {
  test(`${id} is ${status}: ${detail}`, () => {
    const found = check(facts, id);
    assert.equal(found.status, status);
    assert.ok(found.detail.includes(detail), found.detail);
    if (hint === undefined) assert.equal(found.hint, undefined);
    else assert.ok(found.hint?.includes(hint), found.hint);
    const others = judge({ ...GOOD, ...facts }).filter((each) => each.id !== id);
    assert.ok(
      others.every((each) => each.status === 'ok'),
      'nothing else is judged by it',
    );
  });
}

test('only a problem keeps a device from running', () => {
  for (const [facts, , status] of CASES)
    assert.equal(isUsable(judge({ ...GOOD, ...facts })), status !== 'problem');
});

test('what could not be found out is not judged', () => {
  const { node, platform, tools, uapi, clock } = GOOD;
  const known = { node, platform, tools, uapi, clock, crypto };
  assert.deepEqual(
    judge({ ...known, systemCalls: { state: 'fails', problem: 'system calls: need 64-bit Linux' } }).map(
      ({ id }) => id,
    ),
    ['node', 'platform', 'system-calls', 'tools', 'uapi', 'clock', 'crypto'],
  );
});

test('the text has a line for each check, aligned, with the status first', () => {
  const lines = text(GOOD).split('\n');
  assert.equal(lines[0], 'culvert 1.2.3 doctor');
  assert.equal(lines[2], '  ok       Node.js         v22.1.0');
  assert.equal(lines[9], '  ok       socket buffers  7 MiB each');
  assert.equal(lines.at(-2), 'A device can run here.');
});

test('no line is longer than 80 columns, whatever was found', () => {
  for (const [facts] of CASES) {
    for (const line of text({ ...GOOD, ...facts }).split('\n')) assert.ok(line.length <= 80, line);
  }
});

test('hints stand below what they are about, broken at spaces', () => {
  const shown = text({ ...GOOD, buffers: { wanted: 7 << 20, send: 1 << 20, receive: 1 << 20 } });
  assert.ok(
    shown.includes(
      [
        '  warning  socket buffers  receive 1 MiB, send 1 MiB of 7 MiB: bursts get lost',
        '                           -> run as root, or: sysctl -w',
        '                              net.core.rmem_max=7340032',
        '                              net.core.wmem_max=7340032',
        '',
      ].join('\n'),
    ),
    shown,
  );
});

test('the last line counts what is wrong', () => {
  const last = (facts: Partial<Facts>) =>
    text({ ...GOOD, ...facts })
      .split('\n')
      .at(-2);
  assert.equal(last({ ipv6: false }), 'A device can run here (1 warning).');
  assert.equal(
    last({ ipv6: false, route: null, tun: { state: 'fails', problem: 'missing' } }),
    'No device can run here (1 problem, 2 warnings).',
  );
});

test('the crypto table has MB/s and nanoseconds, and the reason where a backend is out', () => {
  const shown = text(GOOD);
  assert.match(shown, /^ {24}64 B {11}512 B {10}1420 B {9}16384 B$/m);
  assert.match(shown, /^ {2}wasm {10}400 \(160 ns\) +1000 \(512 ns\) +1000 \(1420 ns\) +1000 \(16384 ns\)$/m);
  assert.match(
    shown,
    /^ {2}openssl {4}openssl: neither Node nor libcrypto\.so\.3 offers the EVP functions$/m,
  );
  assert.match(shown, /^ {2}chosen: wasm\+openssl, the latter above 3083 bytes$/m);
  assert.match(shown, /^ {2}X25519 +node 61\.5 us; chosen: node$/m);
  assert.match(shown, /^ {2}ChaCha20-Poly1305 +noble fails, node 11\.4 us; chosen: node$/m);
});

test('colours mark the status words and change nothing else', () => {
  const checks = judge({ ...GOOD, ipv6: false });
  const coloured = doctorText(checks, GOOD, '1.2.3', palette(true));
  assert.ok(coloured.includes('\x1b[33mwarning\x1b[0m  IPv6'));
  // oxlint-disable-next-line no-control-regex
  assert.equal(coloured.replace(/\x1b\[\d+m/g, ''), doctorText(checks, GOOD, '1.2.3', palette(false)));
});

test('the JSON has what docs/DOCTOR.md says', () => {
  const document = JSON.parse(doctorJson(judge(GOOD), GOOD, '1.2.3')) as DoctorJson;
  assert.deepEqual(Object.keys(document), ['schema', 'culvert', 'isUsable', 'checks', 'facts']);
  assert.deepEqual([document.schema, document.culvert, document.isUsable], [1, '1.2.3', true]);
  assert.deepEqual(document.facts, JSON.parse(JSON.stringify(GOOD)));
  const manual = readFileSync(new URL('../../../../docs/DOCTOR.md', import.meta.url), 'utf8');
  for (const id of ORDER) assert.ok(manual.includes(`\`${id}\``), `docs/DOCTOR.md explains ${id}`);
  for (const name of Object.keys(GOOD))
    assert.ok(manual.includes(`\`${name}\``), `docs/DOCTOR.md explains ${name}`);
});

function doctor(options: { uid?: number; env?: NodeJS.ProcessEnv } = {}, ...args: readonly string[]) {
  const { env = {}, ...rest } = options;
  return spawnSync(process.execPath, [CULVERT, 'doctor', ...args], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', ...env },
    ...rest,
  });
}

const parse = ({ stdout }: SpawnSyncReturns<string>) => JSON.parse(stdout) as DoctorJson;

test('the exit code says whether a device can run on this machine', () => {
  const result = doctor({}, '--json');
  const document = parse(result);
  assert.equal(result.stderr, '');
  assert.equal(result.status, document.isUsable ? 0 : 1);
  assert.equal(document.facts.node, process.version);
  const { sizes, candidates } = document.facts.crypto.transport;
  assert.deepEqual(sizes, [64, 512, 1420, 16_384]);
  const measured = candidates.flatMap(({ result: times }) => (typeof times === 'string' ? [] : [times]));
  assert.ok(measured.length > 0 && measured.flat().every((ns) => ns > 0));
});

test('without programs in PATH it says what is missing', () => {
  const { facts } = parse(doctor({ env: { PATH: '/proc' } }, '--json'));
  assert.deepEqual(facts.tools, { wg: false, wgQuick: false });
});

describe('culvert doctor with rights', { skip: requireRoot({ tun: true }) }, () => {
  test('root can run a device; nothing is left of what was tried', () => {
    const before = readdirSync('/sys/class/net');
    const result = doctor();
    assert.equal(result.status, 0);
    assert.match(result.stdout, /^ {2}ok {7}TUN device {6}an interface can be made$/m);
    assert.deepEqual(
      readdirSync('/sys/class/net').filter((name) => name.startsWith('culvert')),
      before.filter((name) => name.startsWith('culvert')),
    );
  });

  test('without rights it exits with 1 and says what to do', () => {
    const result = doctor({ uid: 65_534 });
    assert.equal(result.status, 1);
    assert.match(result.stdout, /^ {2}problem {2}rights {10}neither root nor CAP_NET_ADMIN\n +-> use sudo$/m);
    assert.match(result.stdout, /^No device can run here \(\d problems?.*\)\.$/m);
  });
});
