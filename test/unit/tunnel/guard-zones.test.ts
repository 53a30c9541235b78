/** What system calls and lanes write to, byte for byte; the tests that use kit/pair and kit/lanes look at the zones, too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasLibc } from '../../../src/sys/libc.ts';
import { arenaAddress, isInside } from '../../../src/sys/memory.ts';
import { MessageTable } from '../../../src/sys/messages.ts';
import { UdpSocket } from '../../../src/sys/udp-socket.ts';
import { DatagramBatch } from '../../../src/tunnel/bind.ts';
import { ENDPOINT, encodeEndpoint } from '../../../src/tunnel/endpoint.ts';
import { LinuxDatagrams } from '../../../src/tunnel/linux-datagrams.ts';
import { eventually } from '../../kit/eventually.ts';
import { GuardedArena } from '../../kit/guarded-arena.ts';
import { lanePair } from '../../kit/lanes.ts';
import { ipv4Packet } from '../../kit/packets.ts';
import { address, pair } from '../../kit/pair.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs Linux and koffi';

test('guard zones: a write beside an allocation is noticed, on either side and behind all of them', () => {
  for (const spoil of [-1, 20, 0]) {
    const arena = new GuardedArena({ bytes: 1 << 16 });
    const at = arena.alloc(20);
    arena.verifyAll();
    if (spoil === 0) arena.u8[arena.u8.length - 1] = 1;
    else arena.u8[at + spoil] = 1;
    assert.throws(() => arena.verifyAll(), /written/);
  }
});

test('guard zones: lanes leave everything beside their slots and tables as it was', async () => {
  const { network, left, right } = await lanePair();
  for (let size = 20; size < 60_000; size += 997) {
    left.send(ipv4Packet('10.0.0.1', '10.0.0.2', size));
    network.deliver();
    right.receive();
    assert.equal(right.received().length, 1, `${size} bytes`);
  }
  for (const { arena } of [left, right]) arena.verifyAll();
});

test('guard zones: a device up, down, up and closed leaves nothing beside its tables', async () => {
  const { alice, bob, world, toBob, toAlice } = await pair();
  for (let i = 0; i < 3; i++) {
    alice.send(toBob(), toBob(1400));
    bob.send(toAlice());
    world.advance(200_000);
    await alice.device.down();
    await alice.device.up();
    world.settle();
  }
  for (const end of [alice, bob]) {
    await end.device.close();
    end.arena.verifyAll();
  }
});

test(
  'guard zones: recvmmsg writes to the slots of what came and to nothing behind them',
  { skip },
  async () => {
    const arena = new GuardedArena({ bytes: 4 << 20 });
    const datagrams = new LinuxDatagrams(arena, { gso: false, gro: false, maxWaitMs: 0 });
    const [own, other] = [new UdpSocket(4, 0), new UdpSocket(4, 0)];
    const senderArena = new GuardedArena({ bytes: 4 << 20 });
    const sender = new LinuxDatagrams(senderArena, { gso: false, gro: false, maxWaitMs: 0 });
    datagrams.use(own.fd, -1);
    sender.use(other.fd, -1);
    try {
      const sizes = [0, 1, 32, 1500, 65_507, 148];
      // The receive buffers are by far the largest allocation.
      const buffers = arena.largest;
      arena.u8.fill(0x5a, buffers.at, buffers.at + buffers.size);
      send(sender, senderArena, own.port, sizes);
      const batch = new DatagramBatch(datagrams.batchSize);
      const written = new Set<number>();
      await eventually('all have come', () => {
        datagrams.receive(batch);
        for (let i = 0; i < batch.count; i++) {
          assert.ok(isInside(buffers.at + buffers.size, batch.at[i] as number, batch.length[i] as number));
          for (let at = 0; at < (batch.length[i] as number); at++) written.add((batch.at[i] as number) + at);
        }
        return written.size >= sizes.reduce((a, b) => a + b);
      });
      arena.verifyAll();
      for (let at = buffers.at; at < buffers.at + buffers.size; at++)
        if (arena.u8[at] !== 0x5a && !written.has(at))
          assert.fail(`offset ${at - buffers.at} of the buffers was written`);
    } finally {
      datagrams.use(-1, -1);
      sender.use(-1, -1);
      own.close();
      other.close();
    }
  },
);

/** Sends datagrams of bytes that are not 0x5a to a port of the loopback. */
function send(sender: LinuxDatagrams, arena: GuardedArena, port: number, sizes: readonly number[]): void {
  const record = arena.alloc(ENDPOINT.size);
  encodeEndpoint({ address: address('127.0.0.1'), port, scope: 0, carrier: 0 }, arena.u8, record);
  const batch = new DatagramBatch(sizes.length);
  for (const size of sizes) {
    const at = arena.alloc(Math.max(1, size));
    arena.u8.fill(0x11, at, at + size);
    batch.push(at, size, record, 0);
  }
  sender.send(batch);
}

test('guard zones: what lies outside the arena is not handed to the kernel', { skip }, () => {
  const arena = new GuardedArena({ bytes: 1 << 16 });
  const table = new MessageTable(arena, 2, 64);
  const size = arena.u8.length;
  for (const [at, length] of [
    [-1, 10],
    [size, 1],
    [size - 5, 6],
    [0, size + 1],
    [0, -1],
    [Number.NaN, 1],
  ] as const)
    assert.equal(table.setBuffer(0, at, length), false, `${at} ${length}`);
  assert.equal(table.setBuffer(0, size - 5, 5), true);
  table.setControl(1, 8, 64);
  assert.equal(table.controlLength(1), 0);
  table.setControl(1, 8, 56);
  assert.equal(table.controlLength(1), 56);
  assert.ok(table.address(1) > arenaAddress(arena));
  arena.verifyAll();
});

test('guard zones: a removed peer leaves no session, no endpoint and no packet to the one that takes its record', async () => {
  const { left } = await lanePair();
  const { record } = left.peer;
  left.tables.removePeer(1);
  left.tables.addPeer(2);
  const next = left.tables.peer(2);
  assert.equal(next?.record, record);
  assert.ok(left.arena.u8.subarray(record, record + ENDPOINT.size).every((byte) => byte === 0));
  assert.deepEqual(
    [next?.current, next?.next, next?.staged, next?.keypairs.size],
    [undefined, undefined, [], 0],
  );
  assert.equal(left.tables.keypair(11), undefined);
  assert.deepEqual(left.tables.counters(2), { txBytes: 0n, rxBytes: 0n });
});
