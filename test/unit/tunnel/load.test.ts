import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COOKIE_SECRET_LATENCY,
  COOKIE_SECRET_MAX_AGE,
  INITIATION_GAP,
  REKEY_TIMEOUT,
  REKEY_TIMEOUT_JITTER_MAX,
  UNDER_LOAD_AFTER_TIME,
} from '../../../src/noise/constants.ts';
import { CookieGenerator } from '../../../src/noise/cookie.ts';
import { nodeCrypto } from '../../../src/noise/crypto-node.ts';
import { MAX_QUEUED_HANDSHAKES } from '../../../src/tunnel/handshake-queue.ts';
import { INITIATIONS_BURST, INITIATIONS_PER_SECOND } from '../../../src/tunnel/rate-limiter.ts';
import { connectedPair, pair, type End, type World } from '../../kit/pair.ts';
import { randomBytes } from '../../kit/random.ts';
import { Stranger, endpoint } from '../../kit/stranger.ts';

const ENOUGH = MAX_QUEUED_HANDSHAKES / 8;
const NO_MAC2 = new Uint8Array(16);

/** What a flood consists of: the size and type of an initiation, random otherwise. */
function noise(world: World): Uint8Array {
  const bytes = randomBytes(world.random, 148);
  bytes.set([1, 0, 0, 0]);
  return bytes;
}

/** Queues that many messages at the target; they wait for the next `settle`. */
function flood(world: World, target: End, count: number): void {
  const stranger = new Stranger(world, target);
  world.wire.inject(...Array.from({ length: count }, () => stranger.datagram(noise(world))));
}

function mac2(message: Uint8Array): Uint8Array {
  return message.subarray(-16);
}

test('under load: below an eighth of the queue no cookie is asked for, from there on nothing is done without', async () => {
  for (const [count, answered] of [
    [ENOUGH - 1, true],
    [ENOUGH, false],
  ] as const) {
    const { alice, bob, wire, world } = await pair();
    const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
    // The queue is measured when a message is taken out of it.
    wire.inject(stranger.datagram(stranger.initiation()));
    flood(world, bob, count - 1);
    world.settle();
    assert.equal(wire.responses(bob).length, answered ? 1 : 0);
    assert.equal(wire.cookieReplies(bob).length, answered ? 0 : 1);
    const expected = answered ? { bad_mac1: count - 1 } : { bad_mac1: count - 1, no_cookie: 1 };
    assert.deepEqual(bob.drops(), expected);
    assert.equal(bob.device.isUnderLoad, !answered);
  }
});

test('under load: a cookie reply makes nobody send at once; the retry carries the cookie and is answered', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  const packet = toBob();
  flood(world, bob, 200);
  alice.send(packet);
  assert.equal(wire.cookieReplies(bob).length, 1);
  assert.equal(wire.from(alice).length, 1);
  assert.deepEqual(mac2(wire.initiations(alice)[0]?.bytes ?? NO_MAC2), NO_MAC2);
  const retry = alice.timer('retransmit-handshake') ?? 0;
  world.advance(retry - 1);
  assert.equal(wire.from(alice).length, 1);
  flood(world, bob, 200);
  world.advance(1);
  assert.equal(wire.initiations(alice).length, 2);
  assert.notDeepEqual(mac2(wire.initiations(alice)[1]?.bytes ?? NO_MAC2), NO_MAC2);
  assert.deepEqual(bob.received(), [packet]);
  assert.equal(wire.cookieReplies(bob).length, 1);
});

test('under load: responses need a cookie as well', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  const packet = toBob();
  wire.bend((datagram) => {
    if (datagram.bytes[0] === 2) flood(world, alice, 200);
    return [datagram];
  });
  alice.send(packet);
  assert.deepEqual([wire.responses(bob).length, wire.cookieReplies(alice).length], [1, 1]);
  assert.deepEqual(bob.received(), []);
  world.advance(REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX);
  assert.deepEqual([wire.responses(bob).length, wire.cookieReplies(alice).length], [2, 1]);
  assert.deepEqual(bob.received(), [packet]);
});

test('under load: it lasts a second beyond its last cause, not longer', async () => {
  const { alice, bob, wire, world } = await pair();
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
  flood(world, bob, 200);
  world.settle();
  world.advance(UNDER_LOAD_AFTER_TIME - 1);
  assert.equal(bob.device.isUnderLoad, true);
  stranger.send(stranger.initiation());
  assert.deepEqual([wire.cookieReplies(bob).length, wire.responses(bob).length], [1, 0]);
  world.advance(1);
  assert.equal(bob.device.isUnderLoad, false);
  stranger.send(stranger.initiation());
  assert.deepEqual([wire.cookieReplies(bob).length, wire.responses(bob).length], [1, 1]);
});

test('cookies: one is good for the address and port that it was sent to, and for no other', async () => {
  const places = [
    ['198.51.100.7', 7777, true],
    ['198.51.100.7', 7778, false],
    ['198.51.100.7', 7777 + 256, false],
    ['198.51.100.8', 7777, false],
    ['2001:db8::7', 7777, false],
  ] as const;
  for (const [host, port, isGood] of places) {
    const { alice, bob, wire, world } = await pair();
    const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
    flood(world, bob, 200);
    stranger.send(stranger.initiation());
    assert.equal(stranger.takeCookie(), true);
    world.advance(100);
    stranger.from = endpoint(host, port);
    stranger.send(stranger.initiation());
    assert.equal(wire.responses(bob).length, isGood ? 1 : 0, `${host} ${port}`);
    assert.equal(wire.cookieReplies(bob).length, isGood ? 1 : 2);
  }
});

test('cookies: a wrong mac2 is as good as none', async () => {
  const { alice, bob, wire, world } = await pair();
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
  flood(world, bob, 200);
  stranger.send(stranger.initiation());
  stranger.takeCookie();
  const message = stranger.initiation();
  message[147] = (message[147] as number) ^ 1;
  stranger.send(message);
  assert.deepEqual([wire.cookieReplies(bob).length, wire.responses(bob).length], [2, 0]);
  assert.deepEqual(bob.drops().no_cookie, 2);
});

test('cookies: the sender uses one for 115 s, the receiver takes one for 120 s', async () => {
  const { alice, bob, wire, world } = await pair();
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
  flood(world, bob, 200);
  stranger.send(stranger.initiation());
  stranger.takeCookie();
  const hasCookie = () => mac2(stranger.initiation()).some((byte) => byte !== 0);
  world.advance(COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY - 1);
  const message = stranger.initiation();
  assert.equal(hasCookie(), true);
  world.advance(1);
  assert.equal(hasCookie(), false);
  world.advance(COOKIE_SECRET_LATENCY - 1);
  flood(world, bob, 200);
  stranger.send(message);
  assert.deepEqual([wire.responses(bob).length, wire.cookieReplies(bob).length], [1, 1]);
  // Where the answer is a replay, the cookie has been accepted.
  world.advance(1);
  flood(world, bob, 200);
  stranger.send(message);
  assert.equal(wire.cookieReplies(bob).length, 2);
});

test('cookies: a reply is taken once, and only when it answers the last message', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  wire.hold(({ bytes }) => bytes[0] === 3);
  for (let i = 0; i < 2; i++) {
    flood(world, bob, 200);
    if (i === 0) alice.send(toBob());
    else world.advance(REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX);
  }
  wire.mend();
  const [first, second] = wire.held.splice(0);
  assert.ok(first && second);
  // The index of the first one is no longer known; with the right index its content does not fit.
  wire.inject(first);
  const moved = first.bytes.slice();
  moved.set(second.bytes.subarray(4, 8), 4);
  wire.inject({ ...first, bytes: moved });
  world.settle();
  assert.deepEqual(alice.drops(), { unknown_index: 1, bad_cookie_reply: 1 });
  wire.inject(second, second);
  world.settle();
  assert.deepEqual(alice.drops(), { unknown_index: 1, bad_cookie_reply: 2 });
});

test('rate limit: under load a source with a cookie gets a burst of 5 and then 20 a second; others are not concerned', async () => {
  const { alice, bob, world, clock } = await pair();
  const one = new Stranger(world, bob, { privateKey: alice.privateKey });
  const other = new Stranger(world, bob, { from: endpoint('198.51.100.8', 7777) });
  for (const stranger of [one, other]) {
    flood(world, bob, 200);
    stranger.send(stranger.initiation());
    assert.equal(stranger.takeCookie(), true);
  }
  for (let i = 0; i < 8; i++) {
    clock.wallMs += 17;
    one.send(one.initiation());
  }
  assert.equal(bob.drops().rate_limited, 3);
  other.send(other.initiation());
  assert.deepEqual([bob.drops().rate_limited, bob.drops().unknown_peer], [3, 1]);
  world.advance(49);
  one.send(one.initiation());
  assert.equal(bob.drops().rate_limited, 4);
  world.advance(1);
  one.send(one.initiation());
  assert.equal(bob.drops().rate_limited, 4);
});

test('rate limit: without load there is none', async () => {
  const { alice, bob, wire, world } = await pair();
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
  for (let i = 0; i < 30; i++) {
    stranger.send(stranger.initiation());
    world.advance(INITIATION_GAP);
  }
  assert.equal(wire.responses(bob).length, 30);
  assert.deepEqual(bob.drops(), {});
});

test('flood: random initiations fill a bounded queue, and the packets of a session go on as if nothing happened', async () => {
  const { alice, bob, world, wire, toBob, toAlice } = await connectedPair();
  const rounds = 10;
  const perRound = 2000;
  for (let i = 0; i < rounds; i++) {
    flood(world, bob, perRound);
    const packet = toBob();
    alice.tun.inject(packet);
    // Bob has not served one message of the flood when he gets the packet.
    world.network.deliver();
    assert.deepEqual(bob.received(), [packet]);
    bob.tun.inject(toAlice());
    world.network.deliver();
    assert.equal(alice.received().length, 1);
    world.settle();
    world.advance(100);
  }
  const { bad_mac1: checked = 0, handshake_queue_full: refused = 0, ...rest } = bob.drops();
  assert.equal(checked + refused, rounds * perRound);
  assert.equal(checked, rounds * MAX_QUEUED_HANDSHAKES);
  assert.deepEqual(rest, {});
  assert.equal(wire.cookieReplies().length, 0);
});

test('flood: a turn of the event loop serves a few handshakes, or many messages that are worth nothing', async () => {
  const { alice, bob, world, wire, clock } = await pair();
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
  const turns = (messages: readonly Uint8Array[]) => {
    wire.inject(...messages.map((bytes) => stranger.datagram(bytes)));
    world.network.deliver();
    let count = 0;
    while (world.turn()) count++;
    return count;
  };
  const initiations = Array.from({ length: 32 }, () => {
    clock.wallMs += 17;
    return stranger.initiation();
  });
  const handshakes = turns(initiations);
  const garbage = turns(Array.from({ length: 512 }, () => noise(world)));
  assert.deepEqual([handshakes, garbage], [4, 2]);
  assert.deepEqual(bob.drops(), { initiation_flood: 31, bad_mac1: 512 });
});

test('flood: spoofed initiations with a right mac1 cost no more than cookie replies, which are smaller than they', async () => {
  const { alice, bob, world, wire, toBob } = await pair();
  const cookies = new CookieGenerator(nodeCrypto(), bob.publicKey);
  const stranger = new Stranger(world, bob);
  const spoofed = 900;
  const datagrams = Array.from({ length: spoofed }, (_, i) => {
    const bytes = noise(world);
    cookies.addMacs(bytes, world.clock.now());
    return stranger.datagram(bytes, endpoint(`10.99.${i >> 8}.${i & 255}`, 1000 + i));
  });
  wire.inject(...datagrams);
  world.settle();
  assert.deepEqual(bob.drops(), { no_cookie: spoofed });
  assert.equal(wire.cookieReplies(bob).length, spoofed);
  for (const { bytes } of wire.sent) assert.equal(bytes.length, 64);
  // A peer of Bob's who receives the reply gets in with the next retry.
  wire.clear();
  alice.send(toBob());
  assert.equal(wire.responses(bob).length, 0);
  wire.inject(...datagrams);
  world.advance(REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX);
  assert.equal(bob.received().length, 1);
});

test('cookies: who asks more than 20 times a second is no longer answered, others are', async () => {
  const { bob, wire, world } = await pair();
  const greedy = new Stranger(world, bob, { from: endpoint('198.51.100.7', 7777) });
  const modest = new Stranger(world, bob, { from: endpoint('198.51.100.8', 7777) });
  flood(world, bob, 200);
  world.settle();
  greedy.send(...Array.from({ length: 50 }, () => greedy.initiation()));
  assert.equal(wire.cookieReplies(bob).length, INITIATIONS_BURST);
  modest.send(modest.initiation());
  assert.equal(wire.cookieReplies(bob).length, INITIATIONS_BURST + 1);
  assert.equal(bob.drops().no_cookie, 51);
  world.advance(1000 / INITIATIONS_PER_SECOND);
  greedy.send(greedy.initiation());
  assert.equal(wire.cookieReplies(bob).length, INITIATIONS_BURST + 2);
});
