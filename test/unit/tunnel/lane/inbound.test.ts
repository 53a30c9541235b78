import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REKEY_AFTER_TIME_RECEIVING, REPLAY_WINDOW } from '../../../../src/noise/constants.ts';
import type { WireDatagram } from '../../../../src/tunnel/bind-memory.ts';
import { ENDPOINT, decodeEndpoint } from '../../../../src/tunnel/endpoint.ts';
import { ACTIVITY } from '../../../../src/tunnel/lane/control.ts';
import { PEER_RECORD } from '../../../../src/tunnel/lane/tables.ts';
import { lanePair, PEER, type LanePair, type LaneSide } from '../../../kit/lanes.ts';
import { ipv4Packet } from '../../../kit/packets.ts';
import { address } from '../../../kit/pair.ts';
import { endpoint } from '../../../kit/stranger.ts';

let serial = 0;
const packet = (size = 60) => ipv4Packet('10.0.0.1', '10.0.0.2', size, serial++);
const reply = (size = 60) => ipv4Packet('10.0.0.2', '10.0.0.1', size, serial++);

/** What the left side would send for these packets; nothing reaches the other side. */
function sealed({ left, network, sent }: LanePair, packets: readonly Uint8Array[]): WireDatagram[] {
  network.intercept((datagram) => {
    sent.push(datagram);
    return [];
  });
  const before = sent.length;
  left.send(...packets);
  return sent.slice(before);
}

function deliver({ network, right }: LanePair, ...datagrams: readonly WireDatagram[]): number {
  for (const datagram of datagrams) network.inject(datagram);
  network.deliver();
  return right.receive();
}

function forge(datagram: WireDatagram, at = 20): WireDatagram {
  return { ...datagram, bytes: datagram.bytes.map((byte, i) => (i === at ? byte ^ 1 : byte)) };
}

function place(side: LaneSide): string | undefined {
  const at = side.peer.record + PEER_RECORD.endpoint;
  const found = decodeEndpoint(side.arena.u8.slice(at, at + ENDPOINT.size), 0);
  return found && `${found.address.join('.')}:${found.port}`;
}

test('rekey on receive: the initiator of the session in use asks once, however many packets come', async () => {
  const { left, right, network } = await lanePair();
  left.now += REKEY_AFTER_TIME_RECEIVING;
  const asked = [];
  for (let i = 0; i < 3; i++) {
    right.send(reply(), reply());
    network.deliver();
    asked.push((left.receive() & ACTIVITY.rekeyOnReceive) !== 0);
  }
  assert.deepEqual(asked, [true, false, false]);
  right.now += REKEY_AFTER_TIME_RECEIVING;
  left.send(packet());
  network.deliver();
  assert.equal(right.receive() & ACTIVITY.rekeyOnReceive, 0);
});

test('confirmation: the first authenticated packet is reported, forged ones and later ones are not', async () => {
  const lanes = await lanePair();
  const datagrams = sealed(lanes, [packet(), packet(), packet()]);
  deliver(lanes, ...datagrams.map((datagram) => forge(datagram)));
  assert.equal(lanes.right.events.length, 0);
  deliver(lanes, ...datagrams.slice(0, 2));
  deliver(lanes, ...datagrams.slice(2));
  assert.deepEqual(
    lanes.right.events.filter(([name]) => name !== 'roamed'),
    [['confirmed', PEER, 22]],
  );
  assert.equal(lanes.right.received().length, 3);
});

test('batches: each datagram of a mixed batch has its own fate', async () => {
  const lanes = await lanePair();
  const { right } = lanes;
  const packets = Array.from({ length: 40 }, () => packet());
  const datagrams = sealed(lanes, packets);
  const handshake = { ...(datagrams[0] as WireDatagram), bytes: new Uint8Array(148).fill(1, 0, 1) };
  const mixed = datagrams.flatMap((datagram, i) => {
    if (i % 4 === 1) return [forge(datagram, 20 + (i % 30))];
    if (i % 4 === 2) return [datagram, datagram];
    if (i % 4 === 3) return [{ ...datagram, bytes: datagram.bytes.subarray(0, 31) }, handshake];
    return [datagram];
  });
  assert.ok(mixed.length > 50 && mixed.length <= right.bind.batchSize);
  deliver(lanes, ...mixed);
  assert.deepEqual(
    right.received(),
    packets.filter((_, i) => i % 4 === 0 || i % 4 === 2),
  );
  assert.deepEqual(right.counts(), { bad_tag: 10, replayed: 10, too_short: 10 });
  const handshakes = right.events.filter(([name]) => name === 'handshake');
  assert.equal(handshakes.length, 10);
  assert.deepEqual(handshakes[0]?.[1], handshake.bytes);
  assert.deepEqual(decodeEndpoint(handshakes[0]?.[2] as Uint8Array, 0)?.port, 51_820);
});

test('counters: received bytes are those of authentic, new datagrams, whatever is in them', async () => {
  const lanes = await lanePair();
  const [one, two, foreign] = sealed(lanes, [
    packet(100),
    packet(200),
    ipv4Packet('10.0.0.9', '10.0.0.2', 60),
  ]);
  assert.ok(one && two && foreign);
  deliver(lanes, one, one, forge(two), foreign);
  assert.deepEqual(lanes.right.counts(), { replayed: 1, bad_tag: 1, source_not_allowed: 1 });
  assert.equal(lanes.right.tables.counters(PEER).rxBytes, BigInt(one.bytes.length + foreign.bytes.length));
  assert.equal(
    lanes.left.tables.counters(PEER).txBytes,
    BigInt(one.bytes.length + two.bytes.length + foreign.bytes.length),
  );
});

test('counters: bytes go on beyond 32 bits', async () => {
  const lanes = await lanePair();
  const { left } = lanes;
  left.tables.countBytes(left.peer, PEER_RECORD.txBytes, 0xffff_fff0);
  left.send(packet(84));
  assert.deepEqual(left.tables.counters(PEER), { txBytes: 0xffff_fff0n + 128n, rxBytes: 0n });
});

test('replay: any order within the window is taken, each once; what is older is not', async () => {
  const lanes = await lanePair();
  const count = REPLAY_WINDOW + 72;
  const datagrams = sealed(
    lanes,
    Array.from({ length: count }, () => packet(20)),
  );
  const newest = datagrams.at(-1) as WireDatagram;
  deliver(lanes, newest);
  assert.equal(lanes.right.received().length, 1);
  deliver(lanes, ...datagrams.toReversed());
  // The newest was there before; behind it REPLAY_WINDOW counters are told apart.
  assert.equal(lanes.right.received().length, REPLAY_WINDOW);
  assert.deepEqual(lanes.right.counts(), { replayed: count - REPLAY_WINDOW });
});

test('roaming: a batch is one report, and the last authentic datagram decides', async () => {
  const lanes = await lanePair();
  const { right } = lanes;
  const [a, b, c, d] = sealed(lanes, [packet(), packet(), packet(), packet()]);
  assert.ok(a && b && c && d);
  deliver(
    lanes,
    { ...a, from: endpoint('203.0.113.1', 1) },
    { ...c, from: endpoint('203.0.113.3', 3) },
    { ...forge(d), from: endpoint('203.0.113.4', 4) },
    { ...a, from: endpoint('203.0.113.5', 5) },
  );
  const roamed = right.events.filter(([name]) => name === 'roamed');
  assert.equal(roamed.length, 1);
  assert.equal(decodeEndpoint(roamed[0]?.[2] as Uint8Array, 0)?.port, 3);
  assert.equal(place(right), '203.0.113.3:3');
  // The same place again is no news, not even when it sends to another address of ours: that is only where answers
  // leave from.
  const other = address('192.0.2.33');
  await right.bind.close();
  right.bind.addresses.push(other);
  await right.bind.open(51_820);
  deliver(lanes, { ...b, from: endpoint('203.0.113.3', 3), to: { ...b.to, address: other } });
  assert.equal(right.received().length, 3);
  assert.equal(right.events.filter(([name]) => name === 'roamed').length, 1);
});

test('oversized: datagrams of 65,535 bytes of any type are dropped and counted', async () => {
  const lanes = await lanePair();
  const [datagram] = sealed(lanes, [packet()]);
  assert.ok(datagram);
  for (let type = 0; type < 256; type++) {
    const bytes = new Uint8Array(65_535).fill(0xa5);
    bytes.set([type, 0, 0, 0, 22, 0, 0, 0]);
    deliver(lanes, { ...datagram, bytes });
  }
  assert.deepEqual(lanes.right.counts(), { unknown_type: 255, bad_tag: 1 });
  assert.equal(lanes.right.events.length, 0);
  deliver(lanes, datagram);
  assert.equal(lanes.right.received().length, 1);
});

test('inbound: a keypair that it is told of while datagrams wait opens those very datagrams', async () => {
  const pair = await lanePair();
  const { left, right } = pair;
  const mine = packet();
  const datagrams = sealed(pair, [mine]);
  right.tables.removeKeypair(22);
  right.catchUp = () => {
    right.tables.addKeypair({
      peer: PEER,
      index: 22,
      remoteIndex: 11,
      sendKey: new Uint8Array(32).fill(2),
      receiveKey: new Uint8Array(32).fill(1),
      isInitiator: false,
      createdAtMs: left.now,
    });
  };
  pair.network.intercept((datagram) => [datagram]);
  deliver(pair, ...datagrams);
  assert.deepEqual(right.received(), [mine]);
  assert.deepEqual(right.counts(), {});
});
