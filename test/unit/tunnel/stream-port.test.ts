import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { DatagramBatch } from '../../../src/tunnel/bind.ts';
import { MemoryBind, MemoryNetwork } from '../../../src/tunnel/bind-memory.ts';
import { decodeEndpoint, ENDPOINT, encodeEndpoint, type Endpoint } from '../../../src/tunnel/endpoint.ts';
import { inlineStreams } from '../../../src/tunnel/inline-streams.ts';
import { bindContract, type BindSide } from '../../contracts/bind.ts';
import { address } from '../../kit/pair.ts';
import { virtualEndpoint } from '../../kit/streams.ts';

const now = (task: () => void): void => task();

function side(network: MemoryNetwork, v4: string, v6: string): BindSide {
  const arena = new Arena({ bytes: 8 << 20 });
  const addresses = { 4: address(v4), 6: address(v6) };
  const bind = new MemoryBind(network, arena, [addresses[4], addresses[6]]);
  const { port } = inlineStreams(arena, bind, { soon: queueMicrotask, defer: setImmediate });
  return { arena, addresses, bind, datagrams: port };
}

bindContract('memory, streams beside it', { carriesTos: true }, () => {
  const network = new MemoryNetwork();
  return {
    alice: side(network, '192.0.2.1', '2001:db8::1'),
    bob: side(network, '192.0.2.2', '2001:db8::2'),
    createRival: () => side(network, '192.0.2.2', '2001:db8::2').bind,
    deliver: () => void network.deliver(),
    dispose: () => Promise.resolve(),
  };
});

const VIRTUAL = virtualEndpoint('fdae::1');
const PEER: Endpoint = { address: address('192.0.2.2'), port: 4711, scope: 0, carrier: 0 };

interface Sent {
  readonly by: 'udp' | 'stream';
  readonly first: number;
  readonly flow?: number;
}

/** A port whose every datagram is recorded, by carrier. */
async function scene() {
  const network = new MemoryNetwork();
  const arena = new Arena({ bytes: 8 << 20 });
  const bind = new MemoryBind(network, arena, [address('192.0.2.1')]);
  await bind.open(0);
  const tasks: (() => void)[] = [];
  const { port, bridge } = inlineStreams(arena, bind, { soon: now, defer: (task) => tasks.push(task) });
  const sent: Sent[] = [];
  network.intercept(({ bytes }) => {
    sent.push({ by: 'udp', first: bytes[1] as number });
    return [];
  });
  bridge.connect({
    send: (_endpoint, _endpointAt, bytes, at, _length, flow) =>
      sent.push({ by: 'stream', first: bytes[at + 1] as number, flow }),
    flush: () => {},
    pull: () => {},
  });
  const record = (endpoint: Endpoint | undefined) => {
    const at = arena.alloc(ENDPOINT.size);
    if (endpoint) encodeEndpoint(endpoint, arena.u8, at);
    return at;
  };
  const place = (type: number, mark: number, length: number) => {
    const at = arena.alloc(length);
    arena.u8.set([type, mark], at);
    return at;
  };
  const turn = () => {
    while (tasks.length > 0) tasks.shift()?.();
  };
  return { network, arena, bind, port, bridge, sent, record, place, turn };
}

test('carriers: each datagram of a batch goes by the carrier of its endpoint, in order, with its flow', async () => {
  const { port, sent, record, place, turn } = await scene();
  const [udp, stream] = [record(PEER), record(VIRTUAL)];
  const batch = new DatagramBatch(6);
  for (let i = 0; i < 6; i++) batch.push(place(4, i, 40), 40, i % 2 === 0 ? udp : stream, 0, 100 + i);
  port.send(batch);
  turn();
  const by = (carrier: Sent['by']) => sent.filter((datagram) => datagram.by === carrier);
  assert.deepEqual(
    by('udp').map(({ first }) => first),
    [0, 2, 4],
  );
  assert.deepEqual(
    by('stream').map(({ first, flow }) => [first, flow]),
    [
      [1, 101],
      [3, 103],
      [5, 105],
    ],
  );
});

test('carriers: neither of the two starves the other', async () => {
  const { arena, network, bind, port, bridge } = await scene();
  network.intercept((datagram) => [datagram]);
  const label = new Uint8Array(ENDPOINT.size);
  encodeEndpoint(VIRTUAL, label, 0);
  const local = { address: address('192.0.2.1'), port: await bind.open(0), scope: 0, carrier: 0 };
  for (let i = 0; i < 1000; i++) {
    network.inject({ bytes: Uint8Array.of(4, 1), from: PEER, to: local, tos: 0 });
    assert.ok(bridge.deliver(label, Uint8Array.of(4, 2), 0, 2));
  }
  network.deliver();
  const batch = new DatagramBatch(64);
  const carriers = [1, 2, 3, 4].map(() => {
    assert.ok(port.receive(batch) > 0);
    return decodeEndpoint(arena.u8, batch.endpoint[0] as number)?.carrier;
  });
  assert.deepEqual(carriers, [1, 0, 1, 0]);
});

test('streams: datagrams that cannot go are counted by cause', async () => {
  const { port, record, place } = await scene();
  const batch = new DatagramBatch(3);
  const nobody = record(undefined);
  const stream = record(VIRTUAL);
  batch.push(place(4, 0, 65_600), 65_536, stream, 0);
  port.send(batch);
  assert.deepEqual(port.sendErrors, { full: 0, tooLarge: 1, unreachable: 0, other: 0 });
  batch.clear();
  batch.push(place(4, 0, 40), 40, nobody, 0);
  port.send(batch);
  assert.deepEqual(port.sendErrors, { full: 0, tooLarge: 1, unreachable: 1, other: 0 });
});

test('streams: when the rings are full of data a handshake still finds room', async () => {
  const { port, record, place, sent, turn } = await scene();
  const stream = record(VIRTUAL);
  const data = place(4, 1, 1400);
  const batch = new DatagramBatch(64);
  for (let i = 0; i < 64; i++) batch.push(data, 1400, stream, 0);
  while (port.sendErrors.full === 0) port.send(batch);
  const { full } = port.sendErrors;
  const handshakes = new DatagramBatch(64);
  for (let i = 0; i < 64; i++) handshakes.push(place(1, 2, 148), 148, stream, 0);
  port.send(handshakes);
  assert.equal(port.sendErrors.full, full);
  turn();
  assert.equal(sent.filter(({ first }) => first === 2).length, 64);
});
