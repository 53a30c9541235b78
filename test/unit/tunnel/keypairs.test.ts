import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REKEY_AFTER_TIME, REKEY_TIMEOUT } from '../../../src/noise/constants.ts';
import type { WireDatagram } from '../../../src/tunnel/bind-memory.ts';
import { NobleTransportAead } from '../../../src/noise/aead-noble.ts';
import { Keypairs } from '../../../src/tunnel/keypairs.ts';
import { connectedPair, pair, type End, type Pair } from '../../kit/pair.ts';
import { Stranger, receiverIndex, senderIndex } from '../../kit/stranger.ts';

/** Makes the end initiate a new handshake with its next packet, whatever session there is. */
async function restart(end: End, other: End): Promise<void> {
  const { privateKey } = end;
  const { endpoint } = end.peer(other);
  const { allowedIps } = end.peer(other);
  await end.device.configure({ privateKey, peers: [{ publicKey: other.publicKey, remove: true }] });
  await end.configure({
    publicKey: other.publicKey,
    ...(endpoint ? { endpoint } : {}),
    allowedIps: allowedIps.map((prefix) => ({ prefix, remove: false })),
  });
}

/** One datagram of a new packet, kept from the other side. */
function capture({ wire }: Pair, end: End, packet: Uint8Array): WireDatagram {
  wire.hold();
  end.send(packet);
  wire.mend();
  const datagram = wire.held.splice(0).find(({ bytes }) => bytes[0] === 4);
  assert.ok(datagram);
  return datagram;
}

test('keypairs: the initiator sends with the new keypair as soon as the response is there', async () => {
  const { alice, wire, world, toBob } = await connectedPair();
  world.advance(REKEY_AFTER_TIME);
  alice.send(toBob());
  const [response] = wire.responses().map(senderIndex);
  assert.equal(wire.transport(alice).map(receiverIndex).at(-1), response);
});

test('keypairs: the responder goes on with the current one until the next is confirmed', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair();
  bob.send(toAlice());
  const [old] = wire.data(bob).map(receiverIndex);
  world.advance(REKEY_AFTER_TIME);
  // Alice's packet of the old session goes through and makes her rekey; her confirmation does not arrive.
  wire.hold(({ bytes, from }) => bytes[0] === 4 && from.port === alice.endpoint.port);
  alice.send(toBob());
  assert.equal(wire.responses(bob).length, 1);
  wire.clear();
  bob.send(toAlice());
  assert.deepEqual(wire.data(bob).map(receiverIndex), [old]);
  wire.mend();
  wire.inject(...wire.held.splice(0));
  world.settle();
  wire.clear();
  bob.send(toAlice());
  assert.equal(
    wire
      .data(bob)
      .map(receiverIndex)
      .includes(old ?? 0),
    false,
  );
  assert.equal(alice.received().length, 3);
});

test('keypairs: packets of the previous keypair still arrive after a rekey, on either side', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, toBob, toAlice } = both;
  world.advance(REKEY_AFTER_TIME);
  const lateForBob = capture(both, bob, toAlice());
  wire.hold(({ bytes }) => bytes[0] === 4);
  const late = toBob();
  alice.send(late);
  // Held: the packet of the old session, then the confirmation of the new one.
  assert.equal(wire.held.length, 2);
  const [old, confirmation] = wire.held.splice(0) as [WireDatagram, WireDatagram];
  wire.mend();
  assert.notEqual(receiverIndex(old), receiverIndex(confirmation));
  wire.inject(confirmation);
  world.settle();
  wire.inject(old, lateForBob);
  world.settle();
  assert.deepEqual(bob.received(), [late]);
  assert.equal(alice.received().length, 1);
});

test('keypairs: the keypair before the previous one is gone', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, toBob } = both;
  const first = capture(both, alice, toBob());
  for (let i = 0; i < 2; i++) {
    wire.inject(first);
    world.settle();
    assert.equal(bob.received().length, i === 0 ? 1 : 0);
    world.advance(20_000);
    await restart(alice, bob);
    alice.send(toBob());
    bob.received();
  }
  assert.deepEqual(bob.drops(), { replayed: 1 });
  wire.inject(first);
  world.settle();
  assert.deepEqual(bob.drops(), { replayed: 1, unknown_index: 1 });
});

test('keypairs: making next, the responder drops previous and an older next', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, clock, toBob } = both;
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey, from: alice.endpoint });
  const first = capture(both, alice, toBob());
  // A second session, confirmed: the first one becomes previous.
  world.advance(1000);
  const second = stranger.shakeHands();
  stranger.send(stranger.transport(0n, new Uint8Array(0)));
  world.advance(1000);
  // A third one, not confirmed: previous goes, current stays.
  const third = stranger.shakeHands();
  wire.inject(first);
  world.settle();
  assert.deepEqual(bob.drops(), { unknown_index: 1 });
  stranger.send(stranger.transport(1n, toBob(), second));
  assert.equal(bob.received().length, 1);
  // A fourth one: the third is not to be confirmed any more.
  clock.tick(100);
  stranger.shakeHands();
  stranger.send(stranger.transport(0n, toBob(), third));
  assert.equal(bob.received().length, 0);
  assert.deepEqual(bob.drops(), { unknown_index: 2 });
  stranger.send(stranger.transport(0n, toBob()));
  assert.equal(bob.received().length, 1);
  // Confirming the fourth made the second previous.
  stranger.send(stranger.transport(2n, toBob(), second));
  assert.equal(bob.received().length, 1);
});

test('keypairs: deriving as initiator with an unconfirmed next, the former current and next may still receive', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, toBob, toAlice } = both;
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey, from: alice.endpoint });
  world.advance(1000);
  stranger.shakeHands();
  // Bob's packet stays without an answer, so he initiates.
  capture(both, bob, toAlice());
  world.advance((bob.timer('new-handshake') ?? 0) - 1);
  const ofFormerCurrent = capture(both, alice, toBob());
  wire.clear();
  world.advance(1);
  assert.equal(wire.initiations(bob).length, 1);
  wire.inject(ofFormerCurrent);
  stranger.send(stranger.transport(0n, toBob()));
  assert.equal(bob.received().length, 2);
  // The session that Bob has initiated is the younger one: he goes on sending with it.
  wire.clear();
  bob.send(toAlice());
  assert.equal(alice.received().length, 1);
});

test('keypairs: they follow each other by these rules, and each is dropped once', () => {
  const rules: readonly (readonly [events: string, dropped: string])[] = [
    // i: derived as initiator, r: derived as responder, c: next is confirmed, x: the private key changes.
    ['i1', ''],
    ['i1 i2', ''],
    ['i1 i2 i3', '1'],
    ['r1 c1', ''],
    ['r1 r2', '1'],
    ['i1 r2', ''],
    ['i1 i2 r3', '1'],
    ['i1 r2 c2 r3', '1'],
    ['i1 r2 c2 r3 c3', '1'],
    ['i1 i2 r3 c3', '1'],
    // Crossing: next is older than current, and stays when the other side uses it.
    ['i1 r2 i3', ''],
    ['i1 r2 i3 c2', ''],
    ['i1 r2 i3 r4', '1 2'],
    ['i1 r2 i3 c2 r4', '1'],
    ['i1 r2 i3 c2 r4 c4', '1 2'],
    ['i1 r2 i3 c2 i4', '3'],
    // And again: what the other side sends with is kept, not what only this side has sent with.
    ['i1 r2 i3 c2 r4 i5', '1 3'],
    ['i1 r2 i3 c2 r4 r5', '1 4'],
    ['i1 r2 i3 c2 r4 r5 c5', '1 4 2'],
    ['i1 r2 i3 c2 i4 r5', '3 1'],
    ['i1 r2 i3 c2 i4 r5 c5', '3 1 2'],
    ['i1 x', ''],
    ['i1 i2 x', '1'],
    ['i1 r2 x', '2'],
    ['i1 r2 x i3 x', '2 1'],
  ];
  for (const [events, expected] of rules) {
    const dropped: number[] = [];
    const keypairs = new Keypairs(({ index }) => dropped.push(index));
    for (const event of events.split(' ')) {
      const index = Number(event.slice(1));
      if (event.startsWith('i')) keypairs.derivedAsInitiator({ index, createdAtMs: 0 });
      else if (event.startsWith('r')) keypairs.derivedAsResponder({ index, createdAtMs: 0 });
      else if (event.startsWith('c')) keypairs.confirmed(index);
      else keypairs.retire();
    }
    assert.equal(dropped.join(' '), expected, events);
    keypairs.clear();
    const all = [...events.matchAll(/[ir](\d)/g)].map(([, index]) => Number(index));
    assert.deepEqual(
      dropped.toSorted((a, b) => a - b),
      all,
      events,
    );
    assert.equal(keypairs.current, undefined);
  }
});

test('keypairs: only the confirmation of a next that is younger than current changes what is sent with', () => {
  const keypairs = new Keypairs(() => {});
  const keypair = (index: number) => ({ index, createdAtMs: 0 });
  const current = () => keypairs.current?.index;
  keypairs.derivedAsResponder(keypair(1));
  assert.equal(current(), undefined);
  assert.equal(keypairs.confirmed(2), false);
  assert.equal(keypairs.confirmed(1), true);
  assert.equal(current(), 1);
  assert.equal(keypairs.confirmed(1), false);
  keypairs.derivedAsResponder(keypair(2));
  keypairs.derivedAsInitiator(keypair(3));
  assert.equal(keypairs.confirmed(2), false);
  assert.equal(current(), 3);
});

test('confirmation: a forged packet on next changes nothing; only an authenticated one promotes it', async () => {
  const both = await pair();
  const { alice, bob, wire, world, toBob, toAlice } = both;
  wire.hold(({ bytes }) => bytes[0] === 4);
  alice.send(toBob());
  wire.mend();
  const [confirmation] = wire.held.splice(0);
  assert.ok(confirmation);
  bob.send(toAlice());
  const { bytes } = confirmation;
  for (let at = 8; at < bytes.length; at++) {
    const forged = bytes.slice();
    forged[at] = (forged[at] as number) ^ 0x10;
    wire.inject({ ...confirmation, bytes: forged });
  }
  world.settle();
  assert.deepEqual([wire.transport(bob).length, bob.received().length], [0, 0]);
  assert.equal(bob.peer(alice).lastHandshakeMs, 0);
  assert.deepEqual(bob.drops(), { bad_tag: bytes.length - 8 });
  wire.inject(confirmation);
  world.settle();
  assert.deepEqual([wire.transport(bob).length, bob.received().length], [1, 1]);
  assert.equal(alice.received().length, 1);
});

test('simultaneous initiations: once the session of the other side is confirmed, the answer to the own one comes too late', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await pair();
  // Bob's answer takes longer than Alice's answer and Bob's confirmation together.
  wire.hold(({ bytes, from }) => bytes[0] === 2 && from.port === bob.endpoint.port);
  alice.tun.inject(toBob());
  bob.tun.inject(toAlice());
  world.settle();
  assert.deepEqual([alice.received().length, bob.received().length], [1, 1]);
  wire.mend();
  wire.clear();
  wire.inject(...wire.held.splice(0));
  world.settle();
  assert.deepEqual(alice.drops(), { unknown_index: 1 });
  assert.equal(wire.sent.length, 0);
});

test('simultaneous initiations: both sides have a session after one round trip, and everything that waited arrives', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await pair();
  const there = [toBob(), toBob()];
  const back = [toAlice(), toAlice(), toAlice()];
  alice.tun.inject(...there);
  bob.tun.inject(...back);
  assert.deepEqual([wire.initiations(alice).length, wire.initiations(bob).length], [1, 1]);
  world.settle();
  assert.deepEqual([wire.responses(alice).length, wire.responses(bob).length], [1, 1]);
  assert.deepEqual(bob.received(), there);
  assert.deepEqual(alice.received(), back);
  // And no storm: nothing more but keepalives for minutes.
  wire.clear();
  for (let second = 0; second < 100; second++) {
    alice.send(toBob());
    bob.send(toAlice());
    world.advance(1000);
  }
  assert.deepEqual([wire.initiations().length, wire.responses().length], [0, 0]);
  assert.deepEqual([bob.received().length, alice.received().length], [100, 100]);
});

test('simultaneous initiations: with any delay on the wire both sides have a session after one round trip', async () => {
  for (const oneWayMs of [1, 50, 400, 3000]) {
    const { alice, bob, wire, world, toBob, toAlice } = await pair({ seed: oneWayMs });
    wire.delay(() => oneWayMs);
    const [there, back] = [toBob(), toAlice()];
    alice.tun.inject(there);
    bob.tun.inject(back);
    world.advance(3 * oneWayMs);
    assert.deepEqual(bob.received(), [there], `${oneWayMs} ms`);
    assert.deepEqual(alice.received(), [back], `${oneWayMs} ms`);
    assert.equal(wire.initiations().length, 2);
    world.advance(2 * REKEY_TIMEOUT);
    assert.equal(wire.initiations().length, 2);
  }
});

test('simultaneous initiations: no packet is lost when both renew a session at once, again and again', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await pair();
  wire.delay(() => 300);
  const sent = 4000;
  for (let i = 0; i < sent; i++) {
    alice.tun.inject(toBob(40));
    bob.tun.inject(toAlice(40));
    world.advance(100);
  }
  world.advance(1000);
  // Each has initiated, so each renews its own session every two minutes.
  assert.deepEqual([wire.initiations(alice).length, wire.initiations(bob).length], [4, 4]);
  assert.deepEqual([bob.received().length, alice.received().length], [sent, sent]);
  assert.deepEqual([alice.drops(), bob.drops()], [{}, {}]);
});

test('restart: a peer that lost everything is back with its next packet', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair();
  world.advance(1000);
  await restart(alice, bob);
  alice.send(toBob());
  bob.send(toAlice());
  assert.deepEqual([wire.initiations(alice).length, wire.initiations(bob).length], [1, 0]);
  assert.deepEqual([bob.received().length, alice.received().length], [1, 1]);
});

test('restart: a peer that does not know of it finds out within 15 s and a bit', async () => {
  const { alice, bob, wire, world, toBob } = await connectedPair();
  world.advance(1000);
  await restart(bob, alice);
  alice.send(toBob());
  assert.deepEqual(bob.drops(), { unknown_index: 1 });
  world.advance(15_333);
  assert.equal(wire.initiations(alice).length, 1);
  const packet = toBob();
  alice.send(packet);
  assert.deepEqual(bob.received(), [packet]);
});

/** An AEAD that knows how many keys it holds. */
class CountingAead extends NobleTransportAead {
  readonly live = new Set<number>();

  override addKey(key: Uint8Array): number {
    const handle = super.addKey(key);
    assert.ok(!this.live.has(handle));
    this.live.add(handle);
    return handle;
  }

  override dropKey(handle: number): void {
    assert.ok(this.live.delete(handle), 'dropped twice');
    super.dropKey(handle);
  }
}

test('keys: a lane holds those of three sessions at most, and none when the device is down or the peer removed', async () => {
  let aead: CountingAead | undefined;
  const { alice, bob, world, wire, toBob, toAlice } = await pair({
    alice: { aead: (arena) => (aead = new CountingAead(arena)) },
  });
  const live = () => aead?.live.size;
  for (let round = 0; round < 30; round++) {
    // Crossing and plain handshakes, answers that get lost, sessions that end.
    if (round % 5 === 3) wire.bend((datagram) => (datagram.bytes[0] === 2 ? [] : [datagram]));
    alice.tun.inject(toBob());
    bob.tun.inject(toAlice());
    world.advance(round % 2 === 0 ? REKEY_AFTER_TIME : 2 * REKEY_AFTER_TIME);
    wire.mend();
    assert.ok((live() ?? 0) <= 6, `${live()} keys`);
  }
  assert.ok((live() ?? 0) > 0);
  for (let round = 0; round < 50; round++) {
    await alice.device.down();
    assert.equal(live(), 0);
    assert.deepEqual(alice.device.timers(), []);
    await alice.device.up();
    world.advance(100);
    alice.send(toBob());
    assert.equal(live(), 2);
  }
  await alice.configure({ publicKey: bob.publicKey, remove: true });
  assert.equal(live(), 0);
});
