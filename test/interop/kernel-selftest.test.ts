/**
 * What the kernel's own selftest (tools/testing/selftests/wireguard/netns.sh) asks beyond wireguard-go's copy of it,
 * as far as it can be asked of a TUN device. Exact counters are in counters.test.ts, policy routing in
 * wg-quick.test.ts; docs/COMPAT.md lists all steps.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import {
  implementationUnderTest,
  isRunning,
  knownFlaw,
  requireInterop,
  WireGuardProcess,
} from '../kit/programs.ts';
import { answers, iperf, ping } from '../kit/traffic.ts';
import { askUapi } from '../kit/uapi-client.ts';
import { newKeyPair, newPresharedKey } from '../kit/wg.ts';
import {
  aim,
  bringUp,
  exchangeTraffic,
  introduce,
  OUTER,
  pingPeer,
  type Side,
  startLinkedPair,
  startPair,
  startSide,
  TEST_TIMEOUT_MS,
} from './sides.ts';

const implementation = implementationUnderTest();

/** What the kernel's suite allows for a routing loop. */
const LOOP_BYTES = 70_000;
const options = {
  skip: requireInterop([implementation], { programs: ['ping', 'iperf3', 'iptables', 'nft', 'sysctl'] }),
  timeout: TEST_TIMEOUT_MS,
};

describe(`kernel selftest, traffic: ${implementation.name}`, options, () => {
  test('four TCP streams at once', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    aim(one, two, OUTER.two[4]);
    const [client, server] = [one.process.namespace, two.process.namespace];
    await iperf({ server, client, address: two.inner4, protocol: 'tcp', args: ['-P', '4'] });
  });

  test('padding never makes a packet larger than the MTU allows', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    aim(one, two, OUTER.two[4]);
    for (const { process } of [one, two]) process.linkNamespace.ip(`link set ${process.link} mtu 1300`);
    // IPv4, UDP, data header and tag are 60 bytes.
    for (const { process } of [one, two])
      process.namespace.exec('iptables', words('-A INPUT -p udp -m length --length 1361:65535 -j DROP'));
    for (let inner = 1284; inner <= 1300; inner++)
      await ping(one.process.linkNamespace, two.inner4, { args: ['-M', 'do', '-s', `${inner - 28}`] });
  });

  test('both private keys are changed and the next echo is answered', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    aim(one, two, OUTER.two[4]);
    aim(two, one, OUTER.one[4]);
    await pingPeer(one, two);
    const anew = [one, two].map((side): Side => ({ ...side, keys: newKeyPair() })) as [Side, Side];
    introduce(anew[0], anew[1]);
    introduce(anew[1], anew[0]);
    aim(anew[0], anew[1], OUTER.two[4]);
    await pingPeer(anew[0], anew[1]);
    await pingPeer(anew[1], anew[0], 6);
  });

  test('a tunnel through a tunnel', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    aim(one, two, OUTER.two[4]);
    await pingPeer(one, two);
    const inner1 = startSide(1, { implementation, namespace: one.process.namespace }, 242);
    const inner2 = startSide(2, { implementation, namespace: two.process.namespace }, 242);
    introduce(inner1, inner2);
    introduce(inner2, inner1);
    for (const side of [inner1, inner2]) {
      side.process.linkNamespace.ip(`link set ${side.process.link} mtu 1340`);
      await bringUp(side);
    }
    aim(inner1, inner2, two.inner4);
    aim(inner2, inner1, one.inner4);
    await exchangeTraffic({ one: inner1, two: inner2 }, 8 << 20);
  });

  test('an echo bound to the link passes, also when the firewall marks and so re-routes it', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    const { link, linkNamespace } = one.process;
    aim(one, two, OUTER.two[4]);
    await ping(linkNamespace, two.inner4, { args: ['-I', link] });
    linkNamespace.exec('iptables', words('-t mangle -I OUTPUT -p icmp -j MARK --set-xmark 1'));
    await ping(linkNamespace, two.inner4, { args: ['-I', link] });
    await pingPeer(one, two);
  });

  test('an endpoint inside the tunnel, of the same or another peer, harms nothing', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    const { link, linkNamespace, wg } = one.process;
    aim(one, two, OUTER.two[4]);
    await pingPeer(one, two);
    const third = newKeyPair().publicKey;
    linkNamespace.ip(`route add 192.168.242.0/24 dev ${link}`);
    wg.set(`peer ${third} allowed-ips 192.168.242.2/32 endpoint ${two.inner4}:5`);
    assert.equal(await answers(linkNamespace, '192.168.242.2'), false);
    const sent = wg.peer(third).txBytes;
    wg.set(`peer ${third} endpoint 192.168.242.2:5`);
    assert.equal(await answers(linkNamespace, '192.168.242.2'), false);
    // No session, so nothing but an attempt or two at a handshake may have left.
    assert.ok(wg.peer(third).txBytes - sent <= 2 * 148);
    await pingPeer(one, two);
  });
});

describe(`kernel selftest, loops: ${implementation.name}`, options, () => {
  const flaw = knownFlaw(implementation, { 'wireguard-go': 'feeds itself without end' });

  test(
    'an endpoint that is reached through its own tunnel does not feed itself',
    { todo: flaw },
    async () => {
      await using pair = await startLinkedPair(implementation, implementation);
      const { one, two } = pair;
      aim(one, two, OUTER.two[4]);
      await pingPeer(one, two);
      for (const address of [two.inner4, `[${two.inner6}]`]) {
        const before = one.process.wg.peer().txBytes;
        aim(one, two, address);
        await ping(one.process.linkNamespace, two.inner4, { count: 10, flood: true, waitSeconds: 1 }).catch(
          () => {},
        );
        const sent = one.process.wg.peer().txBytes - before;
        assert.ok(sent < LOOP_BYTES, `${sent} bytes were sent`);
        aim(one, two, OUTER.two[4]);
        await pingPeer(one, two);
      }
    },
  );
});

describe(`kernel selftest, refusals: ${implementation.name}`, options, () => {
  const flaw = knownFlaw(implementation, { 'wireguard-go': 'drops in silence' });

  test('who sends where no peer is gets a host-unreachable message', { todo: flaw }, async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    const { linkNamespace, wg } = one.process;
    aim(one, two, OUTER.two[4]);
    await pingPeer(one, two);
    wg.set(`peer ${two.keys.publicKey} remove`);
    for (const address of [two.inner4, two.inner6]) {
      const { stdout } = linkNamespace.try('ping', ['-n', '-c', '1', '-W', '1', address]);
      assert.match(stdout, /Destination (Host Unreachable|unreachable: Address unreachable)/);
    }
  });
});

describe(`kernel selftest, addresses: ${implementation.name}`, options, () => {
  test('an answer leaves from an address of another interface when that was spoken to', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    one.process.namespace.ip('address add 10.50.0.1/32 dev lo');
    two.process.namespace.ip('route add 10.50.0.0/24 via 10.0.0.1');
    aim(two, one, '10.50.0.1');
    await pingPeer(two, one);
    assert.equal(two.process.wg.peer().endpoint, `10.50.0.1:${one.port}`);
  });

  test('an endpoint with a link-local address and its zone is reached', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    const shown = two.process.namespace.ip('-6 address show dev veth scope link');
    const [, linkLocal] = /inet6 (fe80\S+)\/64/.exec(shown) ?? [];
    const key = Buffer.from(two.keys.publicKey, 'base64').toString('hex');
    const endpoint = `endpoint=[${linkLocal}%veth]:${two.port}`;
    assert.equal(
      await askUapi(one.process.socketPath, `set=1\npublic_key=${key}\n${endpoint}`),
      'errno=0\n\n',
    );
    await pingPeer(one, two);
    await pingPeer(two, one, 6);
  });

  test('the source address follows when a better route appears on another interface', async () => {
    await using left = Namespace.create();
    await using right = Namespace.create();
    const { one, two } = await startPair(
      { implementation, namespace: left },
      { implementation, namespace: right },
    );
    joinByVeth(
      { namespace: left, link: 'veth1', addresses: ['10.0.0.1/24'] },
      { namespace: right, link: 'veth2', addresses: ['10.0.0.2/24'] },
    );
    joinByVeth(
      { namespace: left, link: 'veth3', addresses: ['10.0.0.3/24'] },
      { namespace: right, link: 'veth4', addresses: ['10.0.0.4/24'] },
    );
    for (const setting of ['veth2', 'veth4', 'all', 'default'])
      right.exec('sysctl', ['-q', '-w', `net.ipv4.conf.${setting}.rp_filter=0`]);
    for (const link of ['veth1', 'veth3']) left.ip(`route flush dev ${link}`);
    left.ip('route add 10.0.0.0/24 dev veth1 src 10.0.0.1 metric 2');
    aim(one, two, '10.0.0.2');
    await pingPeer(one, two);
    assert.equal(two.process.wg.peer().endpoint, `10.0.0.1:${one.port}`);
    left.ip('route add 10.0.0.0/24 dev veth3 src 10.0.0.3 metric 1');
    await eventually('the source is that of the better route', async () => {
      await pingPeer(one, two);
      return two.process.wg.peer().endpoint === `10.0.0.3:${one.port}`;
    });
  });

  test('deleting the namespace of a link under traffic ends the process; its peer goes on', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    const away = Namespace.create();
    one.process.moveLinkTo(away);
    away.ip(`address add ${one.inner4}/24 dev ${one.process.link}`);
    away.ip(`link set ${one.process.link} up`);
    await one.process.listening(one.port);
    aim(two, one, OUTER.one[4]);
    await pingPeer(two, one);
    const flood = two.process.namespace.spawn('ping', ['-f', '-q', one.inner4], { stdio: 'ignore' });
    const pid = one.process.pid();
    await away.close();
    await eventually('the process ends', () => !isRunning(pid));
    flood.kill();
    assert.equal(two.process.wg.state().peers.length, 1);
  });

  test('links exchanged between two namespaces: when one process ends, everything unwinds', async () => {
    const homes = [Namespace.create(), Namespace.create()] as const;
    try {
      const daemons = homes.map((home) => WireGuardProcess.start(implementation, home));
      const pids = daemons.map((daemon) => daemon.pid());
      const [first, second] = daemons as [WireGuardProcess, WireGuardProcess];
      first.moveLinkTo(homes[1]);
      second.moveLinkTo(homes[0]);
      for (const daemon of daemons) daemon.linkNamespace.ip(`link set ${daemon.link} up`);
      // A process keeps its namespace, and in it the link of the other one.
      for (const home of homes) spawnSync('ip', ['netns', 'del', home.name]);
      process.kill(pids[0] as number);
      await eventually('both processes end', () => pids.every((pid) => !isRunning(pid)));
      for (const daemon of daemons)
        await eventually('its socket is removed', () => !existsSync(daemon.socketPath));
    } finally {
      for (const home of homes) await home.close();
    }
  });

  test('deleting the namespace that the link was moved to ends the process', async () => {
    await using home = Namespace.create();
    const away = Namespace.create();
    const daemon = WireGuardProcess.start(implementation, home);
    const pid = daemon.pid();
    daemon.moveLinkTo(away);
    away.ip(`link set ${daemon.link} up`);
    await away.close();
    await eventually('the process ends', () => !isRunning(pid));
  });
});

/** Points of small order: an exchange with any of them gives zero. In the order of the kernel's list. */
const LOW_ORDER_POINTS = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
].map((hex) => Buffer.from(hex, 'hex').toString('base64'));

describe(`kernel selftest, keys and allowed IPs: ${implementation.name}`, options, () => {
  test('197 IPv6 prefixes of the second of two peers', async () => {
    await using fresh = freshDaemon();
    const { wg } = fresh.daemon;
    const [first, second] = [newKeyPair().publicKey, newKeyPair().publicKey];
    const allowedIps = Array.from({ length: 197 }, (_, i) => `abcd:0:0:${(i + 1).toString(16)}::/64`);
    wg.setconf({ peers: [{ publicKey: first }, { publicKey: second, allowedIps }] });
    assert.deepEqual(new Set(wg.peer(second).allowedIps), new Set(allowedIps));
    assert.deepEqual(wg.peer(first).allowedIps, []);
  });

  test('a peer with the own public key is ignored, whichever of the two comes first', async () => {
    await using fresh = freshDaemon();
    const { wg } = fresh.daemon;
    const { privateKey, publicKey } = newKeyPair();
    wg.set(`private-key ${privateKey}`);
    wg.set(`peer ${publicKey} allowed-ips 10.0.0.0/8`);
    assert.deepEqual(wg.state().peers, []);
    wg.set('private-key /dev/null');
    wg.set(`peer ${publicKey} allowed-ips 10.0.0.0/8`);
    assert.equal(wg.state().peers.length, 1);
    wg.set(`private-key ${privateKey}`);
    assert.deepEqual(wg.state().peers, []);
  });

  test('keys that are unset are shown as none', async () => {
    await using fresh = freshDaemon();
    const { wg } = fresh.daemon;
    const { privateKey, publicKey } = newKeyPair();
    wg.set(
      `private-key ${privateKey} peer ${publicKey.replace(/^./, 'z')} preshared-key ${newPresharedKey()}`,
    );
    assert.notEqual(wg.show('private-key').trim(), '(none)');
    wg.set(`private-key /dev/null peer ${publicKey.replace(/^./, 'z')} preshared-key /dev/null`);
    assert.equal(wg.show('private-key').trim(), '(none)');
    assert.equal(wg.show('public-key').trim(), '(none)');
    assert.match(wg.show('preshared-keys'), /\(none\)\s*$/);
  });

  test('a private key is clamped', async () => {
    await using fresh = freshDaemon();
    const { wg } = fresh.daemon;
    const { privateKey } = newKeyPair();
    wg.set(`private-key /${privateKey.slice(1)}`);
    assert.equal(wg.state().privateKey, `+${privateKey.slice(1)}`);
  });

  test('default and nested prefixes replace each other again and again', async () => {
    await using fresh = freshDaemon();
    const { wg } = fresh.daemon;
    const { publicKey } = newKeyPair();
    const sets = [
      ['0.0.0.0/0'],
      ['::/0'],
      ['0.0.0.0/0', '::/0'],
      ['10.0.0.0/8', '100.0.0.0/10', '172.16.0.0/12', '192.168.0.0/16'],
      ['0.0.0.0/0', '0.0.0.0/1', '128.0.0.0/1', '10.0.0.0/8', '10.0.0.0/32'],
      ['::/0', '::/1', '8000::/1', 'fd00::/8', 'fd00::1/128', '10.0.0.0/8'],
      [],
    ];
    for (const allowedIps of [...sets, ...sets.toReversed(), ...sets]) {
      wg.set(`peer ${publicKey} allowed-ips ${allowedIps.join(',')}`);
      assert.deepEqual(new Set(wg.peer().allowedIps), new Set(allowedIps));
    }
  });

  test('no datagram ever leaves for a peer whose public key is a point of small order', async () => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    const { namespace, wg } = one.process;
    nft(namespace, 'add table inet watch');
    nft(namespace, 'add chain inet watch output { type filter hook output priority 0; }');
    nft(namespace, 'add rule inet watch output udp dport 9 counter');
    for (const [i, key] of LOW_ORDER_POINTS.entries())
      wg.set(`peer ${key} persistent-keepalive 1 endpoint 10.0.0.2:9 allowed-ips 10.99.${i}.0/24`);
    assert.equal(wg.state().peers.length, 1 + LOW_ORDER_POINTS.length);
    // A sound peer set the same way shows that the time for several keepalives has passed.
    wg.set(`peer ${two.keys.publicKey} persistent-keepalive 1 endpoint 10.0.0.2:${two.port}`);
    await eventually(
      'the sound peer gets three keepalives',
      () => two.process.wg.peer().rxBytes >= 148 + 3 * 32,
    );
    const [, packets] = /counter packets (\d+)/.exec(namespace.exec('nft', ['list', 'ruleset'])) ?? [];
    assert.equal(packets, '0');
  });
});

function freshDaemon(): { readonly daemon: WireGuardProcess; [Symbol.asyncDispose](): Promise<void> } {
  const namespace = Namespace.create();
  const daemon = WireGuardProcess.start(implementation, namespace);
  return { daemon, [Symbol.asyncDispose]: () => namespace.close() };
}

function nft(namespace: Namespace, command: string): void {
  namespace.exec('nft', [command]);
}

function words(text: string): string[] {
  return text.split(' ');
}
