import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSocketAddress, type SocketAddress } from '../../../src/core/ip.ts';
import { STATUS, type Status } from '../../../src/link/grpc-status.ts';
import { DATA_PLACES } from '../../../src/link/packet-queue.ts';
import { Relay } from '../../../src/link/relay.ts';
import type {
  DialedStream,
  StreamDialer,
  StreamEvents,
  StreamRequest,
} from '../../../src/link/relay-lane.ts';
import { MIN_IN_FLIGHT } from '../../../src/link/in-flight.ts';
import { FakeClock } from '../../kit/clock.ts';
import { seededRandom } from '../../kit/random.ts';
import { datagram, endpointOf, FakeSink, framed, numberOf, unframer } from './stream-kit.ts';

class FakeStream implements DialedStream {
  readonly request: StreamRequest;
  readonly events: StreamEvents;
  readonly #out = unframer();
  isClosed = false;
  isFast = true;
  pings = 0;

  constructor(request: StreamRequest, events: StreamEvents) {
    this.request = request;
    this.events = events;
  }

  write(chunk: Uint8Array): void {
    assert.ok(!this.isClosed, 'written after close');
    this.#out.push(chunk);
    if (this.isFast) this.events.written();
  }

  isPaused = false;
  setPaused(isPaused: boolean): void {
    this.isPaused = isPaused;
  }

  ping(): void {
    this.pings++;
  }

  close(): void {
    this.isClosed = true;
  }

  get numbers(): number[] {
    return this.#out.datagrams.map(numberOf);
  }
}

const ENDPOINT = parseSocketAddress(endpointOf('a')) as SocketAddress;
const BROKEN: Status = { code: STATUS.UNAVAILABLE, message: 'connection reset' };

class TestRelay implements StreamDialer {
  readonly clock = new FakeClock();
  readonly sink = new FakeSink();
  readonly streams: FakeStream[] = [];
  readonly ends: Status[] = [];
  readonly relay: Relay;

  constructor(lanes = 1, seed = 1) {
    this.relay = new Relay({
      dialer: this,
      sink: this.sink,
      clock: this.clock,
      random: seededRandom(seed),
      endpoint: ENDPOINT,
      lanes,
      onEnd: (status) => this.ends.push(status),
    });
    this.relay.start();
  }

  open(request: StreamRequest, events: StreamEvents): DialedStream {
    const stream = new FakeStream(request, events);
    this.streams.push(stream);
    return stream;
  }

  get last(): FakeStream {
    return this.streams.at(-1) as FakeStream;
  }

  /** The newest stream connects. */
  connect(): FakeStream {
    this.last.events.connected();
    return this.last;
  }

  send(n: number, size = 64, type = 4, flow = 0): void {
    const bytes = datagram(n, size, type);
    this.relay.send(bytes, 0, bytes.length, flow);
    this.relay.flush();
  }

  tick(ms: number): void {
    this.clock.tick(ms);
    this.relay.advance(this.clock.now());
  }

  /** Lets time pass until the next deadline; returns how much. */
  untilNext(): number {
    const ms = this.relay.nextDeadline - this.clock.now();
    this.tick(ms);
    return ms;
  }
}

test('a stock stream is opened at the start, without metadata of ours', () => {
  const kit = new TestRelay();
  assert.equal(kit.streams.length, 1);
  assert.equal(kit.last.request.lane, undefined);
  assert.ok(!kit.relay.isOpen);
  kit.connect();
  assert.ok(kit.relay.isOpen);
});

test('datagrams go both ways, without waiting for the gateway to answer first', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  kit.send(1);
  assert.deepEqual(stream.numbers, [1]);
  stream.events.received(framed(datagram(2)));
  assert.deepEqual(
    kit.sink.received.map(({ from, bytes }) => [from, bytes]),
    [[endpointOf('a'), datagram(2)]],
  );
});

test('what is sent before the stream is there goes out when it is, handshakes first', () => {
  const kit = new TestRelay();
  kit.send(1);
  kit.send(2, 148, 1);
  assert.deepEqual(kit.connect().numbers, [2, 1]);
});

test('a broken stream is opened again within a second, at a time drawn by lot, and not with the next datagram', () => {
  const delays = Array.from({ length: 200 }, (_, seed) => {
    const kit = new TestRelay(1, seed);
    kit.connect();
    kit.tick(20_000);
    kit.last.events.closed(BROKEN);
    assert.equal(kit.streams.length, 1);
    const delay = kit.untilNext();
    assert.equal(kit.streams.length, 2);
    return delay;
  });
  assert.ok(delays.every((delay) => delay >= 0 && delay < 1000));
  for (let quarter = 0; quarter < 4; quarter++) {
    const inside = delays.filter((delay) => delay >= quarter * 250 && delay < (quarter + 1) * 250);
    assert.ok(inside.length > 25, `${inside.length} of 200 clients in quarter ${quarter}`);
  }
});

test('the packet in hand survives: what the broken stream had not sent goes out on the next one', () => {
  const kit = new TestRelay();
  const first = kit.connect();
  first.isFast = false;
  kit.send(1);
  kit.send(2);
  first.events.closed(BROKEN);
  kit.send(3);
  kit.untilNext();
  const second = kit.connect();
  assert.deepEqual(second.numbers, [1, 2, 3]);
  kit.send(4);
  assert.deepEqual(second.numbers, [1, 2, 3, 4]);
});

test('attempts that fail come at growing distances, up to ten seconds', () => {
  const kit = new TestRelay();
  const delays: number[] = [];
  for (let i = 0; i < 9; i++) {
    kit.last.events.closed(BROKEN);
    delays.push(kit.untilNext());
  }
  for (const [i, delay] of delays.entries()) {
    const bound = Math.min(10_000, 1000 * 2 ** i);
    assert.ok(delay <= bound && delay >= (i === 0 ? 0 : bound / 2), `${i}: ${delay}`);
  }
});

test('a stream that ends at once does not start the series anew, one that lasted does', () => {
  const kit = new TestRelay();
  for (let i = 0; i < 5; i++) {
    kit.connect();
    kit.tick(100);
    kit.last.events.closed(BROKEN);
    kit.untilNext();
  }
  kit.connect().events.closed(BROKEN);
  assert.ok(kit.untilNext() >= 5000);
  kit.connect();
  kit.tick(10_000);
  kit.last.events.closed(BROKEN);
  assert.ok(kit.untilNext() < 1000);
});

test('an attempt that takes 15 seconds is given up', () => {
  const kit = new TestRelay();
  const first = kit.last;
  kit.tick(14_999);
  assert.ok(!first.isClosed);
  kit.tick(1);
  assert.ok(first.isClosed);
  kit.untilNext();
  assert.equal(kit.streams.length, 2);
});

test('events of a stream that was given up are not heard any more', () => {
  const kit = new TestRelay();
  const first = kit.last;
  kit.tick(15_000);
  first.events.connected();
  first.events.received(framed(datagram(1)));
  first.events.closed(BROKEN);
  assert.ok(!kit.relay.isOpen);
  assert.deepEqual(kit.sink.received, []);
});

test('only the two statuses of the protocol end the relay, by code and text together', () => {
  const cases: [Status, boolean][] = [
    [{ code: STATUS.PERMISSION_DENIED, message: 'peer not allowed' }, true],
    [{ code: STATUS.ABORTED, message: 'peer replaced' }, true],
    [{ code: STATUS.PERMISSION_DENIED, message: 'forbidden by a proxy' }, false],
    [{ code: STATUS.ABORTED, message: '' }, false],
    [{ code: STATUS.UNAVAILABLE, message: 'peer not allowed' }, false],
    [{ code: STATUS.CANCELLED, message: 'context canceled' }, false],
    [{ code: STATUS.OK, message: '' }, false],
  ];
  for (const [status, isTerminal] of cases) {
    const kit = new TestRelay();
    kit.connect();
    kit.last.events.closed(status);
    assert.deepEqual(kit.ends, isTerminal ? [status] : [], JSON.stringify(status));
    assert.equal(kit.relay.nextDeadline === Infinity, isTerminal);
  }
});

test('a gateway that is silent for a minute is asked, and given up when it does not answer', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  kit.tick(30_000);
  stream.events.received(framed(datagram(1)));
  kit.tick(59_999);
  assert.equal(stream.pings, 0);
  kit.tick(1);
  assert.equal(stream.pings, 1);
  stream.events.alive();
  kit.tick(60_000);
  assert.equal(stream.pings, 2);
  kit.tick(14_999);
  assert.ok(kit.relay.isOpen);
  kit.tick(1);
  assert.ok(!kit.relay.isOpen && stream.isClosed);
});

test('data in place of an answer is an answer', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  kit.tick(60_000);
  stream.events.received(framed(datagram(1)));
  kit.tick(15_000);
  assert.ok(kit.relay.isOpen);
});

test('a line that is too slow costs a bounded queue, oldest data dropped', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  stream.isFast = false;
  for (let n = 0; n < 1000; n++) kit.send(n, 1312);
  assert.ok(stream.numbers.length * 1312 <= MIN_IN_FLIGHT + 16_384);
  assert.equal(kit.relay.counters.outboundFull, 1000 - stream.numbers.length - DATA_PLACES);
});

test('a device that is too slow costs a bounded queue', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  kit.sink.room = 0;
  for (let n = 0; n < 150; n++) stream.events.received(framed(datagram(n)));
  kit.sink.room = Infinity;
  kit.relay.pull();
  assert.deepEqual(
    kit.sink.numbers,
    Array.from({ length: DATA_PLACES }, (_, i) => 150 - DATA_PLACES + i),
  );
  assert.equal(kit.relay.counters.inboundFull, 150 - DATA_PLACES);
});

test('while the device has no room nothing is read', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  kit.sink.room = 0;
  for (let n = 0; n < 3; n++) stream.events.received(framed(datagram(n)));
  assert.ok(stream.isPaused);
  kit.sink.room = 2;
  kit.relay.pull();
  assert.ok(stream.isPaused);
  kit.sink.room = Infinity;
  kit.relay.pull();
  assert.ok(!stream.isPaused);
  assert.deepEqual(kit.sink.numbers, [0, 1, 2]);
});

test('a broken message ends the stream, something odd inside a good one does not', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  stream.events.received(framed(Uint8Array.of(1, 2, 3)));
  stream.events.received(Uint8Array.of(0, 0, 0, 0, 2, 0x12, 9));
  assert.ok(kit.relay.isOpen);
  assert.equal(kit.relay.counters.notWireguard, 2);
  stream.events.received(Uint8Array.of(1, 0, 0, 0, 0));
  assert.ok(!kit.relay.isOpen);
});

test('with a gateway of ours flows are spread over as many streams as both want', () => {
  const kit = new TestRelay(3);
  assert.equal(kit.last.request.lane, 0);
  kit.connect().events.accepted(4);
  assert.deepEqual(
    kit.streams.map(({ request }) => request.lane),
    [0, 1, 2],
  );
  for (const stream of kit.streams.slice(1)) stream.events.connected();
  for (let flow = 0; flow < 6; flow++) kit.send(flow, 64, 4, flow);
  assert.deepEqual(
    kit.streams.map(({ numbers }) => numbers),
    [
      [0, 3],
      [1, 4],
      [2, 5],
    ],
  );
});

test('with a stock gateway there is one stream, however many are wanted', () => {
  const kit = new TestRelay(4);
  kit.connect().events.accepted(1);
  kit.tick(15_000);
  assert.equal(kit.streams.length, 1);
});

test('further streams wait until the gateway of the first one has offered them again', () => {
  const kit = new TestRelay(2);
  kit.connect().events.accepted(4);
  const [first, second] = kit.streams as [FakeStream, FakeStream];
  second.events.connected();
  kit.tick(20_000);
  first.events.closed(BROKEN);
  second.events.closed(BROKEN);
  kit.tick(2_000);
  assert.deepEqual(
    kit.streams.slice(2).map(({ request }) => request.lane),
    [0],
  );
  kit.connect().events.accepted(1);
  kit.tick(14_000);
  assert.equal(kit.streams.length, 3);
});

test('a further stream that breaks is opened again while the first one is up, and its flows take another meanwhile', () => {
  const kit = new TestRelay(2);
  kit.connect().events.accepted(4);
  const [first, second] = kit.streams as [FakeStream, FakeStream];
  second.events.connected();
  kit.tick(20_000);
  second.events.closed(BROKEN);
  kit.send(1, 64, 4, 1);
  assert.deepEqual(first.numbers, [1]);
  kit.tick(1_000);
  assert.equal(kit.last.request.lane, 1);
  assert.equal(kit.streams.length, 3);
});

test('after close nothing happens any more', () => {
  const kit = new TestRelay();
  const stream = kit.connect();
  kit.relay.close();
  kit.relay.close();
  assert.ok(stream.isClosed);
  kit.send(1);
  stream.events.closed(BROKEN);
  assert.equal(kit.relay.nextDeadline, Infinity);
  assert.deepEqual(kit.ends, []);
});
