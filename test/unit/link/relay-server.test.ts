// `culvert relay` on the wire: UDP clients, streams to a gateway, a UDP server behind it.
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { MAX_CLIENTS, RelayClient } from '../../../src/app/relay/relay-client.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { STATUS } from '../../../src/link/grpc-status.ts';
import { Http2Dialer } from '../../../src/link/http2-dialer.ts';
import {
  parseRelayTarget,
  RELAY_PATH,
  RELAY_TOKEN_HEADER,
  RelayServer,
  type RelayServerOptions,
} from '../../../src/link/relay-server.ts';
import { parseRelayUrl } from '../../../src/link/relay-url.ts';
import { FakeClock } from '../../kit/clock.ts';
import { seededRandom } from '../../kit/random.ts';
import { until } from '../../kit/until.ts';
import { startFront } from './front-kit.ts';
import { datagram, FakeCarrier, framed, numberOf } from './stream-kit.ts';

const TOKEN = 'sixteen or more characters';

/** A UDP socket that keeps what it hears, and from which port. */
async function udp(
  t: TestContext,
): Promise<{ socket: Socket; port: number; heard: { n: number; port: number }[] }> {
  const socket = createSocket('udp4');
  const heard: { n: number; port: number }[] = [];
  socket.on('message', (bytes, { port }) => heard.push({ n: numberOf(bytes), port }));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.after(() => socket.close());
  return { socket, port: socket.address().port, heard };
}

function relayServer(port: number, more: Partial<RelayServerOptions> = {}): RelayServer {
  return new RelayServer({
    token: TOKEN,
    target: { host: '127.0.0.1', port },
    clock: new FakeClock(),
    logger: silentLogger,
    ...more,
  });
}

async function relayClient(t: TestContext, port: number, token = TOKEN): Promise<RelayClient> {
  const client = await RelayClient.open({
    host: '127.0.0.1',
    port: 0,
    dialer: new Http2Dialer(
      { host: '127.0.0.1', port, isPlaintext: true },
      { path: RELAY_PATH, metadata: { [RELAY_TOKEN_HEADER]: token } },
      { proxies: {} },
    ),
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  t.after(() => client.close());
  return client;
}

test('each client reaches the server behind the gateway from a port of its own, and hears its answers', async (t) => {
  const server = await udp(t);
  const relay = relayServer(server.port);
  const front = await startFront({ relay });
  t.after(front.close);
  const client = await relayClient(t, front.port);
  const [one, two] = [await udp(t), await udp(t)];
  one.socket.send(datagram(1), client.port, '127.0.0.1');
  two.socket.send(datagram(2), client.port, '127.0.0.1');
  await until(() => server.heard.length === 2);
  assert.deepEqual(
    server.heard.map(({ n }) => n).toSorted((a, b) => a - b),
    [1, 2],
  );
  assert.notEqual(server.heard[0]?.port, server.heard[1]?.port);
  for (const { n, port } of server.heard) server.socket.send(datagram(10 * n), port, '127.0.0.1');
  await until(() => one.heard.length === 1 && two.heard.length === 1);
  assert.deepEqual(
    [one.heard[0], two.heard[0]],
    [
      { n: 10, port: client.port },
      { n: 20, port: client.port },
    ],
  );
  assert.deepEqual([relay.openStreams, client.clients.length], [2, 2]);
  assert.equal(relay.counters.rxDatagrams, 2);
  assert.equal(relay.counters.txDatagrams, 2);
});

test('what is no WireGuard message passes in neither direction', async (t) => {
  const server = await udp(t);
  const relay = relayServer(server.port);
  const front = await startFront({ relay });
  t.after(front.close);
  const client = await relayClient(t, front.port);
  const one = await udp(t);
  one.socket.send('GET / HTTP/1.1', client.port, '127.0.0.1');
  one.socket.send(datagram(1), client.port, '127.0.0.1');
  await until(() => server.heard.length === 1);
  const { port } = server.heard[0] as { port: number };
  server.socket.send('hello', port, '127.0.0.1');
  server.socket.send(datagram(2), port, '127.0.0.1');
  await until(() => one.heard.length === 1);
  assert.deepEqual([client.counters.refused, relay.counters.notWireguard], [1, 1]);
  assert.equal(one.heard[0]?.n, 2);
});

test('a wrong token opens nothing', async (t) => {
  const server = await udp(t);
  const relay = relayServer(server.port);
  for (const token of [undefined, '', TOKEN.slice(1), `${TOKEN}x`]) {
    assert.deepEqual(relay.open(token, new FakeCarrier()), {
      code: STATUS.UNAUTHENTICATED,
      message: 'the relay token is not the right one',
    });
  }
  const front = await startFront({ relay });
  t.after(front.close);
  const client = await relayClient(t, front.port, 'not the token at all');
  const one = await udp(t);
  one.socket.send(datagram(1), client.port, '127.0.0.1');
  await until(() => (client.clients[0]?.broken ?? 0) > 0);
  assert.deepEqual([relay.openStreams, server.heard], [0, []]);
});

test('a gateway without a relay does not know the method', async (t) => {
  const front = await startFront();
  t.after(front.close);
  const client = await relayClient(t, front.port);
  const one = await udp(t);
  one.socket.send(datagram(1), client.port, '127.0.0.1');
  await until(() => (client.clients[0]?.broken ?? 0) > 0);
});

test('streams over which nothing passes are ended, others are not', async (t) => {
  const server = await udp(t);
  const clock = new FakeClock();
  const relay = relayServer(server.port, { clock });
  t.after(() => relay.close());
  const [idle, busy] = [new FakeCarrier(), new FakeCarrier()];
  relay.open(TOKEN, idle);
  const stream = relay.open(TOKEN, busy);
  assert.ok('receive' in stream);
  clock.tick(299_999);
  stream.receive(framed(datagram(1)));
  relay.check();
  assert.equal(relay.openStreams, 2);
  clock.tick(1);
  relay.check();
  assert.deepEqual([idle.status?.code, busy.status], [STATUS.CANCELLED, undefined]);
  assert.equal(relay.openStreams, 1);
});

test('streams are bounded, and all end when the gateway does', async (t) => {
  const server = await udp(t);
  const relay = relayServer(server.port);
  const carriers = Array.from({ length: 1_025 }, () => new FakeCarrier());
  const opened = carriers.map((carrier) => relay.open(TOKEN, carrier));
  assert.deepEqual(opened.at(-1), { code: STATUS.RESOURCE_EXHAUSTED, message: 'too many relayed clients' });
  assert.equal(relay.openStreams, 1_024);
  relay.close();
  assert.equal(relay.openStreams, 0);
  assert.equal(carriers[0]?.status?.code, STATUS.UNAVAILABLE);
});

test('datagrams that come before the socket is ready are not lost', async (t) => {
  const server = await udp(t);
  const relay = relayServer(server.port);
  t.after(() => relay.close());
  const stream = relay.open(TOKEN, new FakeCarrier());
  assert.ok('receive' in stream);
  for (const n of [1, 2, 3]) stream.receive(framed(datagram(n)));
  await until(() => server.heard.length === 3);
  assert.deepEqual(
    server.heard.map(({ n }) => n),
    [1, 2, 3],
  );
});

test('a broken message ends the stream', async (t) => {
  const server = await udp(t);
  const relay = relayServer(server.port);
  const carrier = new FakeCarrier();
  const stream = relay.open(TOKEN, carrier);
  assert.ok('receive' in stream);
  stream.receive(Uint8Array.of(9, 0, 0, 0, 0));
  assert.equal(carrier.status?.code, STATUS.INTERNAL);
  assert.equal(relay.openStreams, 0);
});

test('one client too many is refused', async (t) => {
  const server = await udp(t);
  const relay = relayServer(server.port);
  const front = await startFront({ relay });
  t.after(front.close);
  const client = await relayClient(t, front.port);
  for (let i = 0; i <= MAX_CLIENTS; i++) {
    const { socket } = await udp(t);
    socket.send(datagram(i), client.port, '127.0.0.1');
    await until(() => client.clients.length + client.counters.refused === i + 1);
  }
  assert.deepEqual([client.clients.length, client.counters.refused], [MAX_CLIENTS, 1]);
});

test('a token that can be guessed is refused', () => {
  assert.throws(() => relayServer(1, { token: 'fifteen letters' }), { code: 'config' });
});

test('targets and URLs are read, and wrong ones named', () => {
  assert.deepEqual(parseRelayTarget('udp://10.0.0.1:51820', '--relay-to'), {
    host: '10.0.0.1',
    port: 51_820,
  });
  assert.deepEqual(parseRelayTarget('udp://[fd00::1]:1/', '--relay-to'), { host: 'fd00::1', port: 1 });
  for (const text of [
    '10.0.0.1:1',
    'tcp://a:1',
    'udp://a',
    'udp://a:0',
    'udp://a:65536',
    'udp://:1',
    'udp://a:1/x',
  ]) {
    assert.throws(() => parseRelayTarget(text, '--relay-to'), { code: 'usage' }, text);
  }
  assert.deepEqual(parseRelayUrl('https://gateway.example/?token=a%2Bb', '--to'), {
    isPlaintext: false,
    host: 'gateway.example',
    port: 443,
    token: 'a+b',
  });
  for (const [url, message] of [
    ['https://gateway.example/', /^--to: has no token$/],
    ['https://gateway.example/?jointoken=x', /unknown query parameter "jointoken"/],
    ['http://gateway.example/?token=x', /scheme must be/],
    ['grpc://gateway.example/?token=x', /has no port/],
  ] as const) {
    assert.throws(() => parseRelayUrl(url, '--to'), { code: 'config', message });
  }
});
