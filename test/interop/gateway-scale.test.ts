/** Many machines, and a gateway that dies. The machines are one process (test/kit/swarm-process.ts). */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SqliteStore } from '../../src/link/sqlite-store.ts';
import { eventually } from '../kit/eventually.ts';
import { createSite, GatewayProgram, type Site, Swarm } from '../kit/gateway-program.ts';
import { type Namespace, requireRoot } from '../kit/netns.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const skip = requireRoot({ tun: true, programs: ['curl'] });
/** For one thing to happen, on a busy machine. */
const PATIENCE_MS = 120_000;

describe('a gateway that is killed', { skip, timeout: TEST_TIMEOUT_MS * 4 }, () => {
  let site: Site;
  before(() => (site = createSite(1)));
  after(() => site?.close());

  test('kill -9 and a restart: 50 machines are back through UDP and gRPC without provisioning again', async (t) => {
    const gateway = new GatewayProgram(site.gateway);
    await gateway.start();
    const [namespace] = site.machines as [Namespace];
    const joinToken = (await gateway.join()).joinUrl.split('jointoken=')[1] as string;
    const swarm = new Swarm(namespace, { joinToken, provisioned: 50, udp: 25, grpc: 25 });
    await swarm.ready();
    await eventually('all answer', async () => (await swarm.ping()).answered === 50, PATIENCE_MS);
    await eventually(
      'where the machines with UDP are is stored',
      () => SqliteStore.read(gateway.directory).endpoints.size === 25,
      PATIENCE_MS,
    );
    const addresses = new Map((await gateway.machines()).map(({ id, address }) => [id, address]));
    assert.equal(await gateway.end('SIGKILL'), 'SIGKILL');
    await eventually('none answers', async () => (await swarm.ping()).answered === 0, PATIENCE_MS);
    const killedAt = performance.now();
    await gateway.start();
    const servingAt = performance.now();
    let lastEnded = 0;
    await eventually(
      'all answer again',
      async () => {
        const { answered, ended } = await swarm.ping();
        lastEnded = ended;
        return answered === 50;
      },
      PATIENCE_MS,
    );
    const backAt = performance.now();
    t.diagnostic(
      `serving ${((servingAt - killedAt) / 1000).toFixed(1)} s after the start, ` +
        `all 50 machines back ${((backAt - servingAt) / 1000).toFixed(1)} s later`,
    );
    assert.equal(lastEnded, 0, 'no stream was refused for good');
    assert.ok(!(gateway.metric('culvert_provisions_total{code="OK"}') > 0), 'nobody provisioned again');
    for (const { id, address } of await gateway.machines()) assert.equal(address, addresses.get(id));
    swarm.end();
  });
});

describe('many machines', { skip, timeout: TEST_TIMEOUT_MS * 6 }, () => {
  let site: Site;
  before(() => (site = createSite(1)));
  after(() => site?.close());

  test('1,000 are provisioned, 200 of them have tunnels that carry packets', async (t) => {
    const gateway = new GatewayProgram(site.gateway, ['--rate-limit', '100000']);
    await gateway.start();
    const [namespace] = site.machines as [Namespace];
    const joinToken = (await gateway.join()).joinUrl.split('jointoken=')[1] as string;
    const swarm = new Swarm(namespace, { joinToken, provisioned: 1_000, udp: 0, grpc: 200 });
    const { provisionMs } = await swarm.ready();
    t.diagnostic(
      `${Math.round(1_000 / (provisionMs / 1_000))} Provision calls a second, each on its own connection`,
    );
    assert.equal(gateway.metric('culvert_provisions_total{code="OK"}'), 1_000);
    await eventually('all 200 answer', async () => (await swarm.ping()).answered === 200, PATIENCE_MS);
    assert.equal(gateway.metric('culvert_streams'), 200);
    const machines = await gateway.machines();
    assert.equal(machines.length, 1_000);
    assert.equal(new Set(machines.map(({ address }) => address)).size, 1_000);
    assert.equal(machines.filter(({ transport }) => transport === 'grpc').length, 200);
    assert.equal(await gateway.end('SIGTERM'), 0, 'it ends in good order with all of them connected');
    swarm.end();
  });
});
