// The log receiver and the event sink, as machines see them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { EventSinkServiceClient } from '../../../src/gen/events/events.ts';
import { addEventSinkService, EventSink } from '../../../src/link/event-sink.ts';
import { STATUS } from '../../../src/link/grpc-status.ts';
import {
  type Entry,
  type EntryKind,
  Followers,
  type Journal,
  type NewEntry,
} from '../../../src/link/journal.ts';
import { readLogLine } from '../../../src/link/log-line.ts';
import { LogReceiver, LogServer, MAX_LINE_LENGTH } from '../../../src/link/log-receiver.ts';
import { Registry } from '../../../src/link/registry.ts';
import { registrySources, type Source, type SourceResolver } from '../../../src/link/source.ts';
import { EMPTY_CONTENTS } from '../../../src/link/store.ts';
import type { RateLimit } from '../../../src/link/token-bucket.ts';
import { machineRecord, pendingRecord } from '../../contracts/store.ts';
import { FakeClock } from '../../kit/clock.ts';
import { until } from '../../kit/until.ts';

class FakeJournal implements Journal {
  readonly entries: NewEntry[] = [];
  flushed = 0;
  append(entry: NewEntry): void {
    this.entries.push(entry);
  }
  flush(): void {
    this.flushed = this.entries.length;
  }
  tail(_machine: string, _kind: EntryKind): readonly Entry[] {
    return [];
  }
  forget(): void {}
  sweep(): void {}
  close(): void {}
}

const MACHINE: Source = { kind: 'machine', id: 'm' };

function logKit(resolve: SourceResolver = () => MACHINE, rateLimit?: RateLimit) {
  const journal = new FakeJournal();
  const clock = new FakeClock();
  const followers = new Followers();
  const receiver = new LogReceiver({ clock, journal, followers, resolve, rateLimit });
  return { journal, clock, followers, receiver };
}

async function listen(
  t: TestContext,
  receiver: LogReceiver,
): Promise<{ server: LogServer; open: () => Socket }> {
  const server = new LogServer(receiver);
  const { port } = await server.listen('127.0.0.1', 0);
  const sockets: Socket[] = [];
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await server.close();
  });
  const open = () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    sockets.push(socket);
    return socket;
  };
  return { server, open };
}

test('lines are kept as they came, JSON or not, with the machine and the time of arrival', async (t) => {
  const { journal, clock, receiver } = logKit();
  const { open } = await listen(t, receiver);
  const socket = open();
  socket.write('{"msg":"a","talos-level":"info"}\nnot json\n\n   \n{"msg":');
  socket.end('"b"}');
  await until(() => journal.entries.length === 3);
  assert.deepEqual(journal.entries, [
    { machine: 'm', kind: 'log', atMs: clock.wall(), body: '{"msg":"a","talos-level":"info"}' },
    { machine: 'm', kind: 'log', atMs: clock.wall(), body: 'not json' },
    { machine: 'm', kind: 'log', atMs: clock.wall(), body: '{"msg":"b"}' },
  ]);
  assert.equal(receiver.counters.ingestedBytes, 32 + 8 + 11);
});

test('a line of 64 KiB is kept; a longer one is counted and the connection goes on', async (t) => {
  const { journal, receiver } = logKit();
  const { open } = await listen(t, receiver);
  open().write(`${'x'.repeat(MAX_LINE_LENGTH)}\n${'y'.repeat(MAX_LINE_LENGTH + 1)}\nz\n`);
  await until(() => journal.entries.length === 2);
  assert.deepEqual(
    journal.entries.map(({ body }) => body.length),
    [MAX_LINE_LENGTH, 1],
  );
  assert.equal(receiver.counters.droppedBytes.oversize, MAX_LINE_LENGTH + 1);
});

test('sources that are no machine, or wait, are closed at once', async (t) => {
  for (const source of [undefined, { kind: 'pending' } as const]) {
    const { journal, receiver } = logKit(() => source);
    const { open } = await listen(t, receiver);
    const socket = open();
    socket.resume();
    await new Promise((resolve) => socket.on('close', resolve));
    assert.equal(receiver.counters.refused, 1);
    receiver.datagram('fd00::1', Buffer.from('x'));
    assert.deepEqual(journal.entries, []);
  }
});

test('a datagram is one line', () => {
  const { journal, receiver } = logKit();
  receiver.datagram('fd00::1', Buffer.from('{"msg":"a"}\n'));
  receiver.datagram('fd00::1', new Uint8Array(MAX_LINE_LENGTH + 1));
  assert.deepEqual(
    journal.entries.map(({ body }) => body),
    ['{"msg":"a"}'],
  );
  assert.equal(receiver.counters.droppedBytes.oversize, MAX_LINE_LENGTH + 1);
});

test('each machine has its own limit: what exceeds it is dropped silently and counted by reason', () => {
  const sources = new Map<string, Source>([
    ['a', { kind: 'machine', id: 'a' }],
    ['b', { kind: 'machine', id: 'b' }],
  ]);
  const { journal, clock, receiver } = logKit((address) => sources.get(address), {
    perSecond: 10,
    burst: 20,
  });
  receiver.datagram('a', Buffer.from('x'.repeat(20)));
  receiver.datagram('a', Buffer.from('y'.repeat(5)));
  receiver.datagram('a', Buffer.from('z'.repeat(21)));
  receiver.datagram('b', Buffer.from('w'));
  assert.deepEqual(receiver.counters.droppedBytes, { rate_limit: 5, oversize: 21 });
  clock.tick(500);
  receiver.datagram('a', Buffer.from('y'.repeat(5)));
  assert.deepEqual(
    journal.entries.map(({ machine, body }) => machine + body.charAt(0)),
    ['ax', 'bw', 'ay'],
  );
});

test('of many connections of one machine the newest stay', async (t) => {
  const { receiver } = logKit();
  const { server, open } = await listen(t, receiver);
  const sockets: Socket[] = [];
  for (let n = 0; n < 6; n++) {
    const socket = open();
    await once(socket, 'connect');
    sockets.push(socket);
  }
  await until(() => sockets.filter(({ destroyed }) => destroyed).length === 2 && server.connections === 4);
  assert.deepEqual(
    sockets.map(({ destroyed }) => destroyed),
    [true, true, false, false, false, false],
  );
});

test('at the end senders are reset, since they never read', async () => {
  const { receiver } = logKit();
  const server = new LogServer(receiver);
  const { port } = await server.listen('127.0.0.1', 0);
  const socket = connect(port, '127.0.0.1');
  await until(() => server.connections === 1);
  const failed = once(socket, 'error');
  socket.resume();
  await server.close();
  assert.equal(((await failed) as [NodeJS.ErrnoException])[0].code, 'ECONNRESET');
});

test('followers hear of new lines', () => {
  const { followers, receiver } = logKit();
  let told = 0;
  followers.follow('m', 'log', () => told++);
  receiver.datagram('fd00::1', Buffer.from('x'));
  assert.equal(told, 1);
});

test('addresses lead to machines and waiting ones, in any spelling', () => {
  const registry = new Registry({
    ...EMPTY_CONTENTS,
    machines: [machineRecord('m', { nodeAddress: 'fd00::a:b' })],
    pending: [pendingRecord('p', { nodeAddress: 'fd00::c' })],
  });
  const resolve = registrySources(() => registry);
  assert.deepEqual(resolve('fd00:0:0::A:B'), MACHINE);
  assert.deepEqual(resolve('fd00::a:b%wg0'), MACHINE);
  assert.deepEqual(resolve('fd00::c'), { kind: 'pending' });
  assert.equal(resolve('fd00::d'), undefined);
  assert.equal(resolve('nonsense'), undefined);
});

test('a line of Talos is read for people, anything else is its own message', () => {
  const body =
    '{"facility":"kern","msg":"hello","talos-level":"warn","talos-time":"2026-01-01T00:00:00Z","seq":1}';
  assert.deepEqual(readLogLine(body), {
    time: '2026-01-01T00:00:00Z',
    level: 'warn',
    facility: 'kern',
    message: 'hello',
  });
  for (const other of ['plain', '[1]', 'null', '{"x":1}', '{"msg":5}']) {
    assert.deepEqual(readLogLine(other), { time: '', level: '', facility: '', message: other });
  }
});

function eventKit(
  resolve: SourceResolver = () => MACHINE,
  rateLimit: RateLimit = { perSecond: 100, burst: 100 },
) {
  const journal = new FakeJournal();
  const clock = new FakeClock();
  const followers = new Followers();
  return {
    journal,
    clock,
    followers,
    sink: new EventSink({ clock, journal, followers, resolve, rateLimit }),
  };
}

const event = (value: Uint8Array, typeUrl = 'talos/runtime/machine.MachineStatusEvent') => ({
  id: 'e1',
  actorId: 'actor',
  data: { typeUrl, value: Buffer.from(value) },
});

test('an event of any type is kept raw, its envelope readable, before it is acknowledged', () => {
  const { journal, clock, sink } = eventKit();
  assert.equal(sink.publish(event(Uint8Array.of(1, 2)), 'fd00::1'), undefined);
  assert.equal(sink.publish({ ...event(Uint8Array.of()), id: 'e2', data: undefined }, 'fd00::1'), undefined);
  assert.equal(journal.flushed, 2);
  assert.deepEqual(journal.entries[0], {
    machine: 'm',
    kind: 'event',
    atMs: clock.wall(),
    id: 'e1',
    body: '{"id":"e1","actorId":"actor","type":"machine.MachineStatusEvent","value":"AQI="}',
  });
  assert.equal(JSON.parse(journal.entries[1]?.body ?? '').type, '');
});

test('an event without an id is kept every time', () => {
  const { journal, sink } = eventKit();
  sink.publish({ ...event(Uint8Array.of(1)), id: '' }, 'fd00::1');
  assert.equal(journal.entries[0]?.id, undefined);
});

test('only what may succeed later is refused: one event that fails blocks all later ones of a machine', () => {
  const waiting = eventKit(() => ({ kind: 'pending' }));
  assert.equal(waiting.sink.publish(event(Uint8Array.of()), 'x')?.code, STATUS.UNAVAILABLE);
  const unknown = eventKit(() => undefined);
  assert.equal(unknown.sink.publish(event(Uint8Array.of()), 'x'), undefined);
  assert.deepEqual(unknown.journal.entries, []);
  const large = eventKit();
  assert.equal(large.sink.publish(event(new Uint8Array(65_537)), 'x'), undefined);
  assert.deepEqual(large.sink.counters.dropped, { unknown_source: 0, oversize: 1 });
});

test('a machine that sends too many events is slowed down, not cut short', () => {
  const { clock, sink } = eventKit(undefined, { perSecond: 1, burst: 1 });
  assert.equal(sink.publish(event(Uint8Array.of()), 'x'), undefined);
  assert.equal(sink.publish(event(Uint8Array.of()), 'x')?.code, STATUS.RESOURCE_EXHAUSTED);
  clock.tick(1000);
  assert.equal(sink.publish(event(Uint8Array.of()), 'x'), undefined);
});

for (const host of ['127.0.0.1', '::1']) {
  test(`a stock client publishes over ${host}, which is the source that is looked up`, async (t) => {
    const sources: string[] = [];
    const { journal, sink } = eventKit((source) => {
      sources.push(source);
      return MACHINE;
    });
    const server = new Server();
    addEventSinkService(server, sink);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(
        host === '::1' ? '[::1]:0' : `${host}:0`,
        ServerCredentials.createInsecure(),
        (error, bound) => (error ? reject(error) : resolve(bound)),
      );
    });
    const client = new EventSinkServiceClient(
      host === '::1' ? `[::1]:${port}` : `${host}:${port}`,
      credentials.createInsecure(),
    );
    t.after(() => {
      client.close();
      server.forceShutdown();
    });
    await new Promise<void>((resolve, reject) => {
      client.publish(event(Uint8Array.of(5)), (error) => (error ? reject(error) : resolve()));
    });
    assert.deepEqual(sources, [host]);
    assert.equal(journal.entries.length, 1);
  });
}

test('a machine that opens a thousand connections at once keeps four', async (t) => {
  const { receiver, journal } = logKit();
  const { server, open } = await listen(t, receiver);
  const sockets = Array.from({ length: 1_000 }, () => open());
  await Promise.all(
    sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve).once('connect', resolve))),
  );
  await until(() => sockets.filter((socket) => !socket.destroyed).length === 4);
  assert.equal(server.connections, 4);
  for (const socket of sockets) if (!socket.destroyed) socket.write('still here\n');
  await until(() => journal.entries.length === 4);
});

test('lines without end, at the longest or of anything but JSON cost a machine its own memory and no more', async (t) => {
  const { receiver, journal, clock } = logKit(() => MACHINE, { perSecond: 256 * 1024, burst: 1024 * 1024 });
  const { open } = await listen(t, receiver);
  const [endless, longest, nonsense] = [open(), open(), open()];
  const write = async (socket: Socket, bytes: Buffer) => {
    if (!socket.write(bytes)) await once(socket, 'drain');
  };
  const before = process.memoryUsage.rss();
  const longLine = Buffer.concat([Buffer.alloc(MAX_LINE_LENGTH, 0x61), Buffer.of(0x0a)]);
  for (let n = 0; n < 500; n++) {
    await write(endless, Buffer.alloc(64 * 1024, 0x62));
    await write(longest, longLine);
    await write(nonsense, Buffer.from('{"msg":\u0000]]}\n'.repeat(100)));
  }
  endless.end();
  await until(() => receiver.counters.droppedBytes.oversize === 500 * 64 * 1024);
  await until(() => receiver.counters.droppedBytes.rate_limit > 0);
  const kept = journal.entries.reduce((total, { body }) => total + body.length, 0);
  assert.ok(kept <= 1024 * 1024, `${kept} bytes in no time`);
  assert.ok(process.memoryUsage.rss() - before < 128 * 1024 * 1024);
  clock.tick(1_000);
  const entries = journal.entries.length;
  longest.write('after\n');
  await until(() => journal.entries.length > entries && journal.entries.at(-1)?.body === 'after');
});
