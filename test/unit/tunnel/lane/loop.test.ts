import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Arena } from '../../../../src/core/arena.ts';
import { NobleTransportAead } from '../../../../src/noise/aead-noble.ts';
import { hasLibc, libc } from '../../../../src/sys/libc.ts';
import { Block } from '../../../../src/sys/memory.ts';
import { PacketPair } from '../../../../src/sys/packet-pair.ts';
import { EventFd } from '../../../../src/sys/poll.ts';
import { fdWatcher } from '../../../../src/sys/readiness.ts';
import { UdpSocket } from '../../../../src/sys/udp-socket.ts';
import { openPacketPort } from '../../../../src/tun/linux.ts';
import { ENDPOINT, encodeEndpoint } from '../../../../src/tunnel/endpoint.ts';
import { ACTIVITY } from '../../../../src/tunnel/lane/control.ts';
import type { EventMessage } from '../../../../src/tunnel/lane/link.ts';
import { LaneLoop } from '../../../../src/tunnel/lane/loop.ts';
import { LinuxDatagrams } from '../../../../src/tunnel/linux-datagrams.ts';
import { wasmChecksums } from '../../../../src/wasm/checksums.ts';
import { FakeClock } from '../../../kit/clock.ts';
import { ipv4Packet } from '../../../kit/packets.ts';
import { address } from '../../../kit/pair.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs 64-bit Linux';
const PEER = 1;
const INDEX = 7;

/** A loop whose peer is itself, over loopback; what its TUN would hear and say goes by `tun`. */
function startLoop(t: TestContext) {
  const pair = new PacketPair();
  const wake = new EventFd();
  const socket = new UdpSocket(4, 0);
  t.after(() => {
    for (const each of [pair, wake, socket]) each.close();
  });
  const arena = new Arena({ bytes: 6 << 20 });
  const clock = new FakeClock();
  const reports: EventMessage[] = [];
  const port = openPacketPort(pair.near, 'plain', arena, wasmChecksums(arena), fdWatcher, () => {});
  const loop = new LaneLoop({
    arena,
    aead: new NobleTransportAead(arena),
    clock,
    tun: port,
    tunFd: pair.near,
    datagrams: new LinuxDatagrams(arena, { gso: true, gro: true, maxWaitMs: 10 }),
    streams: undefined,
    policy: {},
    wakeFd: wake.fd,
    takeMessages: () => wake.clear(),
    post: (events) => reports.push(...events),
  });
  const endpoint = new Uint8Array(ENDPOINT.size);
  encodeEndpoint({ address: address('127.0.0.1'), port: socket.port, scope: 0, carrier: 0 }, endpoint, 0);
  const { lane } = loop;
  lane.addPeer(PEER);
  lane.setEndpoint(PEER, endpoint);
  lane.addAllowedIp(PEER, address('10.0.0.0'), 8);
  const use = () => {
    const key = new Uint8Array(32).fill(1);
    const keys = { sendKey: key, receiveKey: key };
    lane.addKeypair({
      ...keys,
      peer: PEER,
      index: INDEX,
      remoteIndex: INDEX,
      isInitiator: true,
      createdAtMs: clock.now(),
    });
    lane.useKeypair(PEER, INDEX);
  };
  loop.useSockets(socket.fd, -1);
  lane.setUp(true);
  loop.setUp(true);
  const block = new Block(2_048);
  const tun = {
    say(packet: Uint8Array): void {
      block.u8.set(packet);
      assert.equal(libc().write(pair.far, block.address, packet.length), packet.length);
    },
    /** Lengths of what was written to it. */
    heard(): number[] {
      const lengths: number[] = [];
      for (;;) {
        const length = libc().read(pair.far, block.address, block.size);
        if (length <= 0) return lengths;
        lengths.push(length);
      }
    },
  };
  return { loop, lane, port, clock, wake, reports, tun, use };
}

const packet = (size = 60): Uint8Array => ipv4Packet('10.0.0.1', '10.0.0.1', size, 0);

test('loop: a packet of the TUN goes out, comes in and is written', { skip }, (t) => {
  const { loop, tun, use } = startLoop(t);
  use();
  tun.say(packet(100));
  loop.turn(true);
  loop.turn(true);
  assert.deepEqual(tun.heard(), [100]);
});

test(
  'loop: an answer that is there when a packet has been written leaves in the same turn',
  { skip },
  (t) => {
    const { loop, port, tun, use } = startLoop(t);
    use();
    tun.say(packet(100));
    loop.turn(true);
    // As if the host had answered while the packet was being written: poll was asked before.
    const write = port.write.bind(port);
    port.write = (at, length) => {
      port.write = write;
      const written = write(at, length);
      tun.say(packet(200));
      return written;
    };
    loop.turn(true);
    assert.deepEqual(tun.heard(), [100]);
    // No further look at the TUN: what comes now was sent in that turn.
    loop.setUp(false);
    loop.turn(true);
    assert.deepEqual(tun.heard(), [200]);
  },
);

test('loop: activity waits until it is 50 ms old and the lane idle', { skip }, (t) => {
  const { loop, clock, wake, reports, tun, use } = startLoop(t);
  use();
  tun.say(packet());
  loop.turn(true);
  loop.turn(true);
  clock.tick(49);
  wake.raise();
  loop.turn(true);
  assert.equal(reports.length, 0);
  clock.tick(1);
  wake.raise();
  loop.turn(true);
  assert.equal(reports.length, 0, 'there was something else to do');
  loop.turn(true);
  const bits = ACTIVITY.sent | ACTIVITY.dataSent | ACTIVITY.received | ACTIVITY.dataReceived;
  assert.deepEqual(
    reports.map(([name, peer]) => [name, peer]),
    [
      ['activity', PEER],
      ['activity', PEER],
    ],
  );
  assert.equal(
    reports.reduce((all, event) => all | (event[2] as number), 0),
    bits,
  );
});

test('loop: a lane that is never idle reports activity that is 100 ms old', { skip }, (t) => {
  const { loop, clock, wake, reports, tun, use } = startLoop(t);
  use();
  tun.say(packet());
  loop.turn(true);
  clock.tick(99);
  wake.raise();
  loop.turn(true);
  assert.equal(reports.length, 0);
  clock.tick(1);
  wake.raise();
  loop.turn(true);
  assert.ok(reports.length > 0);
});

test('loop: that a session is needed is reported at once', { skip }, (t) => {
  const { loop, clock, reports, tun } = startLoop(t);
  tun.say(packet());
  loop.turn(true);
  assert.deepEqual(reports, [['activity', PEER, ACTIVITY.needsSession, clock.now()]]);
});
