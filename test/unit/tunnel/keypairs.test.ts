import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REKEY_AFTER_TIME, REKEY_TIMEOUT } from '../../../src/noise/constants.ts';
import type { WireDatagram } from '../../../src/tunnel/bind-memory.ts';
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

test('keypairs: deriving as initiator with an unconfirmed next, that becomes previous and current goes', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, toBob, toAlice } = both;
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey, from: alice.endpoint });
  world.advance(1000);
  stranger.shakeHands();
  // Bob's packet stays without an answer, so he initiates.
  capture(both, bob, toAlice());
  world.advance((bob.timer('new-handshake') ?? 0) - 1);
  const ofCurrent = capture(both, alice, toBob());
  wire.clear();
  world.advance(1);
  assert.equal(wire.initiations(bob).length, 1);
  wire.inject(ofCurrent);
  world.settle();
  assert.deepEqual(bob.drops(), { unknown_index: 1 });
  stranger.send(stranger.transport(0n, toBob()));
  assert.equal(bob.received().length, 1);
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

test('simultaneous initiations: nothing is lost for longer when both renew a session at once', async () => {
  const { alice, bob, wire, world, clock, toBob, toAlice } = await connectedPair();
  const oneWayMs = 40;
  wire.delay(() => oneWayMs);
  world.advance(REKEY_AFTER_TIME - 1000);
  // Bob has been the initiator of nothing yet; here he wants a handshake for want of answers.
  await restart(bob, alice);
  alice.tun.inject(toBob());
  const start = clock.now();
  for (let i = 0; i < 200; i++) {
    alice.tun.inject(toBob());
    bob.tun.inject(toAlice());
    world.advance(10);
  }
  assert.ok(clock.now() - start === 2000);
  world.advance(100);
  // Before the handshake is through Bob knows no session: what Alice sent him meanwhile is lost.
  const lost = 201 - bob.received().length;
  assert.ok(lost <= (3 * oneWayMs) / 10 + 1, `${lost} packets lost`);
  assert.equal(alice.received().length, 200);
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
