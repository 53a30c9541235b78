/** What changes while packets are on their way, with lanes on this thread and as in another one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REKEY_AFTER_TIME } from '../../../src/noise/constants.ts';
import { HOST_NAMES, type Pair, address, connectedPair, prefix } from '../../kit/pair.ts';
import { ipv4Packet } from '../../kit/packets.ts';

const ALICE = '10.0.0.1';
const BOB = '10.0.0.2';

/** The serials of packets from `ipv4Packet`. */
function serials(packets: readonly Uint8Array[]): number[] {
  return packets.map((packet) => ((packet[4] as number) << 8) | (packet[5] as number));
}

function burst(from: string, to: string, first: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => ipv4Packet(from, to, 200, first + i));
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

for (const host of HOST_NAMES) {
  const options = { alice: { host }, bob: { host } };

  test(`rekey under load loses no packet and reorders none, in either direction; lanes ${host}`, async () => {
    const { world, wire, alice, bob } = await connectedPair(options);
    // Both keypairs have packets on the wire when the session changes.
    wire.delay(() => 40);
    world.advance(REKEY_AFTER_TIME - 1_000);
    let sent = 0;
    for (let time = 0; time < 3_000; time += 10) {
      alice.send(...burst(ALICE, BOB, sent, 16));
      bob.send(...burst(BOB, ALICE, sent, 16));
      sent += 16;
      world.advance(10);
    }
    world.advance(1_000);
    assert.equal(wire.initiations().length, 1);
    assert.deepEqual(serials(bob.received()), upTo(sent));
    assert.deepEqual(serials(alice.received()), upTo(sent));
    assert.deepEqual([alice.drops(), bob.drops()], [{}, {}]);
  });

  test(`an endpoint that changes within a batch loses nothing, and the last one is answered; lanes ${host}`, async () => {
    const { world, wire, alice, bob } = await connectedPair(options);
    bob.send(...burst(BOB, ALICE, 0, 1));
    alice.received();
    wire.hold();
    bob.send(...burst(BOB, ALICE, 0, 64));
    wire.mend();
    const moved = address('192.0.2.77');
    wire.inject(
      ...wire.held.map((datagram, i) =>
        i < 32 ? datagram : { ...datagram, from: { ...datagram.from, address: moved } },
      ),
    );
    world.settle();
    assert.deepEqual(serials(alice.received()), upTo(64));
    assert.deepEqual(alice.peer(bob).endpoint?.address, moved);
    wire.clear();
    alice.send(...burst(ALICE, BOB, 0, 5));
    assert.deepEqual(
      wire.data(alice).map(({ to }) => to.address),
      Array.from({ length: 5 }, () => moved),
    );
    assert.deepEqual(alice.drops(), {});
  });

  test(`packets of a peer that is removed while they are in flight go nowhere; lanes ${host}`, async () => {
    const { world, wire, alice, bob } = await connectedPair(options);
    alice.send(...burst(ALICE, BOB, 0, 1));
    bob.received();
    wire.hold();
    alice.send(...burst(ALICE, BOB, 0, 64));
    bob.send(...burst(BOB, ALICE, 0, 64));
    wire.mend();
    await bob.configure({ publicKey: alice.publicKey, remove: true });
    wire.inject(...wire.held);
    bob.send(...burst(BOB, ALICE, 64, 3));
    world.settle();
    assert.deepEqual(bob.received().filter(isData), []);
    assert.deepEqual(serials(alice.received()), upTo(64));
    assert.deepEqual(bob.drops(), { unknown_index: 64, no_route: 3 });
    await bob.configure({
      publicKey: alice.publicKey,
      endpoint: alice.endpoint,
      allowedIps: [{ prefix: prefix('10.0.0.1/32'), remove: false }],
    });
    bob.send(...burst(BOB, ALICE, 0, 10));
    assert.deepEqual(serials(alice.received()), upTo(10));
  });

  test(`an interface that goes down under load comes up again as if nothing had been; lanes ${host}`, async () => {
    const both = await connectedPair(options);
    const { world, alice, bob } = both;
    await interrupt(both);
    assert.deepEqual(alice.received(), []);
    bob.received();
    await bob.device.up();
    world.settle();
    await alice.configure({ publicKey: bob.publicKey, endpoint: bob.endpoint });
    bob.send(...burst(BOB, ALICE, 0, 20));
    // Whoever had packets waiting sends them first.
    assert.deepEqual(serials(alice.received()).slice(-20), upTo(20));
  });
}

/** Bob's interface goes down with 64 packets on the way to him and 64 waiting to be sent. */
async function interrupt({ world, wire, alice, bob }: Pair): Promise<void> {
  wire.hold();
  alice.send(...burst(ALICE, BOB, 0, 64));
  wire.mend();
  await bob.device.down();
  wire.inject(...wire.held);
  bob.send(...burst(BOB, ALICE, 0, 64));
  alice.send(...burst(ALICE, BOB, 64, 64));
  world.advance(1_000);
}

/** ICMP errors, which answer packets that nobody takes, are none. */
function isData(packet: Uint8Array): boolean {
  return packet[9] === 17;
}
