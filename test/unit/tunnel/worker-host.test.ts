import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
// Before what starts lanes.
import { killLanes } from '../../kit/lane-killer.ts';
import { Arena } from '../../../src/core/arena.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { hasLibc } from '../../../src/sys/libc.ts';
import { fdWatcher } from '../../../src/sys/readiness.ts';
import { UdpSocket } from '../../../src/sys/udp-socket.ts';
import { ACTIVITY, type LaneEvents } from '../../../src/tunnel/lane/control.ts';
import { ENDPOINT, encodeEndpoint } from '../../../src/tunnel/endpoint.ts';
import type { StreamBridge } from '../../../src/tunnel/stream-bridge.ts';
import { createWorkerHost } from '../../../src/tunnel/lane/worker-host.ts';
import { createWorkerPair } from '../../../src/tunnel/lane/worker-pair.ts';
import { eventually } from '../../kit/eventually.ts';
import { virtualEndpoint } from '../../kit/streams.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs 64-bit Linux';

const HOSTS = [
  ['worker host', createWorkerHost],
  ['worker pair', createWorkerPair],
] as const;

type Create = (typeof HOSTS)[number][1];

/** A host without TUN and sockets; what it reports is awaited by name. */
function startHost(
  create: Create,
  after: (ms: number, task: () => void) => void = (_ms, task) => setImmediate(task),
) {
  const reports: unknown[][] = [];
  let wake = () => {};
  const report = (...report: unknown[]): void => {
    reports.push(report);
    wake();
  };
  const events: LaneEvents = {
    handshake: (...args) => report('handshake', ...args),
    activity: (peer, bits) => report('activity', peer, bits),
    confirmed: (...args) => report('confirmed', ...args),
    roamed: (...args) => report('roamed', ...args),
  };
  const host = create(
    {
      arena: new Arena({ bytes: 32 << 20, shared: true }),
      tunFd: -1,
      tunFormat: 'plain',
      aead: 'wasm',
      longestText: 1440,
      gso: true,
      gro: true,
      streams: { soon: queueMicrotask, defer: setImmediate },
      watcher: fdWatcher,
      clock: systemClock,
      // A thread that died is replaced without delay here.
      after,
      onRestart: (cause) => report('restarted', cause.message),
    },
    events,
  );
  const next = async (): Promise<unknown[]> => {
    while (reports.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return reports.shift() as unknown[];
  };
  const streams = host.streams ?? assert.fail('no streams');
  return { host, next, report, streams };
}

/** Tries until the thread has made room, which it has not before it runs. */
async function deliver(bridge: StreamBridge, endpoint: Uint8Array, datagram: Uint8Array): Promise<void> {
  while (!bridge.deliver(endpoint, datagram, 0, datagram.length)) {
    await new Promise<void>((resolve) => {
      bridge.connect({ send: () => {}, flush: () => {}, pull: resolve });
    });
  }
}

function initiation(fill: number): Uint8Array {
  return new Uint8Array(148).fill(fill).fill(0, 1, 4).fill(1, 0, 1);
}

/** Of a virtual address. */
function streamRecord(): Uint8Array {
  const record = new Uint8Array(ENDPOINT.size);
  encodeEndpoint(virtualEndpoint('fdae::1'), record, 0);
  return record;
}

for (const [name, create] of HOSTS) {
  test(`${name}: commands reach the lane in its thread, events come back`, { skip }, async () => {
    const { host, next } = startHost(create);
    host.addPeer(7);
    host.sendKeepalive(7);
    assert.deepEqual(await next(), ['activity', 7, ACTIVITY.needsSession]);
    await host.close();
  });

  test(`${name}: more commands than fit between the threads all arrive, in order`, { skip }, async () => {
    const { host, next } = startHost(create);
    const peers = 10_000;
    for (let peer = 1; peer <= peers; peer++) {
      host.addPeer(peer);
      host.setEndpoint(peer, streamRecord());
    }
    host.removePeer(1);
    host.sendKeepalive(1);
    host.sendKeepalive(peers);
    assert.deepEqual(await next(), ['activity', peers, ACTIVITY.needsSession]);
    await host.close();
  });

  test(`${name}: sockets are handed over before the promise resolves`, { skip }, async () => {
    const { host } = startHost(create);
    await host.useSockets(-1, -1);
    await host.close();
  });

  test(`${name}: a thread that dies is reported and replaced, and the new one works`, { skip }, async () => {
    const { host, next } = startHost(create);
    host.addPeer(7);
    host.setBandwidth(null as never);
    const [event, cause] = await next();
    assert.equal(event, 'restarted');
    assert.match(String(cause), /null/);
    host.addPeer(8);
    host.sendKeepalive(8);
    assert.deepEqual(await next(), ['activity', 8, ACTIVITY.needsSession]);
    await host.close();
  });

  test(`${name}: sockets asked for while the thread is dead do not wait for ever`, { skip }, async () => {
    const { host, next } = startHost(create);
    host.setBandwidth(null as never);
    const asked = host.useSockets(-1, -1);
    assert.equal((await next())[0], 'restarted');
    await asked;
    await host.close();
  });

  test(`${name}: it can be closed while its thread is dead`, { skip }, async () => {
    let died = (): void => {};
    const death = new Promise<void>((resolve) => (died = resolve));
    const { host } = startHost(create, () => died());
    host.setBandwidth(null as never);
    await death;
    await host.close();
  });

  test(`${name}: session keys given by the caller stay as they are`, { skip }, async () => {
    const { host } = startHost(create);
    const sendKey = new Uint8Array(32).fill(1);
    host.addPeer(1);
    const init = {
      peer: 1,
      index: 5,
      remoteIndex: 6,
      receiveKey: new Uint8Array(32),
      isInitiator: true,
      createdAtMs: 0,
    };
    host.addKeypair({ ...init, sendKey });
    await Promise.resolve();
    assert.ok(
      sendKey.every((byte) => byte === 1),
      'the caller keeps its own array',
    );
    await host.close();
  });

  test(`${name}: datagrams of streams reach the lane, and come back from it`, { skip }, async () => {
    const { host, next, streams } = startHost(create);
    const record = streamRecord();
    await deliver(streams, record, initiation(7));
    assert.deepEqual(await next(), ['handshake', initiation(7), record]);

    const sent = new Promise((resolve) => {
      streams.connect({
        send: (endpoint, endpointAt, bytes, at, length) =>
          resolve([endpoint.slice(endpointAt, endpointAt + ENDPOINT.size), bytes.slice(at, at + length)]),
        flush: () => {},
        pull: () => {},
      });
    });
    host.addPeer(7);
    host.setEndpoint(7, record);
    host.sendHandshake(7, initiation(8));
    assert.deepEqual(await sent, [record, initiation(8)]);
    await host.close();
  });

  test(`${name}: what waited for a thread that died is not read by its successor`, { skip }, async () => {
    const { host, next, streams } = startHost(create);
    const record = streamRecord();
    await deliver(streams, record, initiation(1));
    await next();
    host.setBandwidth(null as never);
    // Into the rings of the old thread, which dies of the command before.
    await Promise.resolve();
    for (let i = 0; i < 100; i++) streams.deliver(record, initiation(2), 0, 148);
    const seen = [];
    for (let event = await next(); event[0] !== 'restarted'; event = await next()) seen.push(event);
    await deliver(streams, record, initiation(3));
    assert.deepEqual(await next(), ['handshake', initiation(3), record]);
    await host.close();
    assert.ok(seen.every(([name]) => name === 'handshake'));
  });

  test(`${name}: more than the rings hold is refused, and asked for again`, { skip }, async () => {
    const { host, next, streams } = startHost(create);
    const record = streamRecord();
    await deliver(streams, record, initiation(1));
    await next();
    const garbage = new Uint8Array(60_000).fill(4, 0, 1);
    let isAsked = false;
    const asked = new Promise<void>((resolve) => {
      const pull = () => {
        isAsked = true;
        resolve();
      };
      streams.connect({ send: () => {}, flush: () => {}, pull });
    });
    let delivered = 0;
    while (streams.deliver(record, garbage, 0, garbage.length)) delivered++;
    assert.ok(delivered >= 14, `${delivered}`);
    assert.equal(isAsked, false);
    await asked;
    assert.ok(streams.deliver(record, garbage, 0, garbage.length));
    await host.close();
  });

  test(
    `${name}: figures of the lane cross by memory, those of a dead thread are not shown`,
    { skip },
    async () => {
      const { host, next, streams } = startHost(create);
      const record = streamRecord();
      await deliver(streams, record, initiation(1));
      await next();
      assert.equal(host.figures().handshakesInFlight, 0);
      assert.equal(host.longestShort(), undefined);
      // To nobody: there are no sockets.
      const udp = new Uint8Array(ENDPOINT.size);
      encodeEndpoint({ ...virtualEndpoint('fdae::1'), carrier: 0 }, udp, 0);
      host.addPeer(7);
      host.setEndpoint(7, udp);
      host.sendHandshake(7, initiation(2));
      await eventually('it is counted', () => host.figures().sendErrors.unreachable === 1);
      assert.equal(host.figures().usesGso, true);
      // The event loop has not had its turn: these are on their way.
      const flood = initiation(3);
      for (let i = 0; i < 3; i++) streams.deliver(record, flood, 0, flood.length);
      await Promise.resolve();
      const end = systemClock.now() + 5_000;
      while (host.figures().handshakesInFlight !== 3 && systemClock.now() < end);
      assert.equal(host.figures().handshakesInFlight, 3);
      for (let i = 0; i < 3; i++) assert.equal((await next())[0], 'handshake');
      assert.equal(host.figures().handshakesInFlight, 0);
      host.setBandwidth(null as never);
      assert.equal((await next())[0], 'restarted');
      assert.equal(host.figures().sendErrors.unreachable, 0);
      await host.close();
    },
  );
}

for (const direction of ['out', 'in']) {
  test(
    `worker pair: of a thread that dies (${direction}) there is one report, and both lanes begin anew`,
    { skip },
    async () => {
      const { host, next, streams } = startHost(createWorkerPair);
      const record = streamRecord();
      host.addPeer(7);
      host.sendKeepalive(7);
      assert.deepEqual(await next(), ['activity', 7, ACTIVITY.needsSession]);
      await deliver(streams, record, initiation(1));
      assert.deepEqual(await next(), ['handshake', initiation(1), record]);
      const before = host.threads();
      assert.equal(new Set(before).size, 2);

      killLanes(direction);
      // It dies when it wakes.
      host.clearSource(0);
      assert.equal((await next())[0], 'restarted');
      // Neither knows the peer, whichever of them died.
      host.sendKeepalive(7);
      host.addPeer(8);
      host.sendKeepalive(8);
      assert.deepEqual(await next(), ['activity', 8, ACTIVITY.needsSession]);
      await deliver(streams, record, initiation(2));
      assert.deepEqual(await next(), ['handshake', initiation(2), record]);
      assert.equal(new Set([...before, ...host.threads()]).size, 4);
      await host.close();
    },
  );
}

test(
  'worker host: what came by new sockets is told when those who wait for them have been',
  { skip },
  async () => {
    const { host, next, report } = startHost(createWorkerHost);
    await host.useSockets(-1, -1);
    const socket = new UdpSocket(4, 0);
    const sender = createSocket('udp4');
    await new Promise((resolve) => sender.send(initiation(1), socket.port, '127.0.0.1', resolve));
    void host.useSockets(socket.fd, -1).then(() => report('used'));
    // No turn of the event loop: both are on their way.
    const end = systemClock.now() + 5_000;
    while (host.figures().handshakesInFlight !== 1 && systemClock.now() < end);
    assert.deepEqual([(await next())[0], (await next())[0]], ['used', 'handshake']);
    await host.useSockets(-1, -1);
    await host.close();
    sender.close();
    socket.close();
  },
);

test(
  'worker pair: sockets asked for are in use by both threads, or by none that lives',
  { skip },
  async () => {
    const { host, next } = startHost(createWorkerPair);
    await host.useSockets(-1, -1);
    killLanes('in');
    host.clearSource(0);
    const asked = host.useSockets(-1, -1);
    assert.equal((await next())[0], 'restarted');
    await asked;
    await host.useSockets(-1, -1);
    await host.close();
    await host.close();
  },
);
