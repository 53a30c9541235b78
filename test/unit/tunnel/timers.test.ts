import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  KEEPALIVE_TIMEOUT,
  NEW_HANDSHAKE_TIMEOUT,
  REKEY_ATTEMPT_TIME,
  REKEY_TIMEOUT,
  REKEY_TIMEOUT_JITTER_MAX,
  ZERO_KEYS_AFTER_TIME,
} from '../../../src/noise/constants.ts';
import { PrivateKey } from '../../../src/noise/keys.ts';
import { Deadlines } from '../../../src/tunnel/deadlines.ts';
import { PeerTimers } from '../../../src/tunnel/timers.ts';
import { connectedPair, pair, type End } from '../../kit/pair.ts';
import { seededRandom } from '../../kit/random.ts';

const HOUR = 3_600_000;
const noKey = new PrivateKey(new Uint8Array(32));

/** The armed time of a timer with jitter, after checking that it lies where the jitter may put it. */
function jittered(end: End, name: string, base: number): number {
  const ms = end.timer(name);
  assert.ok(ms !== undefined && ms >= base && ms <= base + REKEY_TIMEOUT_JITTER_MAX, `${name} in ${ms} ms`);
  return ms;
}

test('retransmit: an initiation without answer is repeated after REKEY_TIMEOUT and the jitter, not 1 ms earlier', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const { alice, wire, world, toBob } = await pair({ seed });
    wire.cut();
    alice.send(toBob());
    const wait = jittered(alice, 'retransmit-handshake', REKEY_TIMEOUT);
    world.advance(wait - 1);
    assert.equal(wire.initiations().length, 1);
    world.advance(1);
    assert.equal(wire.initiations().length, 2);
  }
});

test('retransmit: a repeated initiation is a new one, with another index, ephemeral key and timestamp', async () => {
  const { alice, wire, world, toBob } = await pair();
  wire.cut();
  alice.send(toBob());
  world.advance(REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX);
  const [first, second] = wire.initiations().map(({ bytes }) => bytes);
  assert.ok(first && second);
  for (const [from, to] of [
    [4, 8],
    [8, 40],
    [40, 88],
    [88, 116],
  ] as const)
    assert.notDeepEqual(first.subarray(from, to), second.subarray(from, to));
});

test('jitter: it is uniform over 0..333 ms, both ends included', () => {
  const deadlines = new Deadlines();
  const random = seededRandom(7);
  const actions = {
    sendInitiation: () => {},
    sendKeepalive: () => {},
    clearSource: () => {},
    giveUpHandshake: () => {},
    zeroKeys: () => {},
  };
  const counts: number[] = Array.from({ length: REKEY_TIMEOUT_JITTER_MAX + 1 }, () => 0);
  const runs = 334 * 100;
  for (let i = 0; i < runs; i++) {
    const timers = new PeerTimers('peer', deadlines, random, actions);
    timers.start();
    if (i % 2 === 0) timers.handshakeInitiated(0);
    else timers.dataSent(0);
    const base = i % 2 === 0 ? REKEY_TIMEOUT : NEW_HANDSHAKE_TIMEOUT;
    counts[deadlines.next - base] = (counts[deadlines.next - base] ?? 0) + 1;
    timers.stop();
  }
  assert.equal(counts.length, REKEY_TIMEOUT_JITTER_MAX + 1);
  // Chi-square with 333 degrees of freedom: mean 333, standard deviation 26. The seed is fixed.
  const chi = counts.reduce((sum, count) => sum + (count - 100) ** 2 / 100, 0);
  assert.ok(chi > 333 - 4 * 26 && chi < 333 + 4 * 26, `chi-square ${chi}`);
});

test('giving up: 20 initiations in about REKEY_ATTEMPT_TIME, then silence, and what waited is dropped', async () => {
  const { alice, wire, world, clock, toBob } = await pair();
  const start = clock.now();
  const times: number[] = [];
  wire.bend(() => {
    times.push(clock.now() - start);
    return [];
  });
  alice.send(toBob(), toBob());
  // 20 intervals of 5 s and a jitter.
  world.advance(20 * (REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX));
  assert.equal(wire.initiations().length, 20);
  assert.deepEqual(alice.drops(), { no_session: 2 });
  world.advance(HOUR);
  assert.equal(wire.sent.length, 20);
  const last = times.at(-1) ?? 0;
  assert.ok(last >= REKEY_ATTEMPT_TIME && last < REKEY_ATTEMPT_TIME + 12_000, `gave up after ${last} ms`);
  for (let i = 1; i < times.length; i++) {
    const gap = (times[i] ?? 0) - (times[i - 1] ?? 0);
    assert.ok(gap >= REKEY_TIMEOUT && gap <= REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX, `gap of ${gap} ms`);
  }
});

test('giving up: the next packet starts a full REKEY_ATTEMPT_TIME again, and it gets through when somebody answers', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  wire.cut();
  alice.send(toBob());
  world.advance(HOUR);
  wire.clear();
  alice.send(toBob());
  world.advance(HOUR);
  assert.equal(wire.initiations().length, 20);
  wire.mend();
  const packet = toBob();
  alice.send(packet);
  assert.deepEqual(bob.received(), [packet]);
});

test('giving up: packets that keep coming keep the attempt alive', async () => {
  const { alice, wire, world, toBob } = await pair();
  wire.cut();
  for (let i = 0; i < 300; i++) {
    alice.send(toBob());
    world.advance(1000);
  }
  const sent = wire.initiations().length;
  assert.ok(sent >= 300 / 5.4 && sent <= 300 / 5, `${sent} initiations in 300 s`);
});

test('passive keepalive: data without an answer is acknowledged after KEEPALIVE_TIMEOUT, not 1 ms earlier, once', async () => {
  const { alice, bob, wire, world, toBob } = await connectedPair();
  alice.send(toBob());
  world.advance(KEEPALIVE_TIMEOUT - 1);
  assert.equal(wire.keepalives(bob).length, 0);
  world.advance(1);
  assert.equal(wire.keepalives(bob).length, 1);
  world.advance(100_000);
  assert.equal(wire.transport().length, 2);
});

test('passive keepalive: it is due KEEPALIVE_TIMEOUT after the first packet, and once more when others came meanwhile', async () => {
  const { alice, bob, wire, world, toBob } = await connectedPair();
  alice.send(toBob());
  world.advance(4000);
  alice.send(toBob());
  world.advance(KEEPALIVE_TIMEOUT - 4000 - 1);
  assert.equal(wire.keepalives(bob).length, 0);
  world.advance(1);
  assert.equal(wire.keepalives(bob).length, 1);
  world.advance(KEEPALIVE_TIMEOUT - 1);
  assert.equal(wire.keepalives(bob).length, 1);
  world.advance(1);
  assert.equal(wire.keepalives(bob).length, 2);
  world.advance(50_000);
  assert.equal(wire.keepalives().length, 2);
});

test('passive keepalive: whatever is sent before it is due takes its place', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair();
  alice.send(toBob());
  world.advance(KEEPALIVE_TIMEOUT - 1);
  bob.send(toAlice());
  world.advance(KEEPALIVE_TIMEOUT - 1);
  assert.equal(wire.keepalives().length, 0);
  world.advance(1);
  assert.deepEqual([wire.keepalives(alice).length, wire.keepalives(bob).length], [1, 0]);
});

test('passive keepalive: a keepalive is never answered by a keepalive, so two idle peers fall silent', async () => {
  const { alice, bob, wire, world, toBob } = await connectedPair();
  alice.send(toBob());
  world.advance(KEEPALIVE_TIMEOUT);
  assert.equal(wire.keepalives(bob).length, 1);
  wire.clear();
  world.advance(HOUR);
  assert.deepEqual(wire.sent, []);
});

test('new handshake: data without any answer for 15 s starts one, after the jitter and not 1 ms earlier', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const { alice, wire, world, toBob } = await connectedPair({ seed });
    wire.cut();
    alice.send(toBob());
    const wait = jittered(alice, 'new-handshake', NEW_HANDSHAKE_TIMEOUT);
    world.advance(wait - 1);
    assert.equal(wire.initiations().length, 0);
    world.advance(1);
    assert.equal(wire.initiations().length, 1);
  }
});

test('new handshake: it is due 15 s after the first unanswered packet, not after the latest', async () => {
  const { alice, wire, world, toBob } = await connectedPair();
  wire.cut();
  alice.send(toBob());
  const wait = jittered(alice, 'new-handshake', NEW_HANDSHAKE_TIMEOUT);
  for (let t = 1000; t < wait; t += 1000) {
    world.advance(1000);
    alice.send(toBob());
    assert.equal(alice.timer('new-handshake'), wait - t);
  }
});

test('new handshake: anything authenticated from the peer calls it off: data, a keepalive, a handshake message', async () => {
  const data = await connectedPair();
  data.alice.send(data.toBob());
  data.bob.send(data.toAlice());
  assert.equal(data.alice.timer('new-handshake'), undefined);

  const keepalive = await connectedPair();
  keepalive.alice.send(keepalive.toBob());
  assert.notEqual(keepalive.alice.timer('new-handshake'), undefined);
  keepalive.world.advance(KEEPALIVE_TIMEOUT);
  assert.equal(keepalive.alice.timer('new-handshake'), undefined);

  const handshake = await connectedPair();
  handshake.wire.hold();
  handshake.alice.send(handshake.toBob());
  handshake.wire.mend();
  await handshake.bob.device.down();
  await handshake.bob.device.up();
  handshake.wire.hold(({ bytes }) => bytes[0] !== 1);
  handshake.bob.send(handshake.toAlice());
  assert.equal(handshake.alice.timer('new-handshake'), undefined);
});

test('new handshake: a keepalive expects no answer', async () => {
  const { alice, wire, world } = await connectedPair({ persistentKeepalive: 20 });
  wire.cut();
  world.advance(20_000);
  assert.equal(wire.keepalives(alice).length, 1);
  assert.equal(alice.timer('new-handshake'), undefined);
  world.advance(60_000);
  assert.equal(wire.initiations().length, 0);
});

test('new handshake: data that is answered in the packet that confirms the session still expects its own answer', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await pair();
  // Bob's packet waits for the confirmation, and is sent because of Alice's packet: it has not been answered by it.
  wire.hold(({ bytes }) => bytes[0] === 4);
  alice.send(toBob());
  bob.send(toAlice());
  wire.mend();
  wire.inject(...wire.held.splice(0));
  wire.hold();
  world.settle();
  assert.equal(wire.data(bob).length, 1);
  assert.notEqual(bob.timer('new-handshake'), undefined);
  assert.equal(bob.timer('send-keepalive'), undefined);
});

test('zero keys: 540 s after the last session began nothing of any session is left, and not 1 ms earlier', async () => {
  for (const side of ['alice', 'bob'] as const) {
    const both = await connectedPair();
    const { wire, world, toBob, toAlice } = both;
    const [receiver, sender, packet] =
      side === 'alice' ? [both.alice, both.bob, toAlice()] : [both.bob, both.alice, toBob()];
    wire.hold();
    sender.send(packet);
    const [datagram] = wire.held.splice(0);
    assert.ok(datagram);
    world.advance(ZERO_KEYS_AFTER_TIME - 1);
    wire.inject(datagram);
    world.settle();
    assert.deepEqual(receiver.drops(), { expired_keypair: 1 });
    world.advance(1);
    wire.inject(datagram);
    world.settle();
    assert.deepEqual(receiver.drops(), { expired_keypair: 1, unknown_index: 1 });
    assert.deepEqual(receiver.device.timers(), []);
  }
});

test('zero keys: a new session postpones it', async () => {
  const { alice, world, toBob } = await connectedPair();
  world.advance(200_000);
  alice.send(toBob());
  assert.equal(alice.timer('zero-key-material'), ZERO_KEYS_AFTER_TIME);
});

test('zero keys: giving up a handshake arms it when no session has', async () => {
  const { alice, wire, world, toBob } = await pair();
  wire.cut();
  alice.send(toBob());
  assert.equal(alice.timer('zero-key-material'), undefined);
  world.advance(110_000);
  const wait = alice.timer('zero-key-material') ?? 0;
  assert.ok(wait > ZERO_KEYS_AFTER_TIME - 20_000 && wait <= ZERO_KEYS_AFTER_TIME);
  world.advance(wait);
  assert.deepEqual(alice.device.timers(), []);
});

test('persistent keepalive: it is sent after the interval, not 1 ms earlier, again and again', async () => {
  const { alice, wire, world } = await connectedPair({ persistentKeepalive: 25 });
  for (let i = 1; i <= 4; i++) {
    world.advance(24_999);
    assert.equal(wire.keepalives(alice).length, i - 1);
    world.advance(1);
    assert.equal(wire.keepalives(alice).length, i);
  }
});

test('persistent keepalive: anything authenticated, sent or received, starts the interval anew', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair({ persistentKeepalive: 9 });
  world.advance(5000);
  alice.send(toBob());
  assert.equal(alice.timer('persistent-keepalive'), 9000);
  world.advance(5000);
  bob.send(toAlice());
  assert.equal(alice.timer('persistent-keepalive'), 9000);
  world.advance(8999);
  assert.equal(wire.keepalives(alice).length, 0);
  world.advance(1);
  assert.equal(wire.keepalives(alice).length, 1);
  // A keepalive from the other side counts, too.
  await bob.configure({ publicKey: alice.publicKey, persistentKeepalive: 4 });
  assert.equal(alice.timer('persistent-keepalive'), 9000);
  wire.clear();
  world.advance(100_000);
  assert.deepEqual([wire.keepalives(alice).length, wire.keepalives(bob).length], [0, 25]);
});

test('persistent keepalive: handshake messages start the interval anew, and it keeps a dead peer being tried', async () => {
  const { alice, wire, world } = await connectedPair({ persistentKeepalive: 25 });
  wire.cut();
  // Sessions end, handshakes are given up, and still somebody who comes back is noticed.
  world.advance(HOUR / 3);
  wire.clear();
  world.advance(200_000);
  const sent = wire.initiations(alice).length;
  assert.ok(sent >= 25 && sent <= 40, `${sent} initiations in 200 s`);
  wire.mend();
  world.advance(30_000);
  assert.ok(wire.keepalives(alice).length >= 1);
});

test('persistent keepalive: it outlives a time without private key', async () => {
  const { alice, bob, wire, world } = await connectedPair({ persistentKeepalive: 25 });
  const privateKey = alice.privateKey;
  await alice.device.configure({ privateKey: noKey, peers: [] });
  world.advance(HOUR);
  wire.clear();
  await alice.device.configure({ privateKey, peers: [] });
  world.advance(25_000);
  assert.equal(wire.initiations(alice).length, 1);
  assert.equal(wire.keepalives(alice).length, 1);
  assert.deepEqual(bob.drops(), {});
});
