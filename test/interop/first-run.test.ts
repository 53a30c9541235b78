/** `npm start`: the gateway with its guided first run. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { statusPath } from '../../src/app/agent/status-socket.ts';
import { AdminClient } from '../../src/app/gateway/admin-client.ts';
import { eventually } from '../kit/eventually.ts';
import { requireRoot } from '../kit/netns.ts';
import { createSite, CULVERT, GatewayProgram, type Site } from '../kit/gateway-program.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const skip = requireRoot({ tun: true, programs: ['ping', 'curl', 'setpriv'] });

describe('culvert serve --demo', { skip, timeout: TEST_TIMEOUT_MS }, () => {
  let site: Site;
  before(() => (site = createSite(0)));
  after(() => site?.close());

  test('one machine over UDP and one over gRPC join and answer pings, and go with the gateway', async () => {
    const gateway = new GatewayProgram(site.gateway, ['--demo']);
    await gateway.start();
    const { output } = gateway;
    assert.match(output, /^ {2}udp +joined over UDP in [\d.]+ m?s as fdae:41e4:649b:9303:/m);
    assert.match(output, /^ {2}grpc +joined over a gRPC stream in [\d.]+ m?s as fdae:41e4:649b:9303:/m);
    const pings = [...output.matchAll(/ (\d+) of 10 pings answered, (?!0\.00)[\d.]+ \/ /g)];
    assert.deepEqual(
      pings.map(([, count]) => count),
      ['10', '10'],
    );
    assert.ok(output.indexOf('culvert join ') > output.indexOf('pings answered'), 'what to paste comes last');
    const machines = await gateway.machines();
    assert.deepEqual(new Set(machines.map(({ transport }) => transport)), new Set(['grpc', 'udp']));
    for (const { address } of machines) {
      assert.equal(site.gateway.try('ping', ['-c', '1', '-w', '5', address]).status, 0, address);
    }
    assert.deepEqual(
      site.gateway
        .ip('-o link show')
        .match(/^\d+: \S+/gm)
        ?.map((line) => line.replace(/^\d+: /, '')),
      ['lo:', 'siderolink:'],
      'the machines have their interfaces elsewhere',
    );
    assert.equal(await gateway.end('SIGINT'), 0, gateway.output);
    for (const name of ['culvert-udp', 'culvert-grpc']) assert.ok(!existsSync(statusPath(name)), name);
    assert.deepEqual(site.gateway.pids(), [], 'no process is left');
    await gateway.start();
    assert.equal((await gateway.machines()).length, 2, 'a second run has two machines, too');
    await gateway.end('SIGTERM');
  });

  test('where they cannot join, that is said, and the gateway serves', async () => {
    const gateway = new GatewayProgram(site.gateway, [
      '--demo',
      '--machine-limit',
      '1',
      '--tunnel',
      'forbidden',
    ]);
    await gateway.start();
    assert.match(
      gateway.output,
      /^No machines of its own: culvert: the machine over a gRPC stream could not join/m,
    );
    assert.deepEqual(await gateway.machines(), [], 'the other one is gone, too');
    assert.equal(await gateway.end('SIGTERM'), 0);
  });

  test('without rights the gateway has its interface in memory, says so, and machines join it', async (t) => {
    const state = mkdtempSync(join(tmpdir(), 'culvert-nobody-'));
    chownSync(state, 65_534, 65_534);
    t.after(() => rmSync(state, { recursive: true, force: true }));
    const child = site.gateway.spawn(
      'setpriv',
      [
        ...[
          '--reuid',
          '65534',
          '--regid',
          '65534',
          '--clear-groups',
          '--inh-caps',
          '-all',
          '--bounding-set',
          '-all',
        ],
        ...[process.execPath, CULVERT, 'serve', '--demo', '--state', join(state, 'state')],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1' } },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
    }
    const closed = once(child, 'close');
    await eventually(
      'it serves',
      () => /machines ls .*who has joined/.test(output) || child.exitCode !== null,
      60_000,
    );
    assert.match(
      output,
      /^This user cannot make a network interface:\n.*\/dev\/net\/tun: EACCES\n {2}hint: run as root/m,
    );
    assert.match(output, /^ {2}udp +joined over UDP in [\d.]+ m?s as fdae:41e4:649b:9303:/m);
    assert.match(output, /^ {2}grpc +joined over a gRPC stream in [\d.]+ m?s as fdae:41e4:649b:9303:/m);
    assert.equal([...output.matchAll(/ 10 of 10 pings answered, (?!0\.00)/g)].length, 2, output);
    const { machines } = await new AdminClient(join(state, 'state')).call('machines.list', {});
    assert.deepEqual(new Set(machines.map(({ transport }) => transport)), new Set(['grpc', 'udp']));
    child.kill('SIGTERM');
    assert.deepEqual(await closed, [0, null], output);
  });
});
