// The gateway's port as its wire sees it: HTTP/2 and protobuf bytes made by hand.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { Server } from '@grpc/grpc-js';
import { CREATE_STREAM_PATH, GrpcFront } from '../../../src/link/grpc-front.ts';
import { STATUS } from '../../../src/link/grpc-status.ts';
import { FakeClock } from '../../kit/clock.ts';
import { TcpProxy } from '../../kit/tcp-proxy.ts';
import { until } from '../../kit/until.ts';
import { CERTIFICATE, OTHER_CERTIFICATE } from '../../kit/certificates.ts';
import { loadProtos } from '../../kit/protos.ts';
import { RawCall, RawGrpcClient } from '../../kit/raw-grpc.ts';
import { startFront, type TestFront } from './front-kit.ts';
import { datagram, endpointOf, framed, numberOf, TestTable, unframer } from './stream-kit.ts';

const PROVISION = '/sidero.link.ProvisionService/Provision';
const protos = loadProtos();
const ProvisionRequest = protos.lookupType('sidero.link.ProvisionRequest');
const ProvisionResponse = protos.lookupType('sidero.link.ProvisionResponse');

interface Setup extends TestFront {
  readonly client: RawGrpcClient;
}

async function setUp(t: TestContext, gateway = new TestTable()): Promise<Setup> {
  const front = await startFront({}, gateway);
  const client = new RawGrpcClient(`http://127.0.0.1:${front.port}`);
  t.after(async () => {
    await client.close();
    await front.close();
  });
  return { ...front, client };
}

/** Opens a stream that is admitted. */
async function open(
  client: RawGrpcClient,
  header: string,
  more: Record<string, string> = {},
): Promise<RawCall> {
  const call = client.call(CREATE_STREAM_PATH, { 'x-siderolink-ipv6-addr': header, ...more });
  assert.equal((await call.responded())[':status'], 200);
  return call;
}

test('CreateStream answers with headers at once and carries datagrams both ways', async (t) => {
  const { client, gateway } = await setUp(t);
  const header = gateway.allow('a');
  const call = await open(client, header);
  assert.equal(call.headers?.['content-type'], 'application/grpc');
  assert.equal(call.headers?.['grpc-status'], undefined);
  const received = unframer();
  call.onChunk = received.push;
  call.stream.write(Buffer.concat([framed(datagram(1)), framed(datagram(2, 148, 1)), framed(datagram(3))]));
  await until(() => gateway.sink.received.length === 3);
  assert.deepEqual(gateway.sink.numbers, [1, 2, 3]);
  for (let n = 0; n < 50; n++) gateway.send(header, datagram(n, 1312));
  gateway.table.flush();
  await until(() => received.datagrams.length === 50);
  assert.deepEqual(
    received.datagrams,
    Array.from({ length: 50 }, (_, n) => datagram(n, 1312)),
  );
});

test('a message that is split over DATA frames, byte by byte, arrives whole', async (t) => {
  const { client, gateway } = await setUp(t);
  const call = await open(client, gateway.allow('a'));
  for (const byte of framed(datagram(7))) call.stream.write(Uint8Array.of(byte));
  await until(() => gateway.sink.received.length === 1);
  assert.deepEqual(gateway.sink.received[0]?.bytes, datagram(7));
});

test('refusals are trailers without a body, with the exact code and text', async (t) => {
  const { client, gateway } = await setUp(t);
  gateway.allow('a');
  const cases: [Record<string, string>, number, string | RegExp][] = [
    [{}, STATUS.UNKNOWN, 'failed to get peer address from context'],
    [{ 'x-siderolink-ipv6-addr': 'nonsense' }, STATUS.UNKNOWN, /^incorrect header value "nonsense": /],
    [{ 'x-siderolink-ipv6-addr': endpointOf('b') }, STATUS.PERMISSION_DENIED, 'peer not allowed'],
  ];
  for (const [headers, code, message] of cases) {
    const call = client.call(CREATE_STREAM_PATH, headers);
    const status = await call.status();
    assert.equal(status?.code, code);
    if (typeof message === 'string') assert.equal(status?.message, message);
    else assert.match(status?.message ?? '', message);
    assert.equal(call.headers?.[':status'], 200);
    assert.equal((await call.body()).length, 0);
  }
});

test('while the gateway starts a refusal is UNAVAILABLE', async (t) => {
  const { client } = await setUp(t, new TestTable(false));
  const call = client.call(CREATE_STREAM_PATH, { 'x-siderolink-ipv6-addr': endpointOf('a') });
  assert.equal((await call.status())?.code, STATUS.UNAVAILABLE);
});

test('the first of several header values counts', async (t) => {
  const { client, gateway } = await setUp(t);
  const header = gateway.allow('a');
  await open(client, `${header}, ${endpointOf('b')}`);
  assert.ok(gateway.table.isOpen('key a'));
});

test('a second stream with the same header ends the first with ABORTED "peer replaced"', async (t) => {
  const { client, gateway } = await setUp(t);
  const header = gateway.allow('a');
  const first = await open(client, header);
  const second = await open(client, header);
  assert.deepEqual(await first.status(), { code: STATUS.ABORTED, message: 'peer replaced' });
  second.stream.write(framed(datagram(1)));
  await until(() => gateway.sink.received.length === 1);
});

test('half-closing ends the stream with CANCELLED "context canceled"', async (t) => {
  const { client, gateway } = await setUp(t);
  const call = await open(client, gateway.allow('a'));
  call.stream.end(framed(datagram(1)));
  assert.deepEqual(await call.status(), { code: STATUS.CANCELLED, message: 'context canceled' });
  assert.deepEqual(gateway.sink.numbers, [1]);
  assert.ok(!gateway.table.isOpen('key a'));
});

test('a stream that is reset, and a connection that breaks, free their place', async (t) => {
  const { gateway, front, port, close } = await startFront();
  const wire = await TcpProxy.start(port);
  const client = new RawGrpcClient(`http://127.0.0.1:${wire.port}`);
  t.after(async () => {
    await client.close();
    await close();
    await wire.close();
  });
  const header = gateway.allow('a');
  const call = await open(client, header);
  call.stream.close(8);
  await until(() => !gateway.table.isOpen('key a'));
  await open(client, header);
  wire.cut();
  await until(() => !gateway.table.isOpen('key a') && front.connections === 0);
  assert.equal(gateway.table.counters.ends.closed, 2);
});

test('revoking a peer ends its live stream', async (t) => {
  const { client, gateway } = await setUp(t);
  const call = await open(client, gateway.allow('a'));
  gateway.table.allow('key a', undefined);
  assert.deepEqual(await call.status(), { code: STATUS.PERMISSION_DENIED, message: 'peer not allowed' });
});

test('malformed messages end the stream', async (t) => {
  const { client, gateway } = await setUp(t);
  const cases: [number[], number][] = [
    [[1, 0, 0, 0, 0], STATUS.UNIMPLEMENTED],
    [[0, 0x7f, 0, 0, 0], STATUS.RESOURCE_EXHAUSTED],
    [[0, 0, 0, 0, 2, 0x12, 9], STATUS.INTERNAL],
  ];
  for (const [bytes, code] of cases) {
    const call = await open(client, gateway.allow('a'));
    call.stream.write(Uint8Array.from(bytes));
    assert.equal((await call.status())?.code, code);
  }
});

test('a client that asks for several streams is told how many it may have; others are not bothered', async (t) => {
  const { client, gateway } = await setUp(t);
  const header = gateway.allow('a');
  const stock = await open(client, header);
  assert.equal(stock.headers?.['x-culvert-lanes'], undefined);
  const first = await open(client, header, { 'x-culvert-lane': '0' });
  assert.equal(first.headers?.['x-culvert-lanes'], '4');
  const second = await open(client, header, { 'x-culvert-lane': '1' });
  const received = [first, second].map((call) => {
    const collector = unframer();
    call.onChunk = collector.push;
    return collector;
  });
  gateway.send(header, datagram(10), 10);
  gateway.send(header, datagram(11), 11);
  gateway.table.flush();
  await until(() => received.every(({ datagrams }) => datagrams.length === 1));
  assert.deepEqual(
    received.map(({ datagrams }) => datagrams.map(numberOf)),
    [[10], [11]],
  );
  for (const lane of ['9', 'x', '-1']) {
    const call = client.call(CREATE_STREAM_PATH, {
      'x-siderolink-ipv6-addr': header,
      'x-culvert-lane': lane,
    });
    assert.equal((await call.status())?.code, STATUS.RESOURCE_EXHAUSTED, lane);
  }
});

test('a client that stops reading is bounded by its queue, and its neighbour on the same connection goes on', async (t) => {
  const { client, gateway } = await setUp(t);
  const [a, b] = [gateway.allow('a'), gateway.allow('b')];
  const [slow, fast] = [await open(client, a), await open(client, b)];
  slow.stream.pause();
  const received = unframer();
  fast.onChunk = received.push;
  // More than the client's window of 64 KiB and everything in between take.
  let sent = 0;
  while (gateway.table.counters.drops.outbound_full < 100) {
    gateway.send(a, datagram(sent, 1312));
    gateway.send(b, datagram(sent, 1312));
    gateway.table.flush();
    sent++;
    if (sent % 20 === 0) await until(() => received.datagrams.length === sent);
  }
  await until(() => received.datagrams.length === sent);
  assert.ok(gateway.table.isOpen('key a'));
});

function provisionFrame(request: object): Uint8Array {
  const message = ProvisionRequest.encode(request).finish();
  return Buffer.concat([Buffer.of(0, 0, 0, 0, message.length), message]);
}

test('everything else goes to the gRPC library: a unary call, its answer and the address of its caller', async (t) => {
  const { client } = await setUp(t);
  const call = client.call(PROVISION, { 'x-culvert-caller': '6.6.6.6:6' });
  call.stream.end(provisionFrame({ node_uuid: 'u', join_token: '' }));
  const body = await call.body();
  assert.equal((await call.status())?.code, STATUS.OK);
  const answer = ProvisionResponse.toObject(ProvisionResponse.decode(body.subarray(5)));
  assert.deepEqual(
    { ...answer },
    {
      server_endpoint: [`127.0.0.1:${client.session.socket.localPort}`],
      server_public_key: 'u',
    },
  );
});

test('errors of the library and of its services pass with code and text', async (t) => {
  const { client } = await setUp(t);
  const refused = client.call(PROVISION);
  refused.stream.end(provisionFrame({ node_uuid: 'refuse' }));
  assert.deepEqual(await refused.status(), { code: STATUS.PERMISSION_DENIED, message: 'unauthorized' });
  const unknown = client.call('/sidero.link.ProvisionService/Nothing');
  unknown.stream.end();
  assert.equal((await unknown.status())?.code, STATUS.UNIMPLEMENTED);
  const late = client.call(PROVISION, { 'grpc-timeout': '20m' });
  late.stream.end(provisionFrame({ node_uuid: 'hang' }));
  assert.equal((await late.status())?.code, STATUS.DEADLINE_EXCEEDED);
});

test('streams and calls share a connection', async (t) => {
  const { client, gateway, front } = await setUp(t);
  await open(client, gateway.allow('a'));
  const call = client.call(PROVISION);
  call.stream.end(provisionFrame({ node_uuid: 'u' }));
  assert.equal((await call.status())?.code, STATUS.OK);
  assert.equal(front.connections, 1);
});

test('a silent connection is pinged, and lives on its answer', async (t) => {
  const { client, gateway, front, clock } = await setUp(t);
  await open(client, gateway.allow('a'));
  const ping = once(client.session, 'ping');
  clock.tick(59_999);
  front.checkConnections();
  clock.tick(1);
  front.checkConnections();
  await ping;
  await new Promise((resolve) => client.session.ping(resolve));
  clock.tick(20_000);
  front.checkConnections();
  assert.equal(front.connections, 1);
});

test('a connection that does not answer the ping is cut', async (t) => {
  const { gateway, front, clock, port, close } = await startFront();
  const wire = await TcpProxy.start(port);
  const client = new RawGrpcClient(`http://127.0.0.1:${wire.port}`);
  t.after(async () => {
    await client.close();
    await close();
    await wire.close();
  });
  await open(client, gateway.allow('a'));
  wire.freeze();
  clock.tick(60_000);
  front.checkConnections();
  clock.tick(19_999);
  front.checkConnections();
  assert.equal(front.connections, 1);
  clock.tick(1);
  front.checkConnections();
  await until(() => !gateway.table.isOpen('key a') && front.connections === 0);
});

test('a connection without calls is closed after five minutes', async (t) => {
  const { client, front, clock } = await setUp(t);
  const call = client.call(PROVISION);
  call.stream.end(provisionFrame({ node_uuid: 'u' }));
  await call.status();
  await until(() => front.connections === 1);
  clock.tick(299_999);
  front.checkConnections();
  assert.ok(!client.session.closed);
  clock.tick(1);
  front.checkConnections();
  await until(() => front.connections === 0);
});

test('at shutdown streams end with UNAVAILABLE and the port is free', async () => {
  const started = await startFront();
  const client = new RawGrpcClient(`http://127.0.0.1:${started.port}`);
  const call = await open(client, started.gateway.allow('a'));
  await started.front.close(new AbortController().signal);
  assert.equal((await call.status())?.code, STATUS.UNAVAILABLE);
  const socket = connectTcp(started.port, '127.0.0.1');
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
});

test('shutdown does not wait for those who do not listen', async () => {
  const started = await startFront();
  const wire = await TcpProxy.start(started.port);
  const client = new RawGrpcClient(`http://127.0.0.1:${wire.port}`);
  await open(client, started.gateway.allow('a'));
  wire.freeze();
  const abort = new AbortController();
  const closed = started.front.close(abort.signal);
  abort.abort();
  await closed;
  await client.close();
  await wire.close();
});

test('a taken port is named', async (t) => {
  const { port } = await setUp(t);
  const other = new GrpcFront({
    clock: new FakeClock(),
    streams: new TestTable().table,
    services: new Server(),
  });
  await assert.rejects(other.listen('127.0.0.1', port), { code: 'in_use' });
});

test('TLS negotiates h2, and a changed certificate serves new connections while old ones stay', async (t) => {
  const started = await startFront({ tls: CERTIFICATE });
  const url = `https://localhost:${started.port}`;
  const old = new RawGrpcClient(url, { ca: CERTIFICATE.cert });
  t.after(async () => {
    await old.close();
    await started.close();
  });
  const stream = await open(old, started.gateway.allow('a'));
  assert.equal(old.session.alpnProtocol, 'h2');
  started.front.setCertificate(OTHER_CERTIFICATE);
  const fresh = new RawGrpcClient(url, { ca: OTHER_CERTIFICATE.cert });
  t.after(() => fresh.close());
  const call = fresh.call(PROVISION);
  call.stream.end(provisionFrame({ node_uuid: 'u' }));
  assert.equal((await call.status())?.code, STATUS.OK);
  stream.stream.write(framed(datagram(1)));
  await until(() => started.gateway.sink.received.length === 1);
  assert.throws(() => started.front.setCertificate({ cert: CERTIFICATE.cert, key: OTHER_CERTIFICATE.key }));
});

test('a TLS client that does not speak h2 gets nothing', async (t) => {
  const started = await startFront({ tls: CERTIFICATE });
  t.after(() => started.close());
  const socket = connectTls({
    port: started.port,
    host: '127.0.0.1',
    ca: CERTIFICATE.cert,
    servername: 'localhost',
    ALPNProtocols: ['http/1.1'],
  });
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  assert.match(String(error.code), /NO_APPLICATION_PROTOCOL/);
});
