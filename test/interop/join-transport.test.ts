/** `culvert join` against `culvert serve`: over UDP, through the tunnel, and from one to the other and back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { CULVERT, GatewaySite, type MachineSite, SERVER_ADDRESS } from '../kit/gateway-site.ts';
import { requireRoot } from '../kit/netns.ts';
import { iperf, ping } from '../kit/traffic.ts';

const skip = requireRoot({ programs: [CULVERT, 'ss', 'ping', 'iperf3', 'nft'], tun: true });
const options = { skip, timeout: 300_000 };

/** The index of the interface: another one means that it was made anew. */
function interfaceIndex({ namespace, link }: MachineSite): string {
  return namespace.ip(`-o link show dev ${link}`).split(':')[0] as string;
}

for (const [transport, over] of [
  ['auto', 'udp'],
  ['udp', 'udp'],
  ['grpc', 'grpc'],
] as const) {
  test(
    `--transport ${transport}: the machine joins over ${over} and reaches the gateway`,
    options,
    async () => {
      const { site, machine } = await GatewaySite.open();
      await using _ = site;
      const child = machine.join(machine.url(), ['--transport', transport]);
      const status = await machine.connected(over);
      assert.match(status.address ?? '', /^fdae:41e4:649b:9303:/);
      await ping(machine.namespace, SERVER_ADDRESS, { count: 3 });
      await iperf({
        server: site.gateway,
        client: machine.namespace,
        address: SERVER_ADDRESS,
        protocol: 'tcp',
        bytes: 4 << 20,
      });
      await iperf({
        server: machine.namespace,
        client: site.gateway,
        address: status.address as string,
        protocol: 'tcp',
        bytes: 4 << 20,
      });
      const link = machine.namespace.ip(`-o link show dev ${machine.link}`);
      assert.match(link, /mtu 1280 /);
      child.kill('SIGTERM');
      await eventually(
        'the interface is gone',
        () => machine.namespace.try('ip', ['link', 'show', machine.link]).status !== 0,
      );
      assert.equal(machine.status(), undefined);
    },
  );
}

test('grpc_tunnel in the URL asks for the tunnel', options, async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  machine.join(machine.url('&grpc_tunnel=true'));
  await machine.connected('grpc');
});

test('a gateway that forces the tunnel gets it, whatever was asked for', options, async () => {
  const { site, machine } = await GatewaySite.open('--tunnel', 'forced');
  await using _ = site;
  machine.join(machine.url(), ['--transport', 'udp']);
  await machine.connected('grpc');
});

test(
  'UDP blocked in mid-flow: into the tunnel and back, with one TCP session over one interface',
  options,
  async () => {
    const { site, machine } = await GatewaySite.open();
    await using _ = site;
    machine.join(machine.url());
    await machine.connected('udp');
    const index = interfaceIndex(machine);
    site.spawn('iperf3', ['-s', '-B', SERVER_ADDRESS]);
    await eventually('iperf3 listens', () => site.gateway.exec('ss', ['-tlnH']).includes(':5201 '));
    // Slow enough to last through everything: it ends when the test has seen enough.
    const session = machine.namespace.spawn(
      'iperf3',
      ['-c', SERVER_ADDRESS, '-t', '600', '-b', '2M', '--connect-timeout', '5000'],
      { stdio: 'ignore' },
    );
    let isOver = false;
    session.once('exit', () => (isOver = true));
    await eventually('the session is under way', () => (machine.status()?.sentBytes ?? 0) > 500_000, 30_000);

    site.blockUdp();
    await machine.connected('grpc', 60_000);
    const inTunnel = machine.status()?.sentBytes ?? 0;
    await eventually(
      'the session goes on in the tunnel',
      () => (machine.status()?.sentBytes ?? 0) > inTunnel + 500_000,
      60_000,
    );
    assert.ok(!isOver);

    site.openUdp();
    // The first look back comes after two minutes, as UDP had not lasted long.
    await machine.connected('udp', 240_000);
    const back = machine.status()?.sentBytes ?? 0;
    await eventually(
      'the session goes on over UDP',
      () => (machine.status()?.sentBytes ?? 0) > back + 500_000,
      60_000,
    );
    assert.ok(!isOver);
    assert.equal(interfaceIndex(machine), index);
  },
);

for (const transport of ['udp', 'grpc'] as const) {
  test(`a gateway that is killed and starts again is found again over ${transport}`, options, async () => {
    const { site, machine } = await GatewaySite.open();
    await using _ = site;
    machine.join(machine.url(), ['--transport', transport]);
    await machine.connected(transport);
    const { address } = machine.status() ?? {};
    await ping(machine.namespace, SERVER_ADDRESS);
    await site.restart();
    // Somebody has to want something for the loss to be noticed at once.
    await eventually(
      'the gateway answers again',
      () => ping(machine.namespace, SERVER_ADDRESS, { waitSeconds: 1 }).then(() => true),
      60_000,
    );
    const status = await machine.connected(transport);
    assert.equal(status.address, address);
  });
}

test(
  'a wire that is cut and comes back, with another address: the machine is back within seconds',
  options,
  async () => {
    const { site, machine } = await GatewaySite.open();
    await using _ = site;
    machine.join(machine.url(), ['--transport', 'grpc']);
    await machine.connected('grpc');
    machine.namespace.ip('link set veth down');
    await machine.until('the loss is noticed', ({ streams }) => streams?.open === 0, 15_000);
    machine.namespace.ip('address flush dev veth');
    machine.namespace.ip('address add 10.9.1.77/24 dev veth');
    machine.namespace.ip('link set veth up');
    machine.namespace.ip('route add default via 10.9.1.1');
    await eventually(
      'an echo comes back',
      () => ping(machine.namespace, SERVER_ADDRESS, { waitSeconds: 1 }).then(() => true),
      20_000,
    );
    // Without a word from the old address: the stream is found out by asking, not by waiting.
    machine.namespace.ip('address del 10.9.1.77/24 dev veth');
    machine.namespace.ip('address add 10.9.1.78/24 dev veth');
    machine.namespace.ip('route add default via 10.9.1.1');
    await eventually(
      'an echo comes back',
      () => ping(machine.namespace, SERVER_ADDRESS, { waitSeconds: 1 }).then(() => true),
      15_000,
    );
  },
);

test('a host that has switched IPv6 off joins all the same', options, async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  machine.namespace.exec('sysctl', [
    '-qw',
    'net.ipv6.conf.all.disable_ipv6=1',
    'net.ipv6.conf.default.disable_ipv6=1',
  ]);
  machine.join(machine.url());
  await machine.connected('udp');
  await ping(machine.namespace, SERVER_ADDRESS);
});

test('ping stays bounded while the tunnel is full', options, async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  machine.join(machine.url(), ['--transport', 'grpc']);
  await machine.connected('grpc');
  // 20 Mbit/s both ways, with the short buffer of a router.
  for (const [namespace, link] of [
    [site.gateway, 'veth1'],
    [machine.namespace, 'veth'],
  ] as const) {
    namespace.exec('tc', `qdisc add dev ${link} root tbf rate 20mbit burst 32kb latency 50ms`.split(' '));
  }
  const load = iperf({
    server: site.gateway,
    client: machine.namespace,
    address: SERVER_ADDRESS,
    protocol: 'tcp',
    bytes: 24 << 20,
  });
  const output = await machine.namespace.run('ping', [
    '-n',
    '-i',
    '0.2',
    '-c',
    '30',
    '-W',
    '5',
    SERVER_ADDRESS,
  ]);
  await load;
  const received = Number(/(\d+) received/.exec(output)?.[1]);
  const [, average] = /= [\d.]+\/([\d.]+)\//.exec(output) ?? [];
  assert.ok(received >= 20, output);
  // The queue of one stream at this rate is about 50 ms, that of the socket and the router as much again.
  assert.ok(Number(average) < 1_000, output);
});
