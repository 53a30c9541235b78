// What a gRPC front gives to anybody who can reach it, and what it does not.
import assert from 'node:assert/strict';
import { type EventEmitter, once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { CREATE_STREAM_PATH } from '../../../src/link/grpc-front.ts';
import { type FrontLimits, MAX_HEADER_BYTES, MAX_REQUEST_BYTES } from '../../../src/link/grpc-limits.ts';
import { STATUS } from '../../../src/link/grpc-status.ts';
import { CERTIFICATE } from '../../kit/certificates.ts';
import { RawCall, RawGrpcClient } from '../../kit/raw-grpc.ts';
import { until } from '../../kit/until.ts';
import { startFront, type TestFront } from './front-kit.ts';
import { datagram, endpointOf, framed } from './stream-kit.ts';

const PROVISION = '/sidero.link.ProvisionService/Provision';
/** Field 1, `node_uuid`. */
const request = (uuid: string) =>
  Buffer.concat([Buffer.of(0, 0, 0, 0, uuid.length + 2, 0x0a, uuid.length), Buffer.from(uuid)]);

interface Setup extends TestFront {
  connect(): RawGrpcClient;
  raw(): Socket;
}

async function setUp(
  t: TestContext,
  limits: Partial<FrontLimits> = {},
  more: Parameters<typeof startFront>[0] = {},
): Promise<Setup> {
  const front = await startFront({ limits, ...more });
  const clients: RawGrpcClient[] = [];
  const sockets: Socket[] = [];
  t.after(async () => {
    for (const client of clients) await client.close();
    for (const socket of sockets) socket.destroy();
    await front.close();
  });
  return {
    ...front,
    connect: () => {
      const client = new RawGrpcClient(`http://127.0.0.1:${front.port}`);
      clients.push(client);
      return client;
    },
    raw: () => {
      const socket = connectTcp(front.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      sockets.push(socket);
      return socket;
    },
  };
}

/** However it ends. */
const ended = (emitter: EventEmitter) =>
  new Promise<void>((resolve) => emitter.once('close', () => resolve()));

async function provision(client: RawGrpcClient, uuid = 'u'): Promise<RawCall> {
  const call = client.call(PROVISION);
  call.stream.end(request(uuid));
  await call.status();
  return call;
}

/** The sink answers every datagram: a round trip through a tunnel. */
async function assertPings(setup: Setup, client: RawGrpcClient): Promise<void> {
  const header = setup.gateway.allow('f');
  const call = client.call(CREATE_STREAM_PATH, { 'x-siderolink-ipv6-addr': header });
  await call.responded();
  const before = setup.gateway.sink.received.length;
  call.stream.write(framed(datagram(1)));
  await until(() => setup.gateway.sink.received.length === before + 1);
  setup.gateway.send(header, datagram(2));
  setup.gateway.table.flush();
  await until(() => call.chunks.length > 0);
  call.stream.end();
  await call.status();
}

test('when it is full the oldest connection without a tunnel goes; those with one stay', async (t) => {
  const setup = await setUp(t, { maxConnections: 3 });
  const tunnel = setup.connect();
  const call = tunnel.call(CREATE_STREAM_PATH, { 'x-siderolink-ipv6-addr': setup.gateway.allow('a') });
  await call.responded();
  for (let n = 0; n < 20; n++) {
    const socket = setup.raw();
    await once(socket, 'connect');
    await until(() => setup.front.counters.accepted === n + 2);
  }
  assert.equal(setup.front.counters.cut.evicted, 18);
  await until(() => setup.front.sockets === 3);
  assert.ok(setup.gateway.table.isOpen('key a'));
  const late = setup.connect();
  assert.equal((await (await provision(late)).status())?.code, STATUS.OK);
  call.stream.end();
});

test('a connection that makes no call is cut after 20 s, in the middle of its TLS handshake too', async (t) => {
  for (const more of [{}, { tls: CERTIFICATE }]) {
    const setup = await setUp(t, {}, more);
    // Nothing; half a TLS record; half a preface; and the first bytes of a header block that never ends.
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const settings = Buffer.from('000000040000000000', 'hex');
    const headers = Buffer.concat([Buffer.from('000001010000000001', 'hex'), Buffer.of(0x82)]);
    const beginnings = [
      Buffer.alloc(0),
      Buffer.from('1603010200', 'hex'),
      preface.subarray(0, 10),
      Buffer.concat([preface, settings, headers]),
    ];
    const sockets = beginnings.map((bytes) => {
      const socket = setup.raw();
      socket.write(bytes);
      return socket;
    });
    await until(() => setup.front.counters.accepted === sockets.length);
    const closed = sockets.map((socket) => ended(socket));
    setup.clock.tick(19_999);
    setup.front.checkConnections();
    setup.clock.tick(1);
    setup.front.checkConnections();
    await Promise.all(closed);
    await until(() => setup.front.sockets === 0);
    const { silent } = setup.front.counters.cut;
    assert.ok(silent > 0);
    setup.clock.tick(20_000);
    setup.front.checkConnections();
    assert.equal(setup.front.counters.cut.silent, silent);
  }
});

test('new connections of one source are limited', async (t) => {
  const setup = await setUp(t, { connectionRate: { perSecond: 1, burst: 2 } });
  const [a, b] = [setup.raw(), setup.raw()];
  await Promise.all([once(a, 'connect'), once(b, 'connect')]);
  const c = setup.raw();
  await ended(c);
  assert.equal(setup.front.counters.cut.rate_limited, 1);
  setup.clock.tick(1000);
  assert.equal((await (await provision(setup.connect())).status())?.code, STATUS.OK);
});

test('calls of one source are limited before the library sees them; tunnels are not', async (t) => {
  const setup = await setUp(t, { callRate: { perSecond: 1, burst: 2 } });
  const client = setup.connect();
  await provision(client);
  await provision(client);
  assert.deepEqual(await (await provision(client)).status(), {
    code: STATUS.RESOURCE_EXHAUSTED,
    message: 'too many calls from this address',
  });
  assert.equal(setup.front.counters.calls.rate_limited, 1);
  await assertPings(setup, client);
});

test('a connection that goes on being refused is cut, its neighbours are not', async (t) => {
  const setup = await setUp(t, { strikeRate: { perSecond: 1, burst: 10 } });
  const bad = setup.connect();
  const good = setup.connect();
  await provision(good);
  const closed = ended(bad.session);
  for (let n = 0; n < 11; n++) bad.call(CREATE_STREAM_PATH, { 'x-siderolink-ipv6-addr': endpointOf('b') });
  await closed;
  assert.equal(setup.front.counters.cut.strikes, 1);
  await assertPings(setup, good);
});

test('pings of a client count like refused calls', async (t) => {
  const setup = await setUp(t, { strikeRate: { perSecond: 1, burst: 5 } });
  const client = setup.connect();
  await provision(client);
  const closed = ended(client.session);
  for (let n = 0; n < 6; n++) client.session.ping(() => {});
  await closed;
  assert.equal(setup.front.counters.cut.strikes, 1);
});

test('when too many calls are open, the oldest goes; one that takes 60 s goes too', async (t) => {
  const setup = await setUp(t, { maxCalls: 2 });
  const client = setup.connect();
  const calls = Array.from({ length: 3 }, () => client.call(PROVISION));
  assert.deepEqual(await calls[0]?.status(), {
    code: STATUS.RESOURCE_EXHAUSTED,
    message: 'too many calls at the same time',
  });
  assert.equal(setup.front.counters.calls.evicted, 1);
  setup.clock.tick(60_000);
  setup.front.checkConnections();
  assert.equal((await calls[1]?.status())?.code, STATUS.DEADLINE_EXCEEDED);
  assert.equal((await calls[2]?.status())?.code, STATUS.DEADLINE_EXCEEDED);
  assert.equal(setup.front.counters.calls.timed_out, 2);
  assert.equal((await (await provision(client)).status())?.code, STATUS.OK);
});

test('a request that is too large is refused while it comes, and so is one that unpacks to too much', async (t) => {
  const setup = await setUp(t);
  const client = setup.connect();
  const large = client.call(PROVISION);
  large.stream.write(Buffer.concat([Buffer.of(0, 0x7f, 0, 0, 0), Buffer.alloc(MAX_REQUEST_BYTES)]));
  assert.equal((await large.status())?.code, STATUS.RESOURCE_EXHAUSTED);
  assert.equal(setup.front.counters.calls.too_large, 1);
  const bomb = gzipSync(Buffer.alloc(32 * 1024 * 1024));
  assert.ok(bomb.length < MAX_REQUEST_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bomb.length);
  const packed = client.call(PROVISION, { 'grpc-encoding': 'gzip' });
  packed.stream.end(Buffer.concat([Buffer.of(1), length, bomb]));
  assert.equal((await packed.status())?.code, STATUS.RESOURCE_EXHAUSTED);
  assert.equal((await (await provision(client)).status())?.code, STATUS.OK);
});

test('metadata that is too large is refused', async (t) => {
  const setup = await setUp(t);
  const client = setup.connect();
  // From the acknowledged settings on; before, it is nghttp2's own 64 KiB.
  await once(client.session, 'remoteSettings');
  await provision(client);
  const call = client.call(CREATE_STREAM_PATH, {
    'x-siderolink-ipv6-addr': setup.gateway.allow('a'),
    'x-filler': 'x'.repeat(MAX_HEADER_BYTES),
  });
  assert.equal(await call.status(), undefined);
  assert.ok(!setup.gateway.table.isOpen('key a'));
  assert.equal((await (await provision(setup.connect())).status())?.code, STATUS.OK);
});

test('header blocks without end and streams that are reset at once end the connection', async (t) => {
  const setup = await setUp(t);
  const preface = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from('000000040000000000', 'hex'),
  ]);
  const frame = (type: number, flags: number, stream: number, payload: Uint8Array) => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  };
  // CONTINUATION after CONTINUATION (CVE-2024-27983 and its kin).
  const endless = setup.raw();
  const field = Buffer.concat([
    Buffer.of(0x00, 0x01),
    Buffer.from('a'),
    Buffer.of(0x7f, 0x81, 0x07),
    Buffer.alloc(256, 0x61),
  ]);
  endless.write(Buffer.concat([preface, frame(1, 0, 1, Buffer.of(0x82))]));
  for (let n = 0; n < 200; n++) endless.write(frame(9, 0, 1, field));
  await ended(endless);
  // HEADERS and RST_STREAM, again and again (CVE-2023-44487).
  const rapid = setup.raw();
  rapid.write(preface);
  const headers = Buffer.concat([
    Buffer.of(0x83, 0x86, 0x44, 0x01),
    Buffer.from('/'),
    Buffer.of(0x41, 0x01),
    Buffer.from('a'),
  ]);
  let sent = 0;
  while (!rapid.destroyed && sent < 20_000) {
    const burst: Buffer[] = [];
    for (let n = 0; n < 100; n++, sent++) {
      const id = 2 * sent + 1;
      burst.push(frame(1, 4, id, headers), frame(3, 0, id, Buffer.of(0, 0, 0, 8)));
    }
    rapid.write(Buffer.concat(burst));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => rapid.destroyed);
  assert.equal(setup.front.counters.cut.strikes, 1);
  await assertPings(setup, setup.connect());
});
