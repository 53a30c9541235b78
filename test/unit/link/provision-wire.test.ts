// Provision from the wire to the store: raw HTTP/2 and protobuf bytes against front, library, gateway and registry.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Server } from '@grpc/grpc-js';
import { silentLogger } from '../../../src/core/log.ts';
import { Gateway } from '../../../src/link/gateway.ts';
import { CREATE_STREAM_PATH, GrpcFront } from '../../../src/link/grpc-front.ts';
import { STATUS, type Status } from '../../../src/link/grpc-status.ts';
import { MemoryStore } from '../../../src/link/memory-store.ts';
import type { ProvisionSettings } from '../../../src/link/provision-context.ts';
import { addProvisionService } from '../../../src/link/provision-service.ts';
import { EMPTY_CONTENTS } from '../../../src/link/store.ts';
import { StreamTable } from '../../../src/link/stream-table.ts';
import { FakeClock } from '../../kit/clock.ts';
import { loadProtos } from '../../kit/protos.ts';
import { seededRandom } from '../../kit/random.ts';
import { RawGrpcClient } from '../../kit/raw-grpc.ts';
import { key, SERVER_KEY, SETTINGS, token, unique, UUID } from './provision-kit.ts';

const protos = loadProtos();
const Request = protos.lookupType('sidero.link.ProvisionRequest');
const Response = protos.lookupType('sidero.link.ProvisionResponse');

async function start(t: TestContext, settings: Partial<ProvisionSettings> = {}) {
  const clock = new FakeClock();
  const streams = new StreamTable({ deliver: () => true });
  const services = new Server();
  const gateway = await Gateway.start({
    store: new MemoryStore({ ...EMPTY_CONTENTS, tokens: [token('good')], defaultToken: 'good' }),
    device: { configure: async () => {}, peer: () => undefined },
    streams,
    clock,
    settings: { ...SETTINGS, ...settings },
    random: seededRandom(1),
    logger: silentLogger,
    rateLimit: { perSecond: 100, burst: 100 },
    useLastEndpoints: true,
  });
  addProvisionService(services, gateway);
  const front = new GrpcFront({ clock, streams, services });
  const { port } = await front.listen('127.0.0.1', 0);
  const client = new RawGrpcClient(`http://127.0.0.1:${port}`);
  t.after(async () => {
    await client.close();
    await front.close(AbortSignal.abort());
  });
  const provision = async (fields: object): Promise<{ status: Status | undefined; response: object }> => {
    const message = Request.encode({
      node_uuid: UUID,
      node_public_key: key('a'),
      join_token: 'good',
      node_unique_token: '',
      talos_version: 'v1.13.0',
      ...fields,
    }).finish();
    const call = client.call('/sidero.link.ProvisionService/Provision');
    call.stream.end(Buffer.concat([Buffer.of(0, 0, 0, message.length >> 8, message.length & 0xff), message]));
    const body = await call.body();
    return {
      status: await call.status(),
      response: body.length === 0 ? {} : { ...Response.toObject(Response.decode(body.subarray(5))) },
    };
  };
  return { client, provision };
}

test('a Talos machine over UDP', async (t) => {
  const { provision } = await start(t, { endpoints: ['a:1', 'b:2', 'c:3'] });
  const { status, response } = await provision({});
  assert.equal(status?.code, STATUS.OK);
  const { node_address_prefix: prefix, ...rest } = response as Record<string, unknown>;
  assert.match(String(prefix), /^fdae:41e4:649b:9303:[0-9a-f:]+\/64$/);
  assert.deepEqual(rest, {
    server_endpoint: ['c:3', 'b:2', 'a:1'],
    server_public_key: SERVER_KEY,
    server_address: 'fdae:41e4:649b:9303::1',
  });
  assert.deepEqual((await provision({})).response, response);
});

test('a Talos machine through the tunnel: the address it is given opens its stream', async (t) => {
  const { client, provision } = await start(t);
  const { response } = await provision({ wireguard_over_grpc: true });
  const virtual = (response as { grpc_peer_addr_port: string }).grpc_peer_addr_port;
  assert.deepEqual((response as { server_endpoint: string[] }).server_endpoint, [virtual]);
  const call = client.call(CREATE_STREAM_PATH, { 'x-siderolink-ipv6-addr': virtual });
  assert.equal((await call.responded())['grpc-status'], undefined);
  const again = await provision({ wireguard_over_grpc: true });
  assert.notEqual((again.response as { grpc_peer_addr_port: string }).grpc_peer_addr_port, virtual);
  assert.equal((await call.status())?.code, STATUS.UNAVAILABLE);
});

test('codes and texts of refusals', async (t) => {
  const strict = await start(t, { joinMode: 'strict', maxMachines: 0 });
  const cases: [object, number, string | RegExp][] = [
    [{ join_token: 'bad' }, STATUS.PERMISSION_DENIED, 'unauthorized'],
    [{ join_token: undefined }, STATUS.PERMISSION_DENIED, 'unauthorized'],
    [{ join_token: 'v1:%' }, STATUS.PERMISSION_DENIED, /^invalid join token ./],
    [{ node_unique_token: 'random-token' }, STATUS.PERMISSION_DENIED, /JSON/],
    [{ node_public_key: 'x' }, STATUS.INVALID_ARGUMENT, /^error parsing Wireguard key: /],
    [{ talos_version: 'v1.5.0' }, STATUS.FAILED_PRECONDITION, /^Talos version v1\.5\.0 is not supported/],
    [
      { node_unique_token: unique('t') },
      STATUS.RESOURCE_EXHAUSTED,
      'machine registration limit reached: 0/0 machines registered',
    ],
  ];
  for (const [fields, code, message] of cases) {
    const { status } = await strict.provision(fields);
    assert.equal(status?.code, code, JSON.stringify(fields));
    if (typeof message === 'string') assert.equal(status?.message, message);
    else assert.match(status?.message ?? '', message);
  }
  const agent = await start(t, { joinMode: 'agent' });
  const { status } = await agent.provision({ join_token: 'bad', node_unique_token: 'random-token' });
  assert.deepEqual(status, { code: STATUS.PERMISSION_DENIED, message: 'invalid join token' });
});
