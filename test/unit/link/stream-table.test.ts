import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STATUS } from '../../../src/link/grpc-status.ts';
import { DATA_PLACES } from '../../../src/link/packet-queue.ts';
import { MIN_IN_FLIGHT } from '../../../src/link/in-flight.ts';
import { datagram, endpointOf, framed, TestTable } from './stream-kit.ts';

test('who may not open a stream, and the exact words', () => {
  const { table } = new TestTable();
  const opened = (header: string | undefined) =>
    table.open({ header, lane: 0 }, { write: () => {}, setPaused: () => {}, end: () => {} });
  assert.deepEqual(opened(undefined), {
    code: STATUS.UNKNOWN,
    message: 'failed to get peer address from context',
  });
  for (const header of ['', 'x', 'fdae::1', '[fdae::1]', '[fdae::1]:99999', '1.2.3.4']) {
    const status = opened(header);
    assert.ok('code' in status);
    assert.equal(status.code, STATUS.UNKNOWN);
    assert.ok(status.message.startsWith(`incorrect header value "${header}": `), status.message);
  }
  for (const header of [endpointOf('a'), '1.2.3.4:5']) {
    assert.deepEqual(opened(header), { code: STATUS.PERMISSION_DENIED, message: 'peer not allowed' });
  }
  assert.equal(table.counters.refused, 9);
});

test('while the gateway starts, an unknown address is a matter of time: Talos gives up for good otherwise', () => {
  const gateway = new TestTable(false);
  gateway.allow('a');
  assert.equal(gateway.refusal(endpointOf('b')).code, STATUS.UNAVAILABLE);
  gateway.open(endpointOf('a'));
  gateway.table.start();
  assert.equal(gateway.refusal(endpointOf('b')).code, STATUS.PERMISSION_DENIED);
});

test('datagrams go both ways, labelled with the virtual endpoint', () => {
  const gateway = new TestTable();
  const [a, b] = [gateway.allow('a'), gateway.allow('b')];
  const [streamA, streamB] = [gateway.open(a), gateway.open(b)];
  streamA.stream?.receive(framed(datagram(1)));
  streamB.stream?.receive(framed(datagram(2)));
  assert.deepEqual(
    gateway.sink.received.map(({ from, bytes }) => [from, bytes]),
    [
      [a, datagram(1)],
      [b, datagram(2)],
    ],
  );
  gateway.send(a, datagram(3));
  gateway.send(b, datagram(4, 148, 1));
  gateway.table.flush();
  assert.deepEqual([streamA.sentNumbers, streamB.sentNumbers], [[3], [4]]);
});

test('the port is part of the stream but not of the permission', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const other = header.replace('50889', '50888');
  const [first, second] = [gateway.open(header), gateway.open(other)];
  gateway.send(other, datagram(1));
  gateway.table.flush();
  assert.equal(first.status, undefined);
  assert.deepEqual([first.sentNumbers, second.sentNumbers], [[], [1]]);
  assert.equal(gateway.table.openStreams, 2);
});

test('one peer cannot open streams without end', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  for (let port = 1; port <= 4; port++) gateway.open(header.replace('50889', String(port)));
  assert.equal(gateway.refusal(header).code, STATUS.RESOURCE_EXHAUSTED);
  assert.equal(gateway.refusal(header.replace('50889', '1'), 4).code, STATUS.RESOURCE_EXHAUSTED);
  gateway.open(header.replace('50889', '1'));
});

test('one spelling of an address is as good as another', () => {
  const gateway = new TestTable();
  const first = gateway.open(gateway.allow('a'));
  gateway.open('[FDAE:41E4:649B:9304:0:0:0:000A]:50889');
  assert.deepEqual(first.status, { code: STATUS.ABORTED, message: 'peer replaced' });
});

test('the newest stream wins, and inherits what the old one had not sent for certain', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const first = gateway.open(header);
  first.isFast = false;
  for (let n = 0; n < 60; n++) {
    gateway.send(header, datagram(n, 1312));
    gateway.table.flush();
  }
  assert.equal(first.sent.length, 60);
  first.take(50);
  const second = gateway.open(header);
  assert.deepEqual(first.status, { code: STATUS.ABORTED, message: 'peer replaced' });
  assert.equal(second.status, undefined);
  assert.deepEqual(second.sentNumbers, [50, 51, 52, 53, 54, 55, 56, 57, 58, 59]);
  first.stream?.closed();
  first.stream?.receive(framed(datagram(99)));
  first.take();
  gateway.send(header, datagram(100));
  gateway.table.flush();
  assert.equal(second.sentNumbers.at(-1), 100);
  assert.deepEqual(gateway.sink.received, []);
  assert.deepEqual(gateway.table.counters.ends, {
    closed: 0,
    replaced: 1,
    revoked: 0,
    protocol_error: 0,
    shutdown: 0,
  });
});

test('what the old stream had not sent goes out before what waited behind it', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const first = gateway.open(header);
  first.isFast = false;
  const inFlight = Math.ceil(MIN_IN_FLIGHT / 16_384);
  for (let n = 0; n < inFlight + 5; n++) {
    gateway.send(header, datagram(n, 16_384));
    gateway.table.flush();
  }
  assert.equal(first.sent.length, inFlight);
  const second = gateway.open(header);
  second.isFast = false;
  assert.deepEqual(
    second.sentNumbers,
    Array.from({ length: inFlight }, (_, n) => n),
  );
});

test('a client that closes, also halfway, is told that its call was cancelled', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const carrier = gateway.open(header);
  assert.ok(gateway.table.isOpen('key a'));
  carrier.stream?.closed();
  assert.deepEqual(carrier.status, { code: STATUS.CANCELLED, message: 'context canceled' });
  assert.ok(!gateway.table.isOpen('key a'));
  gateway.send(header, datagram(1));
  gateway.table.flush();
  assert.equal(gateway.table.counters.drops.no_stream, 1);
});

test('revocation ends the live stream at once', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const carrier = gateway.open(header);
  gateway.table.allow('key a', undefined);
  assert.deepEqual(carrier.status, { code: STATUS.PERMISSION_DENIED, message: 'peer not allowed' });
  assert.equal(gateway.refusal(header).message, 'peer not allowed');
  assert.ok(!gateway.table.isOpen('key a'));
});

test('a new virtual address for a peer ends the stream of the old one, but not its relay', () => {
  const gateway = new TestTable();
  const old = gateway.allow('a');
  const carrier = gateway.open(old);
  gateway.table.allow('key a', endpointOf('b'));
  assert.equal(carrier.status?.code, STATUS.UNAVAILABLE);
  assert.equal(gateway.refusal(old).message, 'peer not allowed');
  gateway.open(endpointOf('b'));
});

test('allowing the same address again leaves the stream alone', () => {
  const gateway = new TestTable();
  const carrier = gateway.open(gateway.allow('a'));
  gateway.allow('a');
  assert.equal(carrier.status, undefined);
});

test('an address that moved to another peer is that peer’s alone', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const carrier = gateway.open(header);
  gateway.table.allow('key b', header);
  gateway.table.allow('key a', endpointOf('c'));
  assert.notEqual(carrier.status, undefined);
  gateway.open(header);
  assert.ok(gateway.table.isOpen('key b'));
  gateway.table.allow('key a', undefined);
  assert.ok(gateway.table.isOpen('key b'));
});

test('a client that does not read costs a bounded queue, oldest data dropped, and nobody else anything', () => {
  const gateway = new TestTable();
  const [a, b] = [gateway.allow('a'), gateway.allow('b')];
  const [slow, fast] = [gateway.open(a), gateway.open(b)];
  slow.isFast = false;
  const size = 1312;
  for (let n = 0; n < 1000; n++) {
    gateway.send(a, datagram(n, size));
    gateway.send(b, datagram(n, size));
    gateway.table.flush();
  }
  assert.equal(fast.sent.length, 1000);
  const inFlight = slow.sent.length;
  assert.ok(inFlight * size <= MIN_IN_FLIGHT + 16_384, String(inFlight));
  assert.equal(gateway.table.counters.drops.outbound_full, 1000 - inFlight - DATA_PLACES);
  slow.isFast = true;
  slow.take();
  assert.deepEqual(
    slow.sentNumbers.slice(inFlight),
    Array.from({ length: DATA_PLACES }, (_, i) => 1000 - DATA_PLACES + i),
  );
});

test('a handshake message overtakes the data that waits', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const carrier = gateway.open(header);
  carrier.isFast = false;
  for (let n = 0; n < 200; n++) gateway.send(header, datagram(n, 1312));
  gateway.send(header, datagram(7777, 148, 1));
  gateway.table.flush();
  const before = carrier.sent.length;
  carrier.isFast = true;
  carrier.take();
  assert.equal(carrier.sentNumbers[before], 7777);
});

test('datagrams of one batch share a write', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const carrier = gateway.open(header);
  for (let n = 0; n < 10; n++) gateway.send(header, datagram(n));
  assert.equal(carrier.writes, 0);
  gateway.table.flush();
  gateway.table.flush();
  assert.deepEqual([carrier.writes, carrier.sent.length], [1, 10]);
});

test('when the device has no room, its clients are not read until it has, others are', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const lanes = [gateway.open(header, 0), gateway.open(header, 1)];
  const other = gateway.open(gateway.allow('b'));
  gateway.sink.room = 0;
  for (let n = 0; n < 3; n++) lanes[0]?.stream?.receive(framed(datagram(n)));
  lanes.push(gateway.open(header, 2));
  assert.deepEqual(
    [...lanes, other].map(({ isPaused }) => isPaused),
    [true, true, true, false],
  );
  gateway.sink.room = 2;
  gateway.table.pull();
  assert.ok(
    lanes.every(({ isPaused }) => isPaused),
    'one still waits',
  );
  gateway.sink.room = Infinity;
  gateway.table.pull();
  assert.deepEqual(gateway.sink.numbers, [0, 1, 2]);
  assert.ok(lanes.every(({ isPaused }) => !isPaused));
});

test('the largest datagram passes in both directions', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const carrier = gateway.open(header);
  gateway.send(header, datagram(1, 65_535));
  gateway.send(header, datagram(2));
  gateway.table.flush();
  carrier.stream?.receive(framed(datagram(3, 65_535)));
  assert.deepEqual(carrier.sentNumbers, [1, 2]);
  assert.deepEqual(gateway.sink.received[0]?.bytes, datagram(3, 65_535));
});

test('when the device has no room, clients wait in turn and lose their own oldest data', () => {
  const gateway = new TestTable();
  const [a, b] = [gateway.open(gateway.allow('a')), gateway.open(gateway.allow('b'))];
  gateway.sink.room = 0;
  for (let n = 0; n < 300; n++) a.stream?.receive(framed(datagram(n)));
  b.stream?.receive(framed(datagram(1000)));
  b.stream?.receive(framed(datagram(1001)));
  assert.equal(gateway.table.counters.drops.inbound_full, 300 - DATA_PLACES);
  gateway.sink.room = 5;
  gateway.table.pull();
  assert.deepEqual(gateway.sink.numbers, [200, 1000, 201, 1001, 202]);
  a.stream?.receive(framed(datagram(300)));
  gateway.sink.room = Infinity;
  gateway.table.pull();
  assert.equal(gateway.sink.numbers.at(-1), 300);
  assert.equal(gateway.sink.received.length, DATA_PLACES + 3);
  b.stream?.receive(framed(datagram(1002)));
  assert.equal(gateway.sink.numbers.at(-1), 1002);
});

test('a client that leaves takes its waiting datagrams along', () => {
  const gateway = new TestTable();
  const a = gateway.open(gateway.allow('a'));
  gateway.sink.room = 0;
  a.stream?.receive(framed(datagram(1)));
  a.stream?.closed();
  gateway.sink.room = Infinity;
  gateway.table.pull();
  assert.deepEqual(gateway.sink.received, []);
});

test('what is no WireGuard message goes no further, and the stream goes on', () => {
  const gateway = new TestTable();
  const a = gateway.open(gateway.allow('a'));
  a.stream?.receive(framed(Uint8Array.of(9, 9, 9)));
  a.stream?.receive(Uint8Array.of(0, 0, 0, 0, 0));
  a.stream?.receive(framed(datagram(1)));
  assert.deepEqual(gateway.sink.numbers, [1]);
  assert.equal(gateway.table.counters.drops.not_wireguard, 2);
});

test('a broken message ends the stream with a status of its own', () => {
  const cases: [number[], number][] = [
    [[1, 0, 0, 0, 1, 0], STATUS.UNIMPLEMENTED],
    [[0, 0xff, 0, 0, 0], STATUS.RESOURCE_EXHAUSTED],
    [[0, 0, 0, 0, 2, 0x12, 5], STATUS.INTERNAL],
  ];
  for (const [bytes, code] of cases) {
    const gateway = new TestTable();
    const a = gateway.open(gateway.allow('a'));
    a.stream?.receive(Uint8Array.from(bytes));
    assert.equal(a.status?.code, code);
    assert.ok(!gateway.table.isOpen('key a'));
    assert.equal(gateway.table.counters.ends.protocol_error, 1);
  }
});

test('a client with several streams has its flows spread over those that are open', () => {
  const gateway = new TestTable();
  const header = gateway.allow('a');
  const lanes = [0, 1, 2].map((lane) => gateway.open(header, lane));
  assert.deepEqual(
    lanes.map(({ status }) => status),
    [undefined, undefined, undefined],
  );
  for (let flow = 0; flow < 6; flow++) gateway.send(header, datagram(flow), flow);
  gateway.table.flush();
  assert.deepEqual(
    lanes.map(({ sentNumbers }) => sentNumbers),
    [
      [0, 3],
      [1, 4],
      [2, 5],
    ],
  );
  lanes[1]?.stream?.closed();
  for (let flow = 0; flow < 4; flow++) gateway.send(header, datagram(flow), flow);
  gateway.table.flush();
  assert.equal(gateway.table.counters.drops.no_stream, 0);
  assert.equal((lanes[0]?.sent.length ?? 0) + (lanes[2]?.sent.length ?? 0), 8);
});

test('at shutdown clients are told to come back', () => {
  const gateway = new TestTable();
  const a = gateway.open(gateway.allow('a'));
  gateway.table.close();
  assert.equal(a.status?.code, STATUS.UNAVAILABLE);
  assert.equal(gateway.table.counters.ends.shutdown, 1);
});

test('virtual addresses that differ in their upper half only are kept apart', () => {
  const gateway = new TestTable();
  const headers = ['1:0:5', '2:0:5', '3:0:5'].map((name) => gateway.allow(name));
  const carriers = headers.map((header) => gateway.open(header));
  carriers[1]?.stream?.closed();
  for (const [n, header] of headers.entries()) gateway.send(header, datagram(n));
  gateway.table.flush();
  assert.deepEqual(
    carriers.map(({ sentNumbers }) => sentNumbers),
    [[0], [], [2]],
  );
});
