/** `culvert up` and `down` beside `wg-quick`: one and the same file must leave the machine in the same state. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../kit/eventually.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { newLinkName, requireInterop, socketPath } from '../kit/programs.ts';
import { type KeyPair, newKeyPair } from '../kit/wg.ts';

const CULVERT_GO = fileURLToPath(new URL('../../../bin/culvert-go', import.meta.url));
const CULVERT = join(dirname(CULVERT_GO), 'culvert');
const skip = requireInterop([{ name: 'culvert-go', path: CULVERT_GO }], {
  programs: ['wg-quick', 'nft', 'bash', 'sysctl'],
});
const options = { skip, timeout: 120_000 };

interface Site extends AsyncDisposable {
  readonly namespace: Namespace;
  readonly link: string;
  readonly file: string;
  readonly keys: KeyPair;
  readonly peer: KeyPair;
  configure(device: readonly string[], peer: readonly string[]): void;
}

/** A host with a default route by way of a neighbour, and a file for an interface that no other test uses. */
async function openSite(): Promise<Site> {
  const namespace = Namespace.create();
  const neighbour = Namespace.create();
  joinByVeth(
    { namespace, link: 'veth', addresses: ['10.9.0.1/24', 'fd00:9::1/64'] },
    { namespace: neighbour, link: 'veth', addresses: ['10.9.0.2/24', 'fd00:9::2/64'] },
  );
  namespace.ip('route add default via 10.9.0.2');
  namespace.ip('-6 route add default via fd00:9::2');
  const directory = mkdtempSync(join(tmpdir(), 'culvert-up-'));
  const link = newLinkName();
  const file = join(directory, `${link}.conf`);
  const keys = newKeyPair();
  const peer = newKeyPair();
  await Promise.resolve();
  return {
    namespace,
    link,
    file,
    keys,
    peer,
    configure: (device, peerLines) => {
      const lines = [
        '[Interface]',
        `PrivateKey = ${keys.privateKey}`,
        ...device,
        '[Peer]',
        `PublicKey = ${peer.publicKey}`,
        ...peerLines,
        '',
      ];
      writeFileSync(file, lines.join('\n'), { mode: 0o600 });
    },
    [Symbol.asyncDispose]: async () => {
      rmSync(socketPath(link), { force: true });
      await namespace.close();
      await neighbour.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Everything that wg-quick could have changed. Link-local addresses are random. */
function snapshot({ namespace, link }: Site): Record<string, string> {
  const tidy = (text: string) =>
    text
      .split('\n')
      .filter((line) => !/fe80::|ff00::|multicast/.test(line))
      .map((line) => line.replace(/^\d+: /, '').trimEnd())
      .sort()
      .join('\n');
  const isThere = namespace.try('ip', ['link', 'show', link]).status === 0;
  return {
    addresses: isThere
      ? tidy(namespace.ip(`-o -br addr show dev ${link}`).replaceAll(/fe80\S+/g, ''))
      : 'none',
    mtu: isThere ? (/mtu (\d+)/.exec(namespace.ip(`link show ${link}`))?.[1] ?? '') : 'none',
    routes4: tidy(namespace.ip('-4 route show table all')),
    routes6: tidy(namespace.ip('-6 route show table all')),
    rules4: namespace.ip('-4 rule show'),
    rules6: namespace.ip('-6 rule show'),
    firewall: tidy(namespace.exec('nft', ['list', 'ruleset'])),
    validMark: namespace.exec('sysctl', ['-n', 'net.ipv4.conf.all.src_valid_mark']),
    // Without counters: whether a first handshake was tried yet is a matter of milliseconds.
    device: isThere ? namespace.exec('wg', ['showconf', link]) : 'none',
  };
}

const FILES: Readonly<Record<string, readonly [device: readonly string[], peer: readonly string[]]>> = {
  'addresses, MTU and routes': [
    ['Address = 10.7.0.1/24, fd00:7::1/64', 'MTU = 1300', 'ListenPort = 47101'],
    ['AllowedIPs = 10.7.0.0/24, 10.8.0.0/16, 192.0.2.7/32, fd00:8::/64', 'Endpoint = 10.9.0.2:51820'],
  ],
  'an MTU from the way out': [
    ['Address = 10.7.0.1', 'ListenPort = 47101'],
    ['Endpoint = 10.9.0.2:51820', 'AllowedIPs = 10.8.0.0/16', 'PersistentKeepalive = 25'],
  ],
  'everything through the tunnel': [
    ['Address = 10.7.0.1/24, fd00:7::1/64', 'ListenPort = 47101'],
    ['Endpoint = 10.9.0.2:51820', 'AllowedIPs = 0.0.0.0/0, ::/0, 10.8.0.0/16'],
  ],
  'everything through the tunnel with a mark of its own': [
    ['Address = 10.7.0.1/24', 'ListenPort = 47101', 'FwMark = 0x1234'],
    ['Endpoint = [fd00:9::2]:51820', 'AllowedIPs = 0.0.0.0/0'],
  ],
  'a routing table by number': [
    ['Address = 10.7.0.1/24', 'ListenPort = 47101', 'Table = 1234'],
    ['AllowedIPs = 0.0.0.0/0, 10.8.0.0/16'],
  ],
  'no routes': [['Address = 10.7.0.1/24', 'ListenPort = 47101', 'Table = off'], ['AllowedIPs = 0.0.0.0/0']],
};

for (const [what, [device, peer]] of Object.entries(FILES)) {
  test(`up and down do what wg-quick does: ${what}`, options, async () => {
    await using site = await openSite();
    const { namespace, file, link } = site;
    site.configure(device, peer);
    const before = snapshot(site);
    namespace.exec('wg-quick', ['up', file], { env: { WG_QUICK_USERSPACE_IMPLEMENTATION: CULVERT_GO } });
    const byWgQuick = snapshot(site);
    assert.notDeepEqual(byWgQuick, before);
    namespace.exec('wg-quick', ['down', file]);
    await eventually('the link is gone', () => namespace.try('ip', ['link', 'show', link]).status !== 0);

    namespace.exec(CULVERT, ['up', '--detach', file]);
    assert.deepEqual(snapshot(site), byWgQuick);
    namespace.exec(CULVERT, ['down', link]);
    assert.deepEqual({ ...snapshot(site), validMark: '' }, { ...before, validMark: '' });
    assert.ok(!existsSync(socketPath(link)));
  });
}

test('in the foreground Ctrl-C takes everything down, hooks included, and ends with 0', options, async () => {
  await using site = await openSite();
  const { namespace, file, link } = site;
  const trace = join(dirname(file), 'trace');
  const hooks = ['PreUp', 'PostUp', 'PreDown', 'PostDown'].map(
    (name) => `${name} = echo ${name} %i >> ${trace}`,
  );
  site.configure(['Address = 10.7.0.1/24', ...hooks], ['AllowedIPs = 0.0.0.0/0']);
  const before = snapshot(site);
  const child = namespace.spawn(CULVERT, ['up', '--run-hooks', file], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await eventually('it is up', () => existsSync(trace) && readFileSync(trace, 'utf8').includes('PostUp'));
  child.kill('SIGINT');
  assert.deepEqual(await exited, [0, null]);
  assert.deepEqual({ ...snapshot(site), validMark: '' }, { ...before, validMark: '' });
  assert.equal(
    readFileSync(trace, 'utf8'),
    `PreUp ${link}\nPostUp ${link}\nPreDown ${link}\nPostDown ${link}\n`,
  );
});

test('a killed process is cleaned up after by down', options, async () => {
  await using site = await openSite();
  const { namespace, file, link } = site;
  site.configure(['Address = 10.7.0.1/24'], ['AllowedIPs = 0.0.0.0/0']);
  const before = snapshot(site);
  const child = namespace.spawn(CULVERT, ['up', file], { stdio: 'ignore' });
  await eventually('it is up', () => namespace.ip('-4 rule show').includes('suppress_prefixlength'));
  await eventually('the firewall is loaded', () => namespace.exec('nft', ['list', 'tables']).includes(link));
  child.kill('SIGKILL');
  await eventually('the link is gone', () => namespace.try('ip', ['link', 'show', link]).status !== 0);
  namespace.exec(CULVERT, ['down', link]);
  assert.deepEqual({ ...snapshot(site), validMark: '' }, { ...before, validMark: '' });
});

test('what cannot be done in the background is said in the foreground', options, async () => {
  await using site = await openSite();
  const { namespace, file, link } = site;
  site.configure(['ListenPort = 47102', 'PostUp = true'], ['AllowedIPs = 10.8.0.0/16']);
  namespace.exec(CULVERT, ['up', '-d', file]);
  const again = namespace.try(CULVERT, ['up', '-d', file]);
  assert.equal(again.status, 1);
  assert.match(again.stderr, new RegExp(`^culvert: interface ${link} exists already\nhint: `, 'm'));
  namespace.exec(CULVERT, ['down', file]);
  const gone = namespace.try(CULVERT, ['down', link]);
  assert.equal(gone.status, 1);
  assert.match(gone.stderr, /^culvert: no userspace WireGuard device /);
});

/** Fields of /proc/PID/task/TID/status of every thread of a process. */
function threads(pid: number): Record<string, string>[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) =>
    Object.fromEntries(
      readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')
        .split('\n')
        .map((line) => line.split(':\t') as [string, string]),
    ),
  );
}

test(
  '--user: an unprivileged process with one capability on one thread, which goes on working',
  options,
  async () => {
    await using site = await openSite();
    const { namespace, file, link } = site;
    site.configure(
      ['Address = 10.7.0.1/24', 'ListenPort = 47101'],
      ['Endpoint = 10.9.0.2:51820', 'AllowedIPs = 0.0.0.0/0'],
    );
    const before = snapshot(site);
    namespace.exec(CULVERT, ['up', '-d', '--user', 'nobody', file]);
    const pid = Number(/pid=(\d+)/.exec(namespace.exec('ss', ['-xlpH', 'src', socketPath(link)]))?.[1]);
    const all = threads(pid);
    assert.ok(all.length > 1);
    for (const each of all) {
      assert.match(each['Uid'] ?? '', /^65534\t65534\t65534\t65534$/);
      assert.match(each['Gid'] ?? '', /^65534\t65534\t65534\t65534$/);
      assert.ok(['0000000000000000', '0000000000001000'].includes(each['CapPrm'] ?? ''));
      for (const empty of ['CapInh', 'CapAmb']) assert.equal(each[empty], '0000000000000000');
    }
    assert.equal(all.filter(({ CapPrm }) => CapPrm !== '0000000000000000').length, 1);
    const main = all.find(({ Pid }) => Pid === String(pid));
    assert.deepEqual([main?.['CapEff'], main?.['NoNewPrivs']], ['0000000000001000', '1']);

    // What needs the capability, and what needs the interface.
    namespace.exec('wg', ['set', link, 'listen-port', '47103', 'fwmark', '77']);
    assert.match(namespace.exec('wg', ['show', link]), /listening port: 47103\n\s+fwmark: 0x4d/);
    namespace.ip(`link set ${link} down`);
    namespace.ip(`link set ${link} up`);
    await eventually('the sockets are open again', () =>
      namespace.exec('ss', ['-lunH', 'sport', '=', ':47103']).includes(':47103'),
    );

    namespace.exec(CULVERT, ['down', link]);
    await eventually('everything is as before', () => {
      assert.deepEqual({ ...snapshot(site), validMark: '' }, { ...before, validMark: '' });
      return true;
    });
    assert.ok(!existsSync(socketPath(link)));
  },
);

test('--user: what only root can take back is taken back when the process is killed', options, async () => {
  await using site = await openSite();
  const { namespace, file, link } = site;
  site.configure(['Address = 10.7.0.1/24'], ['AllowedIPs = 0.0.0.0/0']);
  const before = snapshot(site);
  namespace.exec(CULVERT, ['up', '-d', '--user', 'nobody', file]);
  const pid = Number(/pid=(\d+)/.exec(namespace.exec('ss', ['-xlpH', 'src', socketPath(link)]))?.[1]);
  assert.notDeepEqual(snapshot(site), before);
  process.kill(pid, 'SIGKILL');
  await eventually('everything is as before', () => {
    assert.deepEqual({ ...snapshot(site), validMark: '' }, { ...before, validMark: '' });
    return true;
  });
  await eventually('the socket is gone', () => !existsSync(socketPath(link)));
});

test('--user: root, strangers and files that need root at the end are refused', options, async () => {
  await using site = await openSite();
  const { namespace, file } = site;
  site.configure(['SaveConfig = true'], ['AllowedIPs = 10.8.0.0/16']);
  for (const [user, status, said] of [
    ['root', 2, /that is root/],
    ['nobody-of-that-name', 1, /there is no such user/],
    ['nobody', 2, /SaveConfig of the file would need root/],
  ] as const) {
    const refused = namespace.try(CULVERT, ['up', '--user', user, file]);
    assert.equal(refused.status, status);
    assert.match(refused.stderr, said);
  }
});
