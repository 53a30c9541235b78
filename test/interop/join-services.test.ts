/** What a joined machine offers and sends: published services, an open firewall, kernel log, events, hooks, status. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { CULVERT, GatewaySite, SERVER_ADDRESS } from '../kit/gateway-site.ts';
import { type Namespace, requireRoot } from '../kit/netns.ts';
import { answers, ping } from '../kit/traffic.ts';

const skip = requireRoot({ programs: [CULVERT, 'ss', 'ping', 'nft', 'ncat'], tun: true });
const options = { skip, timeout: 180_000 };

/** What a TCP service says; undefined when it refuses. */
function ask(from: Namespace, address: string, port: number): string | undefined {
  const { status, stdout } = from.try('ncat', ['--recv-only', '-w', '3', address, String(port)]);
  return status === 0 ? stdout : undefined;
}

test(
  '--expose: the overlay address answers, every other one refuses, nobody else is let in',
  options,
  async () => {
    const { site, machine } = await GatewaySite.open();
    await using _ = site;
    machine.namespace.spawn('ncat', ['-lk', '127.0.0.1', '2200', '-c', 'echo hello'], { stdio: 'ignore' });
    machine.join(machine.url(), ['--expose', '2222=127.0.0.1:2200', '--expose', '127.0.0.1:2201']);
    const { address } = await machine.connected('udp');
    assert.ok(address);
    assert.equal(await eventually('the service answers', () => ask(site.gateway, address, 2222)), 'hello\n');
    assert.equal(ask(site.gateway, '10.9.1.2', 2222), undefined);
    assert.equal(ask(machine.namespace, '127.0.0.1', 2222), undefined);
    // A neighbour that sends to the overlay address by way of the wire is no gateway.
    machine.namespace.ip('address add fd00:77::2/64 dev veth nodad');
    site.gateway.ip('address add fd00:77::1/64 dev veth1 nodad');
    site.gateway.ip(`-6 route add ${address}/128 via fd00:77::2 dev veth1 src fd00:77::1 metric 1`);
    assert.equal(ask(site.gateway, address, 2222) ?? '', '');
    const exposed = machine.status()?.exposed;
    assert.deepEqual(
      exposed?.map(({ port, targetPort }) => [port, targetPort]),
      [
        [2222, 2200],
        [2201, 2201],
      ],
    );
    assert.ok((exposed?.[0]?.refused ?? 0) >= 1);
  },
);

test('--open-firewall: what comes over the interface is let in, until it goes', options, async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  machine.namespace.exec('nft', ['-f', '-'], {
    input: `table inet filter {
      chain input {
        type filter hook input priority 0; policy drop;
        iifname "lo" accept
        ct state established,related accept
      }
    }`,
  });
  const before = machine.namespace.exec('nft', ['list', 'ruleset']);
  const closed = machine.join(machine.url());
  const { address } = await machine.connected('udp');
  assert.ok(address);
  assert.ok(!(await answers(site.gateway, address)));
  closed.kill('SIGTERM');
  await once(closed, 'exit');
  const open = machine.join(machine.url(), ['--open-firewall']);
  await machine.connected('udp');
  await ping(site.gateway, address);
  assert.match(machine.namespace.exec('nft', ['list', 'ruleset']), /siderolinktun/);
  open.kill('SIGTERM');
  await once(open, 'exit');
  assert.equal(machine.namespace.exec('nft', ['list', 'ruleset']), before);
});

test('--kmsg and --events: the gateway keeps what the machine reports', options, async (t) => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  const child = machine.join(machine.url(), ['--kmsg', '--events']);
  const { uuid, address } = await machine.connected('udp');
  const mark = `culvert test ${process.pid} ${performance.now()}`;
  writeFileSync('/dev/kmsg', `<4>${mark}\n`);
  const line = await eventually(
    'the line arrives',
    () =>
      site
        .machines('logs', uuid, '--json')
        .split('\n')
        .find((text) => text.includes(mark)),
    30_000,
  );
  t.diagnostic(line);
  const events = await eventually(
    'the events arrive',
    () => {
      const text = site.machines('events', uuid, '--json');
      return text.includes('MachineStatusEvent') && text.includes('AddressEvent') ? text : undefined;
    },
    30_000,
  );
  t.diagnostic(events.slice(0, 400));
  assert.ok(address);
  const count = (text: string) => text.split('MachineStatusEvent').length;
  const earlier = count(events);
  child.kill('SIGTERM');
  await once(child, 'exit');
  await eventually('the good-bye is there', () => count(site.machines('events', uuid, '--json')) > earlier);
});

test('hooks run when the link comes and goes, with its addresses in their environment', options, async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  const file = join(site.directory, 'hooks');
  const hook = `echo "$CULVERT_EVENT $CULVERT_INTERFACE $CULVERT_ADDRESS $CULVERT_TRANSPORT" >> ${file}`;
  const child = machine.join(machine.url(), ['--transport', 'grpc', '--on-up', hook, '--on-down', hook]);
  const { address } = await machine.connected('grpc');
  const text = () => (existsSync(file) ? readFileSync(file, 'utf8') : '');
  const line = `${machine.link} ${address} grpc\n`;
  await eventually('the first hook has run', () => text() === `up ${line}`);
  child.kill('SIGTERM');
  await once(child, 'exit');
  assert.equal(text(), `up ${line}down ${line}`);
});

test('--detach returns when the machine is connected; its UUID and address outlive it', options, async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  const run = (...flags: readonly string[]) =>
    machine.namespace.exec(CULVERT, machine.arguments(machine.url(), ['--detach', ...flags]), {
      timeoutMs: 60_000,
    });
  run();
  const first = machine.status();
  assert.ok(first?.isConnected);
  await ping(machine.namespace, SERVER_ADDRESS);
  process.kill(first.pid, 'SIGTERM');
  await eventually('it has ended', () => machine.status() === undefined);
  run('--key-file', join(machine.state, 'key'));
  const second = machine.status();
  assert.ok(second?.isConnected);
  assert.deepEqual([second.uuid, second.address], [first.uuid, first.address]);
  assert.notEqual(second.publicKey, first.publicKey);
});

test(
  'a second machine under the same interface name is refused and leaves the first alone',
  options,
  async () => {
    const { site, machine } = await GatewaySite.open();
    await using _ = site;
    machine.join(machine.url());
    await machine.connected('udp');
    const { status, stderr } = machine.namespace.try(CULVERT, machine.arguments(machine.url()));
    assert.equal(status, 1);
    assert.match(stderr, /^culvert: .*\n/);
    await ping(machine.namespace, SERVER_ADDRESS);
  },
);

test('a gateway that refuses is named in the status, and asked again', options, async () => {
  const { site, machine } = await GatewaySite.open();
  await using _ = site;
  const url = machine.url().replace(/jointoken=.*/, 'jointoken=wrong');
  machine.join(url);
  const status = await machine.until('it says why', ({ problem }) => problem !== null);
  assert.match(status.problem ?? '', /^PERMISSION_DENIED: unauthorized$/);
  assert.ok(!status.isConnected);
  const { status: code, stdout } = machine.namespace.try(CULVERT, ['status', machine.link]);
  assert.equal(code, 1);
  assert.match(stdout, /not connected \(provisioning\)[\s\S]*problem +PERMISSION_DENIED/);
});
