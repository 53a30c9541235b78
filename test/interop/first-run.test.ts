/** `npm start`: the gateway with its guided first run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { statusPath } from '../../src/app/agent/status-socket.ts';
import { requireRoot } from '../kit/netns.ts';
import { createSite, CULVERT, GatewayProgram, type Site } from '../kit/gateway-program.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const skip = requireRoot({ tun: true, programs: ['ping', 'curl'] });

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
    const pings = [...output.matchAll(/ (\d+) of 10 pings from the gateway answered, (?!0\.00)[\d.]+ \/ /g)];
    assert.deepEqual(
      pings.map(([, count]) => count),
      ['10', '10'],
    );
    assert.ok(
      output.indexOf('culvert join ') > output.indexOf('pings from the gateway'),
      'what to paste comes last',
    );
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

  test('without rights it says what is missing and shows the tunnel in memory', () => {
    const state = mkdtempSync(join(tmpdir(), 'culvert-nobody-'));
    chownSync(state, 65_534, 65_534);
    try {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [CULVERT, 'serve', '--demo', '--state', join(state, 'state')],
        {
          encoding: 'utf8',
          uid: 65_534,
          gid: 65_534,
          env: { ...process.env, NO_COLOR: '1' },
        },
      );
      assert.equal(status, 0, stderr);
      assert.match(
        stdout,
        /^A gateway needs an interface of its own.*\n.*\/dev\/net\/tun: EACCES\n {2}hint: run as root/m,
      );
      assert.match(stdout, /^ {2}throughput +(?!0 )[\d.]+ [kMG]bit\/s /m);
    } finally {
      rmSync(state, { recursive: true, force: true });
    }
  });
});
