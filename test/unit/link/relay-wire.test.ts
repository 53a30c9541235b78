// The relay on the wire: against our gateway, through proxies, over TLS, over lines that break.
import assert from 'node:assert/strict';
import { createServer } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { parseSocketAddress, type SocketAddress } from '../../../src/core/ip.ts';
import type { ProvisionResponse } from '../../../src/gen/siderolink/provision.ts';
import { dial, type DialOptions, type DialTarget } from '../../../src/link/dial.ts';
import { GrpcError } from '../../../src/link/grpc-client.ts';
import { callProvision } from '../../../src/link/provision-client.ts';
import { STATUS, type Status } from '../../../src/link/grpc-status.ts';
import { createStreamCall } from '../../../src/link/grpc-front.ts';
import { Http2Dialer } from '../../../src/link/http2-dialer.ts';
import { Relay } from '../../../src/link/relay.ts';
import { CERTIFICATE, OTHER_CERTIFICATE } from '../../kit/certificates.ts';
import { FakeClock } from '../../kit/clock.ts';
import { httpProxy, socksProxy } from '../../kit/proxies.ts';
import { seededRandom } from '../../kit/random.ts';
import { TcpProxy } from '../../kit/tcp-proxy.ts';
import { until } from '../../kit/until.ts';
import { startFront } from './front-kit.ts';
import { datagram, FakeSink } from './stream-kit.ts';

const DIRECT: DialOptions = { proxies: {} };

class TestRelay {
  readonly clock = new FakeClock();
  readonly sink = new FakeSink();
  readonly ends: Status[] = [];
  readonly relay: Relay;

  constructor(t: TestContext, header: string, target: DialTarget, options: DialOptions = DIRECT, lanes = 1) {
    this.relay = new Relay({
      dialer: new Http2Dialer(target, createStreamCall(header), options),
      sink: this.sink,
      clock: this.clock,
      random: seededRandom(1),
      endpoint: parseSocketAddress(header) as SocketAddress,
      lanes,
      onEnd: (status) => this.ends.push(status),
    });
    this.relay.start();
    t.after(() => this.relay.close());
  }

  send(n: number, flow = 0): void {
    this.relay.send(datagram(n), 0, 64, flow);
    this.relay.flush();
  }

  /** Lets the relay's time pass until the next deadline. */
  tick(): void {
    this.clock.tick(Math.max(0, this.relay.nextDeadline - this.clock.now()));
    this.relay.advance(this.clock.now());
  }
}

const plain = (port: number, host = '127.0.0.1'): DialTarget => ({ host, port, isPlaintext: true });
const secure = (port: number, host = 'localhost'): DialTarget => ({ host, port, isPlaintext: false });

for (const [name, tls] of [
  ['plain', undefined],
  ['TLS', CERTIFICATE],
] as const) {
  test(`${name}: datagrams go both ways between relay and gateway`, async (t) => {
    const { gateway, port, close } = await startFront({ tls });
    t.after(close);
    const header = gateway.allow('a');
    const options = tls ? { ...DIRECT, ca: [tls.cert] } : DIRECT;
    const kit = new TestRelay(t, header, tls ? secure(port) : plain(port), options);
    kit.send(1);
    await until(() => gateway.sink.received.length === 1);
    gateway.send(header, datagram(2));
    gateway.table.flush();
    await until(() => kit.sink.received.length === 1);
    assert.deepEqual([gateway.sink.numbers, kit.sink.numbers], [[1], [2]]);
    assert.equal(kit.sink.received[0]?.from, header);
  });
}

test('a gateway of ours gets several streams, each on a connection of its own', async (t) => {
  const { front, gateway, port, close } = await startFront();
  t.after(close);
  const header = gateway.allow('a');
  const kit = new TestRelay(t, header, plain(port), DIRECT, 4);
  await until(() => kit.relay.openLanes === 4 && gateway.table.openStreams === 4);
  assert.equal(front.connections, 4);
  for (let flow = 0; flow < 40; flow++) {
    kit.send(flow, flow);
    gateway.send(header, datagram(100 + flow), flow);
    gateway.table.flush();
  }
  await until(() => gateway.sink.received.length === 40 && kit.sink.received.length === 40);
  assert.equal(gateway.table.counters.ends.replaced, 0);
});

test('a cut connection is replaced, and what is sent meanwhile arrives', async (t) => {
  const { gateway, port, close } = await startFront();
  const wire = await TcpProxy.start(port);
  t.after(async () => {
    await close();
    await wire.close();
  });
  const kit = new TestRelay(t, gateway.allow('a'), plain(wire.port));
  kit.send(1);
  await until(() => gateway.sink.received.length === 1);
  wire.cut();
  await until(() => !kit.relay.isOpen);
  kit.send(2);
  kit.tick();
  await until(() => gateway.sink.received.length === 2);
  assert.deepEqual(gateway.sink.numbers, [1, 2]);
  assert.equal(wire.connections, 2);
});

test('a connection that went silent is found out by a ping that nobody answers', async (t) => {
  const { gateway, port, close } = await startFront();
  const wire = await TcpProxy.start(port);
  t.after(async () => {
    await close();
    await wire.close();
  });
  const kit = new TestRelay(t, gateway.allow('a'), plain(wire.port));
  await until(() => gateway.table.isOpen('key a') && kit.relay.isOpen);
  wire.freeze();
  kit.clock.tick(60_000);
  kit.relay.advance(kit.clock.now());
  assert.ok(kit.relay.isOpen);
  kit.clock.tick(15_000);
  kit.relay.advance(kit.clock.now());
  assert.ok(!kit.relay.isOpen);
});

test('after a change of the network a silent connection is found out within four seconds', async (t) => {
  const { gateway, port, close } = await startFront();
  const wire = await TcpProxy.start(port);
  t.after(async () => {
    await close();
    await wire.close();
  });
  const kit = new TestRelay(t, gateway.allow('a'), plain(wire.port));
  await until(() => gateway.table.isOpen('key a') && kit.relay.isOpen);
  wire.freeze();
  kit.relay.networkChanged();
  kit.clock.tick(3_999);
  kit.relay.advance(kit.clock.now());
  assert.ok(kit.relay.isOpen);
  kit.clock.tick(1);
  kit.relay.advance(kit.clock.now());
  assert.ok(!kit.relay.isOpen);
});

test('a change of the network ends the waiting between two attempts to open a stream', async (t) => {
  const first = await startFront();
  const header = first.gateway.allow('a');
  await first.close();
  const kit = new TestRelay(t, header, plain(first.port));
  for (let i = 1; i <= 6; i++) {
    await until(() => kit.relay.counters.broken === i);
    if (i < 6) kit.tick();
  }
  assert.ok(kit.relay.nextDeadline - kit.clock.now() > 1_000);
  kit.relay.networkChanged();
  assert.ok(kit.relay.nextDeadline - kit.clock.now() <= 1_000);
});

test('terminal statuses of the gateway end the relay', async (t) => {
  const { gateway, port, close } = await startFront();
  t.after(close);
  const header = gateway.allow('a');
  const first = new TestRelay(t, header, plain(port));
  await until(() => gateway.table.isOpen('key a'));
  const second = new TestRelay(t, header, plain(port));
  await until(() => first.ends.length === 1);
  assert.deepEqual(first.ends, [{ code: STATUS.ABORTED, message: 'peer replaced' }]);
  gateway.table.allow('key a', undefined);
  await until(() => second.ends.length === 1);
  assert.deepEqual(second.ends, [{ code: STATUS.PERMISSION_DENIED, message: 'peer not allowed' }]);
  const third = new TestRelay(t, header, plain(port));
  await until(() => third.ends.length === 1);
});

test('a gateway that restarts is found again', async (t) => {
  const first = await startFront();
  const header = first.gateway.allow('a');
  const kit = new TestRelay(t, header, plain(first.port));
  await until(() => first.gateway.table.isOpen('key a') && kit.relay.isOpen);
  await first.front.close(new AbortController().signal);
  await until(() => !kit.relay.isOpen);
  kit.tick();
  const broken = kit.relay.counters.broken;
  await until(() => kit.relay.counters.broken === broken + 1);
  assert.deepEqual(kit.ends, []);
});

for (const scheme of ['http', 'https', 'socks5'] as const) {
  for (const isPlaintext of [true, false]) {
    test(`${isPlaintext ? 'plain' : 'TLS'}: streams pass an ${scheme} proxy, which resolves the name`, async (t) => {
      const front = await startFront(isPlaintext ? {} : { tls: CERTIFICATE });
      const proxy = await (scheme === 'socks5' ? socksProxy : httpProxy)({
        port: front.port,
        credentials: { username: 'me', password: 'p:w' },
        ...(scheme === 'https' ? { tls: CERTIFICATE } : {}),
      });
      t.after(async () => {
        await front.close();
        await proxy.close();
      });
      const header = front.gateway.allow('a');
      const target = { host: 'gateway.test', port: 443, isPlaintext };
      const kit = new TestRelay(t, header, target, {
        proxies: { httpsProxy: `${scheme}://me:p%3Aw@localhost:${proxy.port}` },
        ca: [CERTIFICATE.cert],
      });
      kit.send(1);
      await until(() => front.gateway.sink.received.length === 1);
      front.gateway.send(header, datagram(2));
      front.gateway.table.flush();
      await until(() => kit.sink.received.length === 1);
      assert.deepEqual(proxy.requests, ['gateway.test:443 me:p:w']);
    });
  }
}

const never = new AbortController().signal;
const viaHttp = (port: number, userinfo = ''): DialOptions => ({
  proxies: { httpsProxy: `http://${userinfo}localhost:${port}` },
});

test('a proxy that refuses is named, with its reason and what to do', async (t) => {
  const cases: [string | Uint8Array, 'http' | 'socks5', RegExp][] = [
    ['HTTP/1.1 403 Forbidden\r\n\r\n', 'http', /refused gateway\.test:443: 403 Forbidden/],
    ['HTTP/1.1 407 Auth\r\n\r\n', 'http', /407/],
    ['SSH-2.0-x\r\n\r\n', 'http', /does not speak HTTP/],
    ['', 'http', /closed the connection/],
    ['x'.repeat(40_000), 'http', /endless/],
    [Uint8Array.of(4, 0), 'socks5', /does not speak SOCKS5/],
    [Uint8Array.of(5, 0xff), 'socks5', /wants authentication/],
    [Uint8Array.of(5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0), 'socks5', /connection not allowed by its rules/],
    [Uint8Array.of(5), 'socks5', /closed the connection/],
  ];
  for (const [answer, scheme, expected] of cases) {
    const proxy = await (scheme === 'http' ? httpProxy : socksProxy)({ port: 1, answer });
    t.after(() => proxy.close());
    const options = { proxies: { httpsProxy: `${scheme}://localhost:${proxy.port}` } };
    await assert.rejects(
      dial({ host: 'gateway.test', port: 443, isPlaintext: true }, options, never),
      (error: Error & { code?: string }) => {
        assert.match(error.message, new RegExp(`^proxy localhost port ${proxy.port} `));
        assert.match(error.message, expected);
        return error.code === 'io';
      },
    );
  }
});

test('bytes that a server sends right behind the proxy’s answer are not lost', async (t) => {
  const proxy = await httpProxy({ port: 1, answer: 'HTTP/1.1 200 OK\r\n\r\nearly', keepsOpen: true });
  t.after(() => proxy.close());
  const socket = await dial({ host: 'gateway.test', port: 1, isPlaintext: true }, viaHttp(proxy.port), never);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  assert.equal(chunk.toString(), 'early');
  socket.destroy();
});

test('wrong credentials are refused', async (t) => {
  const credentials = { username: 'me', password: 'right' };
  const http = await httpProxy({ port: 1, credentials });
  const socks = await socksProxy({ port: 1, credentials });
  t.after(async () => {
    await http.close();
    await socks.close();
  });
  const target = { host: 'gateway.test', port: 443, isPlaintext: true };
  await assert.rejects(dial(target, viaHttp(http.port, 'me:wrong@'), never), { message: /407/ });
  const options = { proxies: { httpsProxy: `socks5://me:wrong@localhost:${socks.port}` } };
  await assert.rejects(dial(target, options, never), { message: /refused user name and password/ });
});

test('certificates are checked, and a port that speaks no h2 is named as such', async (t) => {
  const { port, close } = await startFront({ tls: CERTIFICATE });
  const server = createTlsServer({ ...CERTIFICATE, ALPNProtocols: ['http/1.1'] });
  server.on('tlsClientError', () => {});
  const old = createTlsServer(CERTIFICATE);
  for (const each of [server, old]) {
    each.listen(0, '127.0.0.1');
    await once(each, 'listening');
  }
  t.after(async () => {
    await close();
    server.close();
    old.close();
  });
  const trusting = { ...DIRECT, ca: [CERTIFICATE.cert] };
  await assert.rejects(dial(secure(port), { ...DIRECT, ca: [OTHER_CERTIFICATE.cert] }, never), {
    code: 'io',
  });
  await assert.rejects(dial(secure(port, '127.0.0.2'), trusting, never), { message: /127\.0\.0\.2/ });
  (await dial(secure(port, '127.0.0.1'), trusting, never)).destroy();
  await assert.rejects(dial(secure((old.address() as AddressInfo).port), trusting, never), {
    code: 'protocol',
  });
  await assert.rejects(dial(secure((server.address() as AddressInfo).port), trusting, never), { code: 'io' });
});

test('dialling can be given up at every stage', async (t) => {
  const silent = createTcpServer(() => {});
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  for (const [target, options] of [
    [secure(port), DIRECT],
    [{ host: 'gateway.test', port: 443, isPlaintext: true }, viaHttp(port)],
    [
      { host: 'gateway.test', port: 443, isPlaintext: false },
      { proxies: { httpsProxy: `https://localhost:${port}` } },
    ],
  ] as const) {
    const abort = new AbortController();
    const connection = once(silent, 'connection');
    const dialled = dial(target, options, abort.signal);
    await connection;
    abort.abort(new Error('enough'));
    await assert.rejects(dialled, { message: /enough/ });
  }
  await assert.rejects(dial(plain(port), DIRECT, AbortSignal.abort(new Error('before'))), {
    message: /before/,
  });
  await assert.rejects(dial(plain(1), DIRECT, never), { message: /127\.0\.0\.1 port 1: .*ECONNREFUSED/ });
});

function call(target: DialTarget, nodeUuid: string, signal = never): Promise<ProvisionResponse> {
  return callProvision(target, { nodeUuid, nodePublicKey: 'k' }, DIRECT, signal);
}

test('a unary call has its answer, its status or its deadline', async (t) => {
  const { port, hanging, close } = await startFront();
  t.after(close);
  assert.equal((await call(plain(port), 'u')).serverPublicKey, 'u');
  await assert.rejects(call(plain(port), 'refuse'), (error: unknown) => {
    assert.ok(error instanceof GrpcError);
    assert.deepEqual(error.status, { code: STATUS.PERMISSION_DENIED, message: 'unauthorized' });
    return true;
  });
  const abort = new AbortController();
  const late = call(plain(port), 'hang', abort.signal);
  await until(() => hanging.count === 1);
  abort.abort();
  await assert.rejects(
    late,
    (error: unknown) => (error as GrpcError).status.code === STATUS.DEADLINE_EXCEEDED,
  );
});

test('what is no gRPC service is told apart', async (t) => {
  const server = createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    stream.resume();
    stream.respond({ ':status': 502, 'content-type': 'text/html' });
    stream.end('<html>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  await assert.rejects(call(plain(port), 'u'), (error: unknown) => {
    assert.deepEqual((error as GrpcError).status, {
      code: STATUS.UNAVAILABLE,
      message: 'unexpected HTTP status 502',
    });
    return true;
  });
});
