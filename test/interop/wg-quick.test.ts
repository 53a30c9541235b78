/**
 * The implementation as what `wg-quick` starts when the kernel has no WireGuard. A copy of the script runs, next to
 * stubs of the two programs whose real ones would spoil the test: `resolvconf` (it would change this machine) and
 * `ip link add type wireguard` (it must fail, as on such a kernel).
 */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import {
  implementationUnderTest,
  isRunning,
  newLinkName,
  requireInterop,
  socketPath,
  WIREGUARD_GO,
  WireGuardProcess,
} from '../kit/programs.ts';
import { ping } from '../kit/traffic.ts';
import { type KeyPair, newKeyPair, newPresharedKey, Wg } from '../kit/wg.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const implementation = implementationUnderTest();
const options = {
  skip: requireInterop([implementation, WIREGUARD_GO], {
    programs: ['wg-quick', 'ping', 'nft', 'sysctl', 'bash'],
  }),
  timeout: TEST_TIMEOUT_MS,
};
const PORT = 51_820;

test(`wg-quick: addresses, routes, MTU and DNS: ${implementation.name}`, options, async () => {
  await using site = await Site.open();
  const { client, quick } = site;
  quick.configure({
    Interface: { MTU: '1380', DNS: '192.168.241.2, fd00::2, corp.example' },
    Peer: {
      Endpoint: `10.0.0.2:${PORT}`,
      AllowedIPs: '192.168.241.0/24, 10.77.0.0/16, fd00::/64, fd77::/64',
      PersistentKeepalive: '25',
    },
  });
  quick.run('up');

  assert.deepEqual(addressesOf(client, quick.link), ['192.168.241.1/24', 'fd00::1/64']);
  assert.equal(mtuOf(client, quick.link), 1380);
  assert.match(client.ip(`-4 route show dev ${quick.link}`), /^10\.77\.0\.0\/16 /m);
  assert.match(client.ip(`-6 route show dev ${quick.link}`), /^fd77::\/64 /m);
  assert.equal(
    quick.resolvconfCalls(),
    [
      `-a ${quick.link} -m 0 -x`,
      'nameserver 192.168.241.2',
      'nameserver fd00::2',
      'search corp.example',
      '',
    ].join('\n'),
  );
  for (const address of ['192.168.241.2', '10.77.0.1', 'fd00::2', 'fd77::1']) await ping(client, address);

  assert.notEqual(quick.try('up').status, 0, 'a second up is refused');
  await ping(client, '192.168.241.2');

  await site.downLeavesNothing();
  assert.match(quick.resolvconfCalls(), new RegExp(`^-d ${quick.link} -f$`, 'm'));
});

test(
  `wg-quick: the MTU is that of the way to the peer less 80: ${implementation.name}`,
  options,
  async () => {
    await using site = await Site.open();
    site.client.ip('link set veth mtu 1400');
    site.quick.configure({
      Interface: {},
      Peer: { Endpoint: `10.0.0.2:${PORT}`, AllowedIPs: '192.168.241.0/24' },
    });
    site.quick.run('up');
    assert.equal(mtuOf(site.client, site.quick.link), 1320);
    // The largest echo that fits, which is padded up to the MTU and must not be fragmented outside.
    await ping(site.client, '192.168.241.2', { args: ['-M', 'do', '-s', `${1320 - 28}`] });
    await site.downLeavesNothing();
  },
);

for (const family of [4, 6] as const) {
  test(
    `wg-quick: everything through the tunnel, IPv${family} outside: ${implementation.name}`,
    options,
    async () => {
      await using site = await Site.open();
      const { client, server, quick } = site;
      // The peer is behind the default route, so that only the firewall mark keeps its datagrams out of the tunnel.
      server.ip('address add 198.51.100.1/32 dev lo');
      server.ip('-6 address add 2001:db8:51::1/128 dev lo nodad');
      client.ip('route add default via 10.0.0.2');
      client.ip('-6 route add default via fd00:aa::2');
      quick.configure({
        Interface: {},
        Peer: {
          Endpoint: family === 4 ? `198.51.100.1:${PORT}` : `[2001:db8:51::1]:${PORT}`,
          AllowedIPs: '0.0.0.0/0, ::/0',
        },
      });
      const before = rulesOf(client);
      quick.run('up');

      const { fwmark } = new Wg(quick.link).state();
      assert.notEqual(fwmark, 0);
      assert.match(client.ip('-4 rule'), /not from all fwmark 0x[0-9a-f]+ lookup 51820/);
      assert.match(client.ip('-6 rule'), /not from all fwmark 0x[0-9a-f]+ lookup 51820/);
      assert.match(client.exec('nft', ['list', 'ruleset']), new RegExp(`wg-quick-${quick.link}`));

      const received = site.bytesFromClient();
      for (const address of ['203.0.113.1', '2001:db8:113::1'])
        await ping(client, address, { count: 100, flood: true });
      assert.ok(site.bytesFromClient() > received + 200 * 84, 'the echoes went through the tunnel');

      await site.downLeavesNothing();
      assert.equal(rulesOf(client), before);
    },
  );
}

test(`wg-quick: SaveConfig writes what wg shows: ${implementation.name}`, options, async () => {
  await using site = await Site.open();
  const { quick } = site;
  const presharedKey = newPresharedKey();
  quick.configure({
    Interface: { SaveConfig: 'true' },
    Peer: { Endpoint: `10.0.0.2:${PORT}`, AllowedIPs: '192.168.241.0/24' },
  });
  quick.run('up');
  const wg = new Wg(quick.link);
  const peer = wg.peer().publicKey;
  wg.set(`fwmark 77 peer ${peer} preshared-key ${presharedKey} allowed-ips 192.168.241.0/24,10.78.0.0/16`);
  await site.downLeavesNothing();
  const saved = readFileSync(quick.configPath, 'utf8');
  for (const line of [
    'Address = 192.168.241.1/24',
    'SaveConfig = true',
    'FwMark = 0x4d',
    `PrivateKey = ${site.keys.privateKey}`,
    `PublicKey = ${peer}`,
    `PresharedKey = ${presharedKey}`,
    'AllowedIPs = 192.168.241.0/24, 10.78.0.0/16',
    `Endpoint = 10.0.0.2:${PORT}`,
  ])
    assert.ok(saved.split('\n').includes(line), `${line} is missing in:\n${saved}`);
});

/** A client whose link is made by wg-quick, and a server with a few networks behind it. */
class Site {
  readonly client: Namespace;
  readonly server: Namespace;
  readonly quick: WgQuick;
  readonly keys: KeyPair;
  readonly #serverSide: WireGuardProcess;

  private constructor(client: Namespace, server: Namespace) {
    const serverKeys = newKeyPair();
    this.client = client;
    this.server = server;
    this.keys = newKeyPair();
    joinByVeth(
      { namespace: client, link: 'veth', addresses: ['10.0.0.1/24', 'fd00:aa::1/96'] },
      { namespace: server, link: 'veth', addresses: ['10.0.0.2/24', 'fd00:aa::2/96'] },
    );
    this.#serverSide = WireGuardProcess.start(WIREGUARD_GO, server);
    this.#serverSide.wg.setconf({
      privateKey: serverKeys.privateKey,
      listenPort: PORT,
      peers: [{ publicKey: this.keys.publicKey, allowedIps: ['192.168.241.1/32', 'fd00::1/128'] }],
    });
    server.ip(`link set ${this.#serverSide.link} up`);
    for (const address of ['192.168.241.2/24', 'fd00::2/64'])
      server.ip(`address add ${address} dev ${this.#serverSide.link} nodad`);
    for (const address of ['10.77.0.1/32', 'fd77::1/128', '203.0.113.1/32', '2001:db8:113::1/128'])
      server.ip(`address add ${address} dev lo nodad`);
    this.quick = new WgQuick(client, this.keys.privateKey, serverKeys.publicKey);
  }

  static async open(): Promise<Site> {
    const client = Namespace.create();
    const server = Namespace.create();
    try {
      const site = new Site(client, server);
      await site.#serverSide.listening(PORT);
      return site;
    } catch (error) {
      await Promise.all([client.close(), server.close()]);
      throw error;
    }
  }

  bytesFromClient(): number {
    return this.#serverSide.wg.peer().rxBytes;
  }

  /** `wg-quick down`, after which the client is as it was before `up`. */
  async downLeavesNothing(): Promise<void> {
    const { client, quick } = this;
    const pids = client.pids();
    assert.equal(pids.length, 1);
    quick.run('down');
    assert.notEqual(client.try('ip', ['link', 'show', quick.link]).status, 0, 'the link is gone');
    for (const pid of pids) await eventually('the process ends', () => !isRunning(pid));
    await eventually('the socket is removed', () => !existsSync(socketPath(quick.link)));
    assert.equal(client.exec('nft', ['list', 'ruleset']).trim(), '');
    assert.doesNotMatch(
      client.ip('-4 route show table all') + client.ip('-6 route show table all'),
      new RegExp(quick.link),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.client.close(), this.server.close()]);
  }
}

type Section = Readonly<Record<string, string>>;

class WgQuick {
  readonly link: string = newLinkName();
  readonly configPath: string;
  readonly #namespace: Namespace;
  readonly #privateKey: string;
  readonly #serverKey: string;
  readonly #folder: string;

  constructor(namespace: Namespace, privateKey: string, serverKey: string) {
    this.#namespace = namespace;
    this.#privateKey = privateKey;
    this.#serverKey = serverKey;
    const folder = mkdtempSync(join(tmpdir(), 'culvert-wg-quick-'));
    namespace.defer(() => {
      rmSync(folder, { recursive: true });
      rmSync(socketPath(this.link), { force: true });
    });
    this.#folder = folder;
    this.configPath = join(folder, `${this.link}.conf`);
    const [script, ip] = ['wg-quick', 'ip'].map((name) =>
      namespace.exec('bash', ['-c', `command -v ${name}`]).trim(),
    ) as [string, string];
    copyFileSync(script, join(folder, 'wg-quick'));
    this.#stub('ip', `[[ "$*" == "link add"*"type wireguard" ]] && exit 2\nexec ${ip} "$@"`);
    this.#stub('resolvconf', `{ echo "$*"; [[ $1 != -a ]] || cat; } >> ${folder}/resolvconf.log`);
  }

  configure(sections: { readonly Interface: Section; readonly Peer: Section }): void {
    const lines = (section: Section): string[] =>
      Object.entries(section).map(([key, value]) => `${key} = ${value}`);
    const text = [
      '[Interface]',
      `PrivateKey = ${this.#privateKey}`,
      'Address = 192.168.241.1/24, fd00::1/64',
      ...lines(sections.Interface),
      '[Peer]',
      `PublicKey = ${this.#serverKey}`,
      ...lines(sections.Peer),
      '',
    ].join('\n');
    writeFileSync(this.configPath, text, { mode: 0o600 });
  }

  run(command: 'up' | 'down'): void {
    const { status, stdout, stderr } = this.try(command);
    assert.equal(status, 0, `wg-quick ${command}: ${stderr}${stdout}`);
  }

  try(command: 'up' | 'down'): ReturnType<Namespace['try']> {
    // `ip netns exec` gives a mount namespace of its own, where a WireGuard module in use elsewhere can be hidden.
    const script = 'mount -t tmpfs tmpfs /sys/module && exec "$@"';
    const args = ['-c', script, 'bash', join(this.#folder, 'wg-quick'), command, this.configPath];
    return this.#namespace.try('bash', args, {
      // An empty LOG_LEVEL counts as none: the daemon lets go of the output, which would else keep `try` waiting.
      env: { WG_QUICK_USERSPACE_IMPLEMENTATION: implementation.path, LOG_LEVEL: '' },
    });
  }

  /** Arguments and input of each call of resolvconf. */
  resolvconfCalls(): string {
    return readFileSync(join(this.#folder, 'resolvconf.log'), 'utf8');
  }

  #stub(name: string, body: string): void {
    const path = join(this.#folder, name);
    writeFileSync(path, `#!/bin/bash\n${body}\n`);
    chmodSync(path, 0o755);
  }
}

function addressesOf(namespace: Namespace, link: string): string[] {
  interface Shown {
    readonly addr_info: readonly {
      readonly local: string;
      readonly prefixlen: number;
      readonly scope: string;
    }[];
  }
  const [shown] = JSON.parse(namespace.ip(`-j address show dev ${link}`)) as [Shown];
  return shown.addr_info
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

function mtuOf(namespace: Namespace, link: string): number {
  return (JSON.parse(namespace.ip(`-j link show dev ${link}`)) as [{ mtu: number }])[0].mtu;
}

function rulesOf(namespace: Namespace): string {
  return namespace.ip('-4 rule') + namespace.ip('-6 rule');
}
