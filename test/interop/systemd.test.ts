/** The units in packaging/systemd, judged by systemd's own program, and a service that speaks to its manager. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requirePrograms } from '../kit/require-programs.ts';
import { requireRoot } from '../kit/netns.ts';
import { listenForNotices } from '../kit/notify.ts';

const skip = requirePrograms('systemd-analyze');
const units = fileURLToPath(new URL('../../../packaging/systemd', import.meta.url));

/** Of `systemd-analyze security`, 0.2 above what systemd 252 says: 10 is a service without any protection. */
const MOST_EXPOSED: Readonly<Record<string, number>> = {
  'culvert@.service': 3.2,
  'culvert-gateway.service': 2.7,
  'culvert-join.service': 2.9,
};

function analyze(args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

test('systemd: every unit is valid', { skip }, () => {
  const root = mkdtempSync(join(tmpdir(), 'culvert-units-'));
  try {
    // verify wants the program to exist; only there, so that this machine's own is not asked.
    const directory = join(root, 'units');
    mkdirSync(directory);
    for (const name of Object.keys(MOST_EXPOSED)) {
      const text = readFileSync(join(units, name), 'utf8').replaceAll('/usr/bin/culvert', '/bin/true');
      writeFileSync(join(directory, name.replace('@.', '@wg0.')), text);
    }
    for (const name of readdirSync(directory)) {
      const { status, output } = analyze([
        'verify',
        '--man=no',
        '--recursive-errors=no',
        join(directory, name),
      ]);
      assert.equal(status, 0, `${name}: ${output}`);
      assert.doesNotMatch(output, new RegExp(name.replace('@', '@?')), output);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('systemd: no unit is more exposed than it must be', { skip }, () => {
  for (const [name, most] of Object.entries(MOST_EXPOSED)) {
    const { output } = analyze(['security', '--offline=yes', '--no-pager', join(units, name)]);
    const exposure = Number(/exposure level for [^:]+: ([\d.]+)/.exec(output)?.[1]);
    assert.ok(exposure <= most, `${name}: ${exposure} is more than ${most}\n${output}`);
  }
});

test('systemd: the list of units here is that of the folder', { skip: false }, () => {
  assert.deepEqual(new Set(readdirSync(units)), new Set(Object.keys(MOST_EXPOSED)));
});

/** Capabilities of a unit as setpriv(1) writes them. */
function boundingSet(unit: string): string {
  const text = readFileSync(join(units, unit), 'utf8');
  const names = /^CapabilityBoundingSet=(.*)$/m.exec(text)?.[1]?.split(' ') ?? [];
  assert.ok(names.length > 0);
  return ['-all', ...names.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)].join(',');
}

const SERVICE = `
  mount -t tmpfs none /run && mkdir -p /run/wireguard /run/culvert && mount -t tmpfs none /etc/wireguard
  ip link set lo up
  umask 077
  printf '%s\\n' '[Interface]' "PrivateKey = $(culvert genkey)" 'Address = 10.0.0.1/24' 'ListenPort = 500' '[Peer]' \\
    "PublicKey = $(culvert genkey | culvert pubkey)" 'AllowedIPs = 0.0.0.0/0' 'Endpoint = 192.0.2.1:5' > /etc/wireguard/wg0.conf
  NOTIFY_SOCKET=$2 setpriv --inh-caps=-all --bounding-set="$1" --no-new-privs culvert up wg0 &
  until ip rule | grep -q 51820; do kill -0 $! || exit 1; done
  grep CapEff /proc/$!/status
  until culvert show wg0 listen-port | grep -qx 500; do kill -0 $! || exit 1; done
  kill -TERM $!
  wait $!
  ip link show wg0 2>/dev/null && exit 1
  exit 0`;

const skipService = requireRoot({ programs: ['unshare', 'setpriv', 'nft'], tun: true });

test(
  'systemd: the rights of culvert@.service are enough for a default route through a tunnel, and it speaks to its manager',
  { skip: skipService, timeout: 60_000 },
  (t) => {
    const listener = listenForNotices(t);
    const bin = fileURLToPath(new URL('../../../bin', import.meta.url));
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [
        '-mnpf',
        '--mount-proc',
        '--kill-child',
        'bash',
        '-ec',
        SERVICE,
        'bash',
        boundingSet('culvert@.service'),
        listener.path,
      ],
      { encoding: 'utf8', env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` } },
    );
    assert.equal(status, 0, stdout + stderr);
    // CAP_NET_BIND_SERVICE and CAP_NET_ADMIN, and nothing else.
    assert.match(stdout, /CapEff:\s+0000000000001400\n/);
    assert.match(listener.next() ?? '', /^READY=1\nSTATUS=wg0 is up\nMAINPID=\d+$/);
    assert.equal(listener.next(), 'STOPPING=1');
  },
);
