import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEEPALIVE_TIMEOUT, REKEY_TIMEOUT } from '../../../src/noise/constants.ts';
import { connectedPair, pair, type End } from '../../kit/pair.ts';
import { Stranger } from '../../kit/stranger.ts';

const seen = (end: End, other: End) =>
  end.device.observe(other.publicKey) ?? assert.fail('the peer is not known');

test('observe: an unknown peer is undefined, a new one has never been heard from', async () => {
  const { world, alice, bob } = await pair();
  assert.equal(alice.device.observe(new Stranger(world, bob).publicKey), undefined);
  assert.deepEqual(seen(alice, bob), {
    handshakeAgeMs: Infinity,
    receivedAgeMs: Infinity,
    unansweredMs: 0,
    endpoint: bob.endpoint,
    handshakeEndpoint: undefined,
  });
});

test('observe: ages grow with time, a handshake and anything authentic begin them anew', async () => {
  const { world, alice, bob, toAlice } = await connectedPair();
  world.advance(7_000);
  assert.equal(seen(alice, bob).handshakeAgeMs, 7_000);
  assert.equal(seen(alice, bob).receivedAgeMs, 7_000);
  bob.send(toAlice());
  assert.equal(seen(alice, bob).handshakeAgeMs, 7_000);
  assert.equal(seen(alice, bob).receivedAgeMs, 0);
  alice.device.startHandshake(bob.publicKey);
  world.settle();
  assert.equal(seen(alice, bob).handshakeAgeMs, 0);
  assert.equal(seen(bob, alice).handshakeAgeMs, 0);
});

test('observe: data waits for an answer from the first packet on, until anything authentic comes', async () => {
  const { world, wire, alice, bob, toBob, toAlice } = await connectedPair();
  wire.cut();
  alice.send(toBob());
  world.advance(3_000);
  alice.send(toBob());
  assert.equal(seen(alice, bob).unansweredMs, 3_000);
  world.advance(4_000);
  assert.equal(seen(alice, bob).unansweredMs, 7_000);
  wire.mend();
  bob.send(toAlice());
  assert.equal(seen(alice, bob).unansweredMs, 0);
});

test('observe: a peer that only listens answers with a keepalive', async () => {
  const { world, alice, bob, toBob } = await connectedPair();
  alice.send(toBob());
  world.advance(KEEPALIVE_TIMEOUT - 1);
  assert.equal(seen(alice, bob).unansweredMs, KEEPALIVE_TIMEOUT - 1);
  world.advance(1);
  assert.equal(seen(alice, bob).unansweredMs, 0);
});

test('observe: an initiation waits for an answer, too, and a device that goes down waits for nothing', async () => {
  const { world, wire, alice, bob, toBob } = await pair();
  wire.cut();
  alice.send(toBob());
  world.advance(12_000);
  assert.equal(seen(alice, bob).unansweredMs, 12_000);
  await alice.device.down();
  assert.equal(seen(alice, bob).unansweredMs, 0);
});

test('observe: keepalives alone wait for nothing', async () => {
  const { world, wire, alice, bob } = await connectedPair({ persistentKeepalive: 5 });
  wire.cut();
  world.advance(30_000);
  assert.equal(seen(alice, bob).unansweredMs, 0);
  assert.equal(seen(alice, bob).receivedAgeMs, 30_000);
});

test('start a handshake: at once, or when five seconds have passed since the last one', async () => {
  const { world, wire, alice, bob } = await connectedPair();
  alice.device.startHandshake(bob.publicKey);
  assert.equal(wire.initiations(alice).length, 0);
  world.advance(REKEY_TIMEOUT + 333);
  assert.equal(wire.initiations(alice).length, 1);
  world.advance(REKEY_TIMEOUT);
  alice.device.startHandshake(bob.publicKey);
  assert.equal(wire.initiations(alice).length, 2);
  alice.device.startHandshake(new Stranger(world, bob).publicKey);
});

test('probe: an endpoint that answers becomes the peer’s, one that does not changes nothing', async () => {
  const { world, wire, alice, bob, toBob } = await connectedPair();
  const elsewhere = { ...bob.endpoint, port: bob.endpoint.port + 1 };
  world.advance(REKEY_TIMEOUT);
  const before = seen(alice, bob);
  assert.ok(alice.device.probe(bob.publicKey, elsewhere));
  world.settle();
  assert.deepEqual(seen(alice, bob), {
    ...before,
    receivedAgeMs: REKEY_TIMEOUT,
    handshakeAgeMs: REKEY_TIMEOUT,
  });
  assert.deepEqual(before.handshakeEndpoint, before.endpoint);
  const packet = toBob();
  alice.send(packet);
  assert.deepEqual(bob.received(), [packet]);
  // Without an answer the handshake goes on where the peer is known to be.
  world.advance(REKEY_TIMEOUT + 333);
  assert.equal(wire.initiations(alice).length, 2);
  assert.ok(seen(alice, bob).handshakeAgeMs <= 333);
  world.advance(REKEY_TIMEOUT);
  assert.ok(alice.device.probe(bob.publicKey, bob.endpoint));
  world.settle();
  assert.equal(seen(alice, bob).handshakeAgeMs, 0);
});

test('probe: not within five seconds of another handshake, and of known peers only', async () => {
  const { world, alice, bob } = await connectedPair();
  assert.ok(!alice.device.probe(bob.publicKey, bob.endpoint));
  world.advance(REKEY_TIMEOUT);
  assert.ok(!alice.device.probe(new Stranger(world, bob).publicKey, bob.endpoint));
  assert.ok(alice.device.probe(bob.publicKey, bob.endpoint));
  assert.ok(!alice.device.probe(bob.publicKey, bob.endpoint));
  await alice.device.down();
  world.advance(REKEY_TIMEOUT);
  assert.ok(!alice.device.probe(bob.publicKey, bob.endpoint));
});
