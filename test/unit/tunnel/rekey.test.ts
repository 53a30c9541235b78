import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  INITIATION_GAP,
  REJECT_AFTER_TIME,
  REKEY_AFTER_TIME,
  REKEY_AFTER_TIME_RECEIVING,
  REKEY_TIMEOUT,
} from '../../../src/noise/constants.ts';
import { connectedPair, pair } from '../../kit/pair.ts';
import { Stranger, receiverIndex, senderIndex } from '../../kit/stranger.ts';

test('rekey: the initiator renews a session of REKEY_AFTER_TIME when it sends, not 1 ms earlier, and only then', async () => {
  const { alice, bob, wire, world, toBob } = await connectedPair();
  world.advance(REKEY_AFTER_TIME - 1);
  alice.send(toBob());
  assert.equal(wire.initiations().length, 0);
  world.advance(1);
  assert.equal(wire.initiations().length, 0);
  alice.send(toBob());
  assert.equal(wire.initiations(alice).length, 1);
  alice.send(toBob(), toBob());
  assert.equal(wire.initiations().length, 1);
  assert.equal(bob.received().length, 4);
});

test('rekey: a keepalive that the initiator sends counts as sending', async () => {
  const { alice, wire, world } = await connectedPair({ persistentKeepalive: 40 });
  world.advance(REKEY_AFTER_TIME - 1);
  assert.equal(wire.initiations().length, 0);
  world.advance(1);
  assert.equal(wire.initiations(alice).length, 1);
});

test('rekey: the responder never renews a session because of its age', async () => {
  const { bob, wire, world, toAlice } = await connectedPair();
  for (let age = 0; age < REJECT_AFTER_TIME; age += 5000) {
    // Alice's answers would make her rekey; she is not to get anything.
    wire.hold();
    bob.send(toAlice());
    wire.mend();
    // Bob's own new-handshake timer is another matter: anything from Alice stops it.
    assert.equal(wire.initiations(bob).length, 0, `at ${age} ms`);
    const stop = bob.timer('new-handshake') ?? Number.POSITIVE_INFINITY;
    if (stop <= 5000) break;
    world.advance(5000);
  }
  const other = await connectedPair();
  other.world.advance(REJECT_AFTER_TIME - 1);
  other.wire.hold();
  other.bob.send(other.toAlice());
  assert.deepEqual([other.wire.data(other.bob).length, other.wire.initiations().length], [1, 0]);
});

test('rekey on receive: the initiator renews a session of 165 s when it receives, not 1 ms earlier', async () => {
  const { alice, bob, wire, world, toAlice } = await connectedPair();
  world.advance(REKEY_AFTER_TIME_RECEIVING - 1);
  bob.send(toAlice());
  assert.equal(wire.initiations().length, 0);
  world.advance(1);
  bob.send(toAlice());
  assert.deepEqual([wire.initiations(alice).length, wire.initiations(bob).length], [1, 0]);
  assert.equal(alice.received().length, 2);
});

test('rekey on receive: the responder does nothing of the kind', async () => {
  const { alice, bob, wire, world, toBob } = await connectedPair();
  world.advance(REJECT_AFTER_TIME - 1);
  wire.hold(({ bytes }) => bytes[0] !== 4);
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
  assert.equal(wire.initiations(bob).length, 0);
});

test('reject: neither side sends on a session of REJECT_AFTER_TIME; 1 ms earlier both do', async () => {
  for (const side of ['alice', 'bob'] as const) {
    const both = await connectedPair();
    const [end, packet] = side === 'alice' ? [both.alice, both.toBob] : [both.bob, both.toAlice];
    const { wire, world } = both;
    world.advance(REJECT_AFTER_TIME - 1);
    wire.hold();
    end.send(packet());
    assert.equal(wire.data(end).length, 1);
    wire.clear();
    world.advance(1);
    end.send(packet());
    assert.equal(wire.data(end).length, 0);
  }
});

test('reject: neither side takes a packet on a session of REJECT_AFTER_TIME; 1 ms earlier both do', async () => {
  for (const side of ['alice', 'bob'] as const) {
    const both = await connectedPair();
    const { wire, world } = both;
    const [sender, receiver, packet] =
      side === 'alice' ? [both.alice, both.bob, both.toBob] : [both.bob, both.alice, both.toAlice];
    wire.hold();
    sender.send(packet(), packet());
    const [first, second] = wire.held.splice(0);
    assert.ok(first && second);
    world.advance(REJECT_AFTER_TIME - 1);
    wire.inject(first);
    world.settle();
    assert.equal(receiver.received().length, 1);
    world.advance(1);
    wire.inject(second);
    world.settle();
    assert.equal(receiver.received().length, 0);
    assert.deepEqual(receiver.drops(), { expired_keypair: 1 });
  }
});

test('reject: a packet after a long silence starts a new handshake from either side and arrives', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair();
  world.advance(REJECT_AFTER_TIME);
  alice.send(toBob());
  assert.equal(wire.initiations(alice).length, 1);
  assert.equal(bob.received().length, 1);
  world.advance(2 * REJECT_AFTER_TIME);
  wire.clear();
  bob.send(toAlice());
  assert.equal(wire.initiations(bob).length, 1);
  assert.equal(alice.received().length, 1);
});

test('spacing: whatever is sent, two initiations to a peer are REKEY_TIMEOUT apart', async () => {
  const { alice, bob, wire, world, clock, toBob } = await pair();
  wire.cut();
  await alice.configure({ publicKey: bob.publicKey, persistentKeepalive: 1 });
  const times: number[] = [];
  for (let t = 0; t < 60_000; t += 50) {
    const before = wire.initiations().length;
    alice.send(toBob());
    world.advance(50);
    if (wire.initiations().length > before) times.push(clock.now());
  }
  assert.ok(times.length >= 11, `${times.length} initiations in a minute`);
  for (let i = 1; i < times.length; i++) assert.ok((times[i] ?? 0) - (times[i - 1] ?? 0) >= REKEY_TIMEOUT);
});

test('spacing: a response counts as well, so whoever has answered does not initiate for REKEY_TIMEOUT', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await pair();
  // Bob's answers are lost.
  wire.bend((datagram) => (datagram.bytes[0] === 2 ? [] : [datagram]));
  alice.send(toBob());
  assert.equal(wire.responses(bob).length, 1);
  bob.send(toAlice());
  world.advance(REKEY_TIMEOUT - 1);
  assert.equal(wire.initiations(bob).length, 0);
});

test('spacing: a packet that waits because of it is not forgotten when it is over', async () => {
  const { alice, bob, wire, world, toAlice } = await pair();
  // Alice confirms with a keepalive that is lost, and says nothing more: Bob has answered and may not send.
  wire.bend((datagram) => (datagram.bytes[0] === 4 ? [] : [datagram]));
  await alice.configure({ publicKey: bob.publicKey, persistentKeepalive: 65_535 });
  assert.deepEqual([wire.responses(bob).length, wire.keepalives(alice).length], [1, 1]);
  wire.mend();
  world.advance(100);
  const packet = toAlice();
  bob.send(packet);
  assert.deepEqual(alice.received(), []);
  world.advance(2 * REKEY_TIMEOUT);
  assert.deepEqual(alice.received(), [packet]);
  assert.equal(wire.initiations(bob).length, 1);
});

test('flood gap: initiations of one peer within 20 ms are refused, and the one after that is taken', async () => {
  const { alice, bob, world, clock, wire } = await pair();
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
  const stamps = () => {
    clock.wallMs += 17;
    return stranger.initiation();
  };
  stranger.send(stamps());
  assert.equal(wire.responses(bob).length, 1);
  world.advance(INITIATION_GAP - 1);
  stranger.send(stamps());
  assert.equal(wire.responses(bob).length, 1);
  assert.deepEqual(bob.drops(), { initiation_flood: 1 });
  world.advance(1);
  stranger.send(stamps());
  assert.equal(wire.responses(bob).length, 2);
});

test('indices: they are random, unique, name handshake and session alike, and are released with them', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  const rounds = 1000;
  for (let i = 0; i < rounds; i++) {
    alice.send(toBob());
    // Sessions end before they are renewed in the odd rounds, after that in the even ones.
    world.advance(i % 2 === 0 ? REKEY_AFTER_TIME : REJECT_AFTER_TIME);
    if (i % 100 === 0) world.advance(REJECT_AFTER_TIME);
  }
  const initiators = wire.initiations(alice).map(senderIndex);
  const responders = wire.responses(bob).map(senderIndex);
  assert.ok(initiators.length >= rounds && responders.length === initiators.length);
  assert.equal(new Set(initiators).size, initiators.length);
  assert.equal(new Set(responders).size, responders.length);
  assert.deepEqual(new Set(wire.transport(alice).map(receiverIndex)), new Set(responders));
  // Random: of 1000 numbers about half lie in the upper half, and neighbours differ by anything.
  const high = initiators.filter((index) => index >= 2 ** 31).length;
  assert.ok(high > initiators.length * 0.4 && high < initiators.length * 0.6);
  const rising = initiators.filter((index, i) => i > 0 && index > (initiators[i - 1] ?? 0)).length;
  assert.ok(rising > initiators.length * 0.4 && rising < initiators.length * 0.6);

  // Only what the last sessions use is still known: to the lane, and to those who take handshakes and cookies.
  for (const [end, indices] of [
    [alice, initiators],
    [bob, responders],
  ] as const) {
    for (const [type, size] of [
      [4, 32],
      [3, 64],
    ] as const) {
      const before = end.drops().unknown_index ?? 0;
      for (const index of indices) {
        const bytes = new Uint8Array(size);
        new DataView(bytes.buffer).setUint32(0, type, true);
        new DataView(bytes.buffer).setUint32(4, index, true);
        wire.inject({ bytes, from: alice.endpoint, to: end.endpoint, tos: 0 });
        if (type === 3) world.settle();
      }
      world.settle();
      const unknown = (end.drops().unknown_index ?? 0) - before;
      assert.ok(unknown >= indices.length - 3, `${end.name}: ${unknown} of ${indices.length} are forgotten`);
    }
  }
});

test('spacing: a lane that asks late for a session that is there by then does not get another', async () => {
  for (let turns = 0; turns < 8; turns++) {
    const { alice, bob, wire, world, toBob } = await pair({ alice: { host: 'linked' } });
    // Another packet comes so many turns after the response, while that is on its way through both threads.
    const inject = (left: number) => {
      if (left === 0) alice.tun.inject(toBob());
      else world.defer(() => inject(left - 1));
    };
    wire.bend((datagram) => {
      if (datagram.bytes[0] === 2) world.after(20, () => inject(turns));
      return [datagram];
    });
    wire.delay(() => 20);
    alice.send(toBob());
    world.advance(100);
    assert.equal(bob.received().length, 2);
    world.advance(2 * REKEY_TIMEOUT);
    assert.equal(wire.initiations().length, 1, `${turns} turns`);
  }
});
