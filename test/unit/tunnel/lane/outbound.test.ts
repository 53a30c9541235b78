import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  MAX_STAGED_PACKETS,
  REJECT_AFTER_MESSAGES,
  REKEY_AFTER_MESSAGES,
  REKEY_AFTER_TIME,
} from '../../../../src/noise/constants.ts';
import { nodeAead } from '../../../../src/noise/crypto-node.ts';
import type { WireDatagram } from '../../../../src/tunnel/bind-memory.ts';
import { ACTIVITY } from '../../../../src/tunnel/lane/control.ts';
import { MAX_STAGED_BYTES, paddingFor } from '../../../../src/tunnel/lane/outbound.ts';
import type { LaneKeypair } from '../../../../src/tunnel/lane/tables.ts';
import { lanePair, PEER, type LanePair } from '../../../kit/lanes.ts';
import { ipv4Packet } from '../../../kit/packets.ts';
import { counterOf, endpoint } from '../../../kit/stranger.ts';

let serial = 0;
const packet = (size = 60) => ipv4Packet('10.0.0.1', '10.0.0.2', size, serial++);

test('padding: up to a multiple of 16, never beyond the MTU; above the MTU the last part counts; MTU 0 has no bound', () => {
  const table: readonly (readonly [length: number, mtu: number, padding: number])[] = [
    [0, 1420, 0],
    [1, 1420, 15],
    [16, 1420, 0],
    [17, 1420, 15],
    [1408, 1420, 0],
    [1409, 1420, 11],
    [1419, 1420, 1],
    [1420, 1420, 0],
    [1421, 1420, 15],
    [1436, 1420, 0],
    [2840, 1420, 0],
    [2839, 1420, 1],
    [1269 + 28, 1300, 3],
    [1300, 1300, 0],
    [34_736, 34_736, 0],
    [34_735, 34_736, 1],
    [65_503, 65_503, 0],
    [65_490, 65_503, 13],
    [1, 0, 15],
    [16, 0, 0],
    [65_535, 0, 1],
    [1280, 1281, 0],
    [1281, 1281, 0],
  ];
  for (const [length, mtu, padding] of table)
    assert.equal(paddingFor(length, mtu), padding, `${length} bytes at MTU ${mtu}`);
});

test('padding: any packet within the MTU becomes a multiple of 16 or exactly the MTU', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 65_503 }), fc.nat(), (mtu, seed) => {
      const length = seed % (mtu + 1);
      const padded = length + paddingFor(length, mtu);
      assert.ok(padded >= length && padded <= mtu && padded - length < 16);
      assert.ok(padded % 16 === 0 || padded === mtu);
    }),
  );
});

/** What the left side has sealed. */
function opened(datagram: WireDatagram): Uint8Array {
  const { bytes } = datagram;
  const nonce = Uint8Array.of(0, 0, 0, 0, ...bytes.subarray(8, 16));
  const content = nodeAead.open(new Uint8Array(32).fill(1), nonce, bytes.subarray(16), new Uint8Array(0));
  assert.ok(content);
  return content;
}

test('padding: it is zero and falls off at the other side, and the MTU may change at any time', async () => {
  const { left, right, network, sent } = await lanePair();
  for (const [mtu, size, outer] of [
    [1420, 1409, 1420],
    [34_736, 34_735, 34_736],
    [34_736, 34_730, 34_736],
    [1300, 1299, 1300],
    [0, 1409, 1424],
  ] as const) {
    left.tables.mtu = mtu;
    // Bytes of an earlier, larger packet must not show up as padding.
    left.send(packet(40_000));
    network.deliver();
    right.receive();
    right.received();
    const small = packet(size);
    left.send(small);
    network.deliver();
    right.receive();
    assert.deepEqual(right.received(), [small]);
    const message = sent.at(-1);
    assert.ok(message);
    assert.equal(message.bytes.length, outer + 32);
    assert.deepEqual(opened(message).subarray(size), new Uint8Array(outer - size));
  }
});

test('batches: more packets than the bind takes at once go out in order, all of them', async () => {
  const { left, right, network, sent } = await lanePair();
  const packets = Array.from({ length: 1000 }, (_, i) => packet(40 + ((i * 37) % 1380)));
  left.send(...packets);
  assert.ok(packets.length > left.bind.batchSize);
  assert.deepEqual(
    sent.map(counterOf),
    packets.map((_, i) => BigInt(i)),
  );
  network.deliver();
  right.receive();
  assert.deepEqual(right.received(), packets);
});

test('jumbo: the largest packets that UDP carries pass, alone and among small ones; larger ones are lost alone', async () => {
  const { left, right, network, sent } = await lanePair();
  // 65,535 bytes of an IPv4 packet without the headers of IP, UDP and the transport message.
  const largest = 65_535 - 20 - 8 - 32;
  left.tables.mtu = largest;
  const packets = [largest, 60, largest, largest, 20, largest - 1].map((size) => packet(size));
  left.send(...packets, packet(largest + 1), packet(65_503));
  assert.equal(left.bind.sendErrors.tooLarge, 2);
  network.deliver();
  right.receive();
  assert.deepEqual(right.received(), packets);
  assert.equal(Math.max(...sent.map(({ bytes }) => bytes.length)), 65_507);
});

function setCounter(keypair: LaneKeypair, counter: bigint): void {
  keypair.sendLow = Number(counter & 0xffff_ffffn);
  keypair.sendHigh = Number(counter >> 32n);
}

for (const [name, start] of [
  ['2^32', 2n ** 32n],
  ['2^53', 2n ** 53n],
  ['2^60', 2n ** 60n],
  ['2^63', 2n ** 63n],
] as const) {
  test(`nonces: across ${name} each is one more than the last, none comes twice, and all are taken`, async () => {
    const { left, right, network, sent, keypair } = await lanePair();
    setCounter(keypair, start - 100n);
    const packets = Array.from({ length: 200 }, () => packet());
    left.send(...packets);
    assert.deepEqual(
      sent.map(counterOf),
      packets.map((_, i) => start - 100n + BigInt(i)),
    );
    network.deliver();
    right.receive();
    assert.deepEqual(right.received(), packets);
    assert.deepEqual(right.counts(), {});
  });
}

test('nonces: at REJECT_AFTER_MESSAGES sending ends; what comes then waits for a new session', async () => {
  const { left, right, network, sent, keypair } = await lanePair();
  setCounter(keypair, REJECT_AFTER_MESSAGES - 2n);
  const packets = Array.from({ length: 5 }, () => packet());
  const bits = left.send(...packets);
  assert.deepEqual(sent.map(counterOf), [REJECT_AFTER_MESSAGES - 2n, REJECT_AFTER_MESSAGES - 1n]);
  assert.ok(bits & ACTIVITY.needsSession);
  assert.equal(left.peer.staged.length, 3);
  network.deliver();
  right.receive();
  assert.equal(right.received().length, 2);
  assert.deepEqual(right.counts(), {});
});

test('nonces: what waited is not sent beyond REJECT_AFTER_MESSAGES either', async () => {
  const { left, sent, keypair } = await lanePair();
  left.peer.current = undefined;
  left.send(...Array.from({ length: 10 }, () => packet()));
  assert.equal(left.peer.staged.length, 10);
  left.peer.current = keypair;
  setCounter(keypair, REJECT_AFTER_MESSAGES - 4n);
  left.outbound.sendStaged(left.peer, left.now);
  assert.deepEqual(
    sent.map(counterOf),
    [4n, 3n, 2n, 1n].map((below) => REJECT_AFTER_MESSAGES - below),
  );
  assert.equal(left.peer.staged.length, 6);
  assert.ok(left.activity() & ACTIVITY.needsSession);
});

test('rekey: REKEY_AFTER_MESSAGES sent packets ask for it, on either side, and one less does not', async () => {
  for (const side of ['left', 'right'] as const) {
    const lanes = await lanePair();
    const keypair = lanes[side].peer.current as LaneKeypair;
    setCounter(keypair, REKEY_AFTER_MESSAGES - 2n);
    const one = side === 'left' ? packet() : ipv4Packet('10.0.0.2', '10.0.0.1', 60);
    assert.equal(lanes[side].send(one) & ACTIVITY.rekeyOnSend, 0);
    assert.equal(lanes[side].send(one) & ACTIVITY.rekeyOnSend, ACTIVITY.rekeyOnSend);
    assert.equal(lanes.sent.length, 2);
  }
});

test('rekey: REKEY_AFTER_TIME asks the initiator for it, not the responder', async () => {
  const { left, right } = await lanePair();
  for (const side of [left, right]) side.now += REKEY_AFTER_TIME;
  assert.ok(left.send(packet()) & ACTIVITY.rekeyOnSend);
  assert.equal(right.send(ipv4Packet('10.0.0.2', '10.0.0.1', 60)) & ACTIVITY.rekeyOnSend, 0);
});

function withoutSession({ left }: LanePair): void {
  left.peer.current = undefined;
}

test('staged: 128 packets wait, then the oldest is dropped for the newest; all go out in order', async () => {
  const lanes = await lanePair();
  const { left, right, network, keypair } = lanes;
  withoutSession(lanes);
  const packets = Array.from({ length: MAX_STAGED_PACKETS + 20 }, () => packet());
  assert.equal(left.send(...packets), ACTIVITY.needsSession);
  assert.deepEqual(left.counts(), { staged_overflow: 20 });
  left.peer.current = keypair;
  left.outbound.sendStaged(left.peer, left.now);
  network.deliver();
  right.receive();
  assert.deepEqual(right.received(), packets.slice(20));
  assert.deepEqual(left.peer.staged, []);
});

test('staged: a waiting keepalive makes room for packets and is not counted; packets take its place', async () => {
  const lanes = await lanePair();
  const { left, sent, keypair } = lanes;
  withoutSession(lanes);
  left.outbound.sendKeepalive(left.peer, left.now);
  left.outbound.sendKeepalive(left.peer, left.now);
  assert.equal(left.peer.staged.length, 1);
  left.send(...Array.from({ length: MAX_STAGED_PACKETS }, () => packet()));
  assert.deepEqual(left.counts(), {});
  left.outbound.sendKeepalive(left.peer, left.now);
  left.peer.current = keypair;
  left.outbound.sendKeepalive(left.peer, left.now);
  assert.equal(sent.length, MAX_STAGED_PACKETS);
  assert.ok(sent.every(({ bytes }) => bytes.length > 32));
  left.outbound.dropStaged(left.peer);
  assert.deepEqual(left.counts(), {});
});

test('staged: packets, bytes and peers that wait are told; a keepalive is none of them', async () => {
  const lanes = await lanePair();
  const { left, keypair } = lanes;
  const waiting = () => {
    const { stagedPackets, stagedPeers, stagedBytes } = left.gauges.figures(undefined);
    return [stagedPackets, stagedPeers, stagedBytes];
  };
  withoutSession(lanes);
  left.outbound.sendKeepalive(left.peer, left.now);
  assert.deepEqual(waiting(), [0, 0, 0]);
  left.addPeer(PEER + 1, endpoint('192.0.2.9', 1), '10.1.0.1/32');
  left.send(packet(100), packet(200), ipv4Packet('10.0.0.1', '10.1.0.1', 300));
  assert.deepEqual(waiting(), [3, 2, 600]);
  left.send(...Array.from({ length: MAX_STAGED_PACKETS }, () => packet(64)));
  assert.deepEqual(waiting(), [MAX_STAGED_PACKETS + 1, 2, MAX_STAGED_PACKETS * 64 + 300]);
  left.peer.current = keypair;
  left.outbound.sendStaged(left.peer, left.now);
  assert.deepEqual(waiting(), [1, 1, 300]);
  const other = left.tables.peer(PEER + 1) ?? assert.fail('no peer');
  left.outbound.dropStaged(other);
  left.outbound.sendKeepalive(other, left.now);
  left.outbound.dropStaged(other);
  assert.deepEqual(waiting(), [0, 0, 0]);
});

test('staged: all peers together hold 64 MiB at most; a peer that has none waiting loses the new packet', async () => {
  const { left } = await lanePair();
  const size = 65_503;
  const inner = (id: number) => `10.1.0.${id}`;
  const to = (id: number, bytes: number) => ipv4Packet('10.0.0.1', inner(id), bytes);
  const ids = Array.from({ length: 10 }, (_, i) => PEER + 1 + i);
  for (const id of ids) left.addPeer(id, endpoint('192.0.2.9', id), `${inner(id)}/32`);
  const waiting = () =>
    ids.flatMap((id) => left.tables.peer(id)?.staged ?? []).reduce((sum, { length }) => sum + length, 0);
  // Eight peers with 128 packets each come close to it.
  const full = ids.slice(0, 8);
  for (const id of full) {
    const one = to(id, size);
    for (let i = 0; i < MAX_STAGED_PACKETS; i++) left.send(one);
  }
  assert.deepEqual(left.counts(), {});
  assert.ok(waiting() <= MAX_STAGED_BYTES && waiting() + size > MAX_STAGED_BYTES);
  const [ninth, tenth] = ids.slice(8) as [number, number];
  // Many small ones still fit; a large one drops as many of them as it needs, and more than one.
  for (let i = 0; i < 100; i++) left.send(to(ninth, 300));
  assert.deepEqual(left.counts(), {});
  left.send(to(ninth, 30_000));
  assert.ok(waiting() <= MAX_STAGED_BYTES, `${waiting()} bytes wait`);
  const { staged_overflow: dropped = 0 } = left.counts();
  assert.ok(dropped > 1 && dropped < 100, `${dropped} dropped`);
  // Who has nothing waiting cannot make room.
  left.send(to(tenth, size));
  assert.equal(left.counts().staged_overflow, dropped + 1);
  assert.equal(left.tables.peer(tenth)?.staged.length, 0);
  // What is dropped or sent is free again.
  const before = left.gauges.figures(0);
  assert.equal(before.stagedBytes, waiting());
  for (const id of full.slice(0, 2)) {
    const peer = left.tables.peer(id);
    assert.ok(peer);
    left.outbound.dropStaged(peer);
  }
  left.send(to(tenth, size));
  assert.equal(left.tables.peer(tenth)?.staged.length, 1);
});

test('a lone packet leaves before the TUN is asked for more, if the host is in a hurry', async () => {
  const { left, sent } = await lanePair();
  const sentBefore: number[] = [];
  const read = left.tun.packets.read.bind(left.tun.packets);
  left.tun.packets.read = (at, capacity) => {
    sentBefore.push(sent.length);
    return read(at, capacity);
  };
  left.tun.inject(packet(), packet());
  left.outbound.pump(left.now, 8, true);
  assert.deepEqual(sentBefore, [0, 1, 1]);
  sentBefore.length = 0;
  left.tun.inject(packet(), packet());
  left.outbound.pump(left.now, 8);
  assert.deepEqual(sentBefore, [2, 2, 2]);
});

test('packets that came in one read leave together, in a hurry or not', async () => {
  const { left, sent } = await lanePair();
  const sentBefore: number[] = [];
  const { packets } = left.tun;
  const read = packets.read.bind(packets);
  let reads = 0;
  packets.read = (at, capacity) => {
    sentBefore.push(sent.length);
    reads++;
    return read(at, capacity);
  };
  Object.defineProperty(packets, 'holdsMore', { get: () => reads === 1 });
  left.tun.inject(packet(), packet());
  left.outbound.pump(left.now, 8, true);
  assert.deepEqual(sentBefore, [0, 0, 0]);
  assert.equal(sent.length, 2);
});
