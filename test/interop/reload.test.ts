/** `culvert reload` and SIGHUP with real programs: a gateway with machines, a machine, an interface of a wg-quick file. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { reloadPath } from '../../src/app/reload-socket.ts';
import { PrivateKey } from '../../src/noise/keys.ts';
import { eventually } from '../kit/eventually.ts';
import { createSite, CULVERT, GatewayProgram, JoinProgram, type Site, uuid } from '../kit/gateway-program.ts';
import { Namespace, requireRoot } from '../kit/netns.ts';
import { newLinkName } from '../kit/programs.ts';
import { seededRandom } from '../kit/random.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const skip = requireRoot({ tun: true, programs: ['ping', 'wg', 'curl'] });

function pings(namespace: Namespace, to: string): boolean {
  return namespace.try('ping', ['-c', '3', '-i', '0.2', '-w', '5', to]).status === 0;
}

describe('culvert reload', { skip, timeout: TEST_TIMEOUT_MS }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-reload-'));
  const gatewayFile = join(directory, 'gateway.yaml');
  const machineFile = join(directory, 'machine.yaml');
  let site: Site;
  let gateway: GatewayProgram;
  let overUdp: JoinProgram;
  let overGrpc: JoinProgram;

  const configure = (...lines: readonly string[]) =>
    writeFileSync(gatewayFile, ['apiVersion: v1alpha1', 'kind: CulvertServeConfig', ...lines, ''].join('\n'));
  const configureMachine = (...lines: readonly string[]) =>
    writeFileSync(machineFile, ['apiVersion: v1alpha1', 'kind: CulvertJoinConfig', ...lines, ''].join('\n'));
  const reload = (...args: readonly string[]) => site.gateway.try(CULVERT, ['reload', ...args]);
  const reloadGateway = () => reload('--state', gateway.directory);
  /** What is another as soon as a session or a stream is: times of handshakes, streams so far. */
  const sessions = () => [
    ...[overUdp, overGrpc].map(({ namespace, interfaceName }) =>
      namespace.exec('wg', ['show', interfaceName, 'latest-handshakes']),
    ),
    gateway.metric('culvert_stream_opens_total{result="opened"}'),
    gateway.metric('culvert_provisions_total{code="OK"}'),
  ];

  before(async () => {
    configure('machineLimit: 10');
    configureMachine();
    site = createSite(3);
    gateway = new GatewayProgram(site.gateway, ['--config', gatewayFile]);
    await gateway.start();
    const { joinUrl: url } = await gateway.join();
    const [a, b] = site.machines as [Namespace, Namespace, Namespace];
    overUdp = new JoinProgram(a, { url, uuid: uuid(1), transport: 'udp', args: ['--config', machineFile] });
    overGrpc = new JoinProgram(b, { url, uuid: uuid(2), transport: 'grpc' });
    await gateway.connected(uuid(1), 'udp');
    await gateway.connected(uuid(2), 'grpc');
  });
  after(async () => {
    await site?.close();
    rmSync(directory, { recursive: true, force: true });
    for (const machine of [overUdp, overGrpc]) rmSync(reloadPath(machine?.interfaceName), { force: true });
  });

  test('limits and admission of a gateway change, and every session goes on', async () => {
    const before = sessions();
    configure(
      'machineLimit: 20',
      'bandwidthLimit: 500',
      'rateLimit: 60',
      'accept: manual',
      'interface: other',
    );
    const { stdout, status } = reloadGateway();
    assert.deepEqual(stdout.trimEnd().split('\n'), [
      'accept: auto -> manual',
      'machineLimit: 10 -> 20',
      'rateLimit: 50 -> 60',
      'bandwidthLimit: not set -> 500',
      'interface: siderolink -> other: needs a restart, left as it was',
    ]);
    assert.equal(status, 0);
    for (const id of [uuid(1), uuid(2)]) {
      const { address } = await gateway.connected(id);
      assert.ok(pings(site.gateway, address), id);
    }
    assert.deepEqual(sessions(), before);
    const { joinUrl: url } = await gateway.join();
    const late = new JoinProgram(site.machines[2] as Namespace, { url, uuid: uuid(3), transport: 'udp' });
    await eventually(`a new machine waits\n${late.output}`, async () =>
      (await gateway.machines()).some(({ state }) => state === 'pending'),
    );
    await late.end();
  });

  test('a file that is wrong changes nothing, and is named', async () => {
    const before = [...sessions(), await gateway.admin.call('status', {})];
    configure('accept: auto', 'machineLimit: 0');
    const { stdout, stderr, status } = reloadGateway();
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /gateway\.yaml:4: machineLimit "0": expected a whole number from 1 to 1000000/);
    assert.deepEqual([...sessions(), await gateway.admin.call('status', {})], before);
    await eventually('the log has it, too', () => /config_not_reloaded/.test(gateway.output));
  });

  test('SIGHUP to a gateway without a terminal reloads', async () => {
    const before = sessions();
    configure('accept: auto', 'machineLimit: 20');
    gateway.signal('SIGHUP');
    await eventually('it is applied', async () => (await gateway.admin.call('status', {})).accept === 'auto');
    assert.deepEqual(sessions(), before);
  });

  test('a machine publishes another service and sends events, and its session goes on', async () => {
    const { address } = await gateway.connected(uuid(1));
    const answers = () =>
      site.gateway.try('curl', ['-sS', '--max-time', '5', `http://[${address}]:8080/`]).stdout === 'hello';
    const server = `require('http').createServer((_, response) => response.end('hello')).listen(80, '127.0.0.1')`;
    overUdp.namespace.spawn(process.execPath, ['-e', server], { stdio: 'ignore' });
    const before = sessions();
    assert.ok(!answers());
    configureMachine('expose: ["8080=127.0.0.1:80"]');
    const { stdout, status } = reload(overUdp.interfaceName);
    assert.deepEqual([stdout, status], ['expose: not set -> 8080=127.0.0.1:80\n', 0]);
    await eventually('the service answers', answers);
    configureMachine('expose: ["8080=127.0.0.1:80"]', 'events: gateway');
    assert.equal(reload(overUdp.interfaceName).stdout, 'events: not set -> gateway\n');
    await eventually('an event arrives', async () => {
      const entries = { machine: uuid(1), kind: 'event', count: 10 } as const;
      return (await gateway.admin.call('machines.entries', entries)).length > 0;
    });
    configureMachine('expos: []');
    const wrong = reload(overUdp.interfaceName);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /machine\.yaml:3: unknown key "expos"\nhint: did you mean expose\?/);
    assert.ok(answers());
    configureMachine();
    assert.equal(reload(overUdp.interfaceName).status, 0);
    assert.ok(!answers());
    assert.deepEqual(sessions(), before);
  });

  test('nobody runs: exit status 1', () => {
    const { status, stderr } = reload(newLinkName());
    assert.equal(status, 1);
    assert.match(stderr, /is not running/);
  });
});

test(
  'an interface of a wg-quick file: peers follow the file, one that stays is not touched',
  { skip, timeout: TEST_TIMEOUT_MS },
  async (t) => {
    const namespace = Namespace.create();
    const directory = mkdtempSync(join(tmpdir(), 'culvert-reload-'));
    const name = newLinkName();
    t.after(async () => {
      await namespace.close();
      rmSync(directory, { recursive: true, force: true });
      rmSync(reloadPath(name), { force: true });
    });
    const random = seededRandom(7);
    const key = () => PrivateKey.generate(random).exposeBase64();
    const [own, first, second] = [key(), key(), key()];
    const peer = (publicKey: string, ip: string) => `[Peer]\nPublicKey = ${publicKey}\nAllowedIPs = ${ip}\n`;
    const path = join(directory, `${name}.conf`);
    const write = (...peers: readonly string[]) =>
      writeFileSync(path, `[Interface]\nPrivateKey = ${own}\nAddress = 10.77.0.1/24\n${peers.join('')}`, {
        mode: 0o600,
      });
    write(peer(first, '10.77.0.2/32'));
    const program = namespace.spawn(CULVERT, ['up', path], { stdio: 'ignore' });
    await eventually('it is up', () => existsSync(reloadPath(name)) && pings(namespace, '10.77.0.1'));
    const peers = () => namespace.exec('wg', ['show', name, 'allowed-ips']).trim().split('\n').toSorted();
    // Set by hand, and not in the file: a peer that is left alone keeps it.
    namespace.exec('wg', ['set', name, 'peer', first, 'endpoint', '192.0.2.1:7']);
    write(peer(first, '10.77.0.2/32'), peer(second, '10.77.0.3/32'));
    const { stdout, status } = namespace.try(CULVERT, ['reload', name]);
    assert.equal(stdout.split('\n')[0], `Peer ${second}: not set -> added`);
    assert.equal(status, 0);
    assert.deepEqual(peers(), [`${first}\t10.77.0.2/32`, `${second}\t10.77.0.3/32`].toSorted());
    assert.match(namespace.exec('wg', ['show', name, 'endpoints']), /192\.0\.2\.1:7/);
    write(peer(second, '10.77.0.3/32'));
    program.kill('SIGHUP');
    await eventually('the first one is gone', () => peers().length === 1);
    assert.deepEqual(peers(), [`${second}\t10.77.0.3/32`]);
  },
);
