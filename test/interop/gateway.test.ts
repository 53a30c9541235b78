/** `culvert serve` with machines that join it, each in a network namespace of its own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Namespace, requireRoot } from '../kit/netns.ts';
import {
  createSite,
  CULVERT,
  GATEWAY_ADDRESS,
  GatewayProgram,
  JoinProgram,
  type Site,
  uuid,
} from '../kit/gateway-program.ts';
import { eventually } from '../kit/eventually.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const SERVER = 'fdae:41e4:649b:9303::1';
const skip = requireRoot({ tun: true, programs: ['ping', 'wg', 'curl'] });

function pings(namespace: Namespace, to: string, seconds = 5): boolean {
  return namespace.try('ping', ['-c', '3', '-i', '0.2', '-w', String(seconds), to]).status === 0;
}

describe('culvert serve with two machines', { skip, timeout: TEST_TIMEOUT_MS }, () => {
  let site: Site;
  let gateway: GatewayProgram;
  let overUdp: JoinProgram;
  let overGrpc: JoinProgram;

  before(async () => {
    site = createSite(2);
    gateway = new GatewayProgram(site.gateway);
    await gateway.start();
    const { joinUrl } = await gateway.join();
    const [a, b] = site.machines as [Namespace, Namespace];
    overUdp = new JoinProgram(a, { url: joinUrl, uuid: uuid(1), transport: 'udp', args: ['--events'] });
    overGrpc = new JoinProgram(b, { url: joinUrl, uuid: uuid(2), transport: 'grpc' });
  });
  after(() => site?.close());

  test('both are listed with their transport, and reached from the gateway and from their side', async () => {
    const first = await gateway.connected(uuid(1), 'udp');
    const second = await gateway.connected(uuid(2), 'grpc');
    assert.match(first.endpoint ?? '', /^10\.88\.1\.2:\d+$/);
    for (const { address } of [first, second]) assert.ok(pings(site.gateway, address), address);
    for (const { namespace } of [overUdp, overGrpc]) assert.ok(pings(namespace, SERVER));
    assert.ok(gateway.metric('culvert_machines{state="connected",transport="grpc"}') === 1);
    assert.equal(gateway.metric('culvert_machines{state="connected",transport="udp"}'), 1);
    assert.equal(gateway.metric('culvert_provisions_total{code="OK"}'), 2);
  });

  test('a machine reaches neither another machine nor anything of the gateway but its overlay address', async () => {
    const { address } = await gateway.connected(uuid(2));
    const { namespace, interfaceName } = overUdp;
    site.gateway.ip('address add fd99::1/128 dev lo');
    // A machine that does not keep to its own rules.
    const peer = namespace.exec('wg', ['show', interfaceName, 'peers']).trim();
    namespace.exec('wg', ['set', interfaceName, 'peer', peer, 'allowed-ips', '::/0']);
    namespace.ip(`-6 route add fd99::1/128 dev ${interfaceName}`);
    // Even where the host forwards everything.
    site.gateway.exec('sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
    const dropped =
      'culvert_dropped_packets_total{device="siderolink",direction="in",reason="destination_not_allowed"}';
    const before = gateway.metric(dropped);
    const packetsOf = (link: string) =>
      Number(overGrpc.namespace.exec('cat', [`/sys/class/net/${link}/statistics/rx_packets`]));
    const seen = packetsOf(overGrpc.interfaceName);
    assert.ok(!pings(namespace, address, 2), 'another machine');
    assert.ok(!pings(namespace, 'fd99::1', 2), 'another address of the gateway');
    assert.ok(pings(namespace, SERVER), 'its overlay address');
    assert.ok(gateway.metric(dropped) >= before + 6, 'all of them are counted');
    assert.equal(packetsOf(overGrpc.interfaceName), seen, 'nothing of it arrived');
  });

  test('kernel logs and events are kept under the name of the machine', async () => {
    const send = `require('net').connect(8092, '${SERVER}').end('{"msg":"hello from the kernel","talos-level":"warn"}\\n')`;
    overGrpc.namespace.exec(process.execPath, ['-e', send]);
    const culvert = (...args: readonly string[]) =>
      site.gateway.exec(CULVERT, ['machines', ...args, '--state', gateway.directory]);
    await eventually('the line arrives', () =>
      culvert('logs', uuid(2)).includes('warn: hello from the kernel'),
    );
    assert.ok(!culvert('logs', uuid(1)).includes('hello from the kernel'));
    await eventually('an event arrives', () => /machine\.\w+Event/.test(culvert('events', uuid(1))));
  });

  test('followers see lines as they come', async () => {
    const follower = site.gateway.spawn(
      CULVERT,
      ['machines', 'logs', uuid(2), '--follow', '-n', '0', '--json', '--state', gateway.directory],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let text = '';
    follower.stdout?.setEncoding('utf8').on('data', (piece: string) => (text += piece));
    const send = `require('net').connect(8092, '${SERVER}').end('line ' + Date.now() + '\\n')`;
    await eventually(
      'a line is followed',
      () => {
        overGrpc.namespace.exec(process.execPath, ['-e', send]);
        return text.includes('"line":"line ');
      },
      30_000,
    );
    follower.kill('SIGTERM');
    await once(follower, 'close');
  });

  test('the services are on the overlay address only', async () => {
    const [machine] = site.machines as [Namespace];
    for (const port of [8090, 8092, 9586]) {
      const outcome = machine.try(process.execPath, [
        '-e',
        `require('net').connect(${port}, '${GATEWAY_ADDRESS}').on('connect', () => process.exit(0)).on('error', () => process.exit(1))`,
      ]);
      assert.equal(outcome.status, 1, `port ${port}`);
    }
  });

  test('rm takes the machine away at once; deny keeps it away', async () => {
    const { address } = await gateway.connected(uuid(1));
    await gateway.admin.call('machines.deny', { machine: uuid(1) });
    assert.ok(!pings(site.gateway, address, 1));
    const list = await gateway.admin.call('machines.list', {});
    assert.deepEqual(list.denied, [uuid(1)]);
    assert.ok(!list.machines.some(({ id }) => id === uuid(1)));
  });

  test('SIGTERM ends it with 0 and leaves nothing behind', async () => {
    assert.equal(await gateway.end('SIGTERM'), 0, gateway.output);
    assert.ok(!site.gateway.ip('link show').includes('siderolink'));
    const socket = createConnection(`${gateway.directory}/admin.sock`);
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ENOENT');
    const offline = site.gateway.try(CULVERT, ['machines', 'ls', '--state', gateway.directory]);
    assert.match(offline.stdout, new RegExp(`^${uuid(2)} +unknown `, 'm'));
    assert.match(offline.stderr, /the gateway does not run; this is what it stored/);
  });
});
