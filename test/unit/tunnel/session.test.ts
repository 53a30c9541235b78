import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PresharedKey } from '../../../src/noise/keys.ts';
import { ipv6Packet } from '../../kit/packets.ts';
import { pair } from '../../kit/pair.ts';

test('handshake: the first packet starts one, and arrives after one round trip', async () => {
  const { alice, bob, wire, toBob } = await pair();
  const packet = toBob();
  alice.send(packet);
  assert.deepEqual(bob.received(), [packet]);
  assert.equal(wire.initiations(alice).length, 1);
  assert.equal(wire.responses(bob).length, 1);
  assert.equal(wire.data(alice).length, 1);
  assert.equal(wire.sent.length, 3);
});

test('handshake: with a preshared key on both sides packets flow, v4 and v6, both ways', async () => {
  const presharedKey = new PresharedKey(new Uint8Array(32).fill(9));
  const { alice, bob, toBob, toAlice } = await pair({ presharedKey });
  const there = [toBob(), ipv6Packet('fd00::1', 'fd00::2', 120), toBob(20), toBob(1420)];
  alice.send(...there);
  assert.deepEqual(bob.received(), there);
  const back = [toAlice(), ipv6Packet('fd00::2', 'fd00::1', 1280)];
  bob.send(...back);
  assert.deepEqual(alice.received(), back);
});

test('key confirmation: the initiator sends a keepalive at once when nothing waits, and the responder sends nothing before', async () => {
  const { alice, bob, wire, toAlice } = await pair({ persistentKeepalive: 25 });
  // Turning the keepalive on has started the handshake; its staged keepalive is the confirmation.
  assert.deepEqual(
    wire.sent.map((datagram) => [datagram.bytes[0], datagram.bytes.length]),
    [
      [1, 148],
      [2, 92],
      [4, 32],
    ],
  );
  wire.clear();
  bob.send(toAlice());
  assert.equal(wire.initiations().length, 0);
  assert.equal(alice.received().length, 1);
});

test('key confirmation: while the responder waits for it, its own packets wait too', async () => {
  const { alice, bob, wire, toBob, toAlice, world } = await pair();
  wire.hold((datagram) => datagram.bytes[0] === 4);
  alice.send(toBob());
  const reply = toAlice();
  bob.send(reply);
  assert.deepEqual(wire.transport(bob), []);
  wire.mend();
  wire.inject(...wire.held.splice(0));
  world.settle();
  assert.deepEqual(alice.received(), [reply]);
});

test('counters: after 10 pings of 84 bytes they are those of the kernel, 1428 sent and 1372 received', async () => {
  const { alice, bob, world, toBob, toAlice } = await pair();
  for (let i = 0; i < 10; i++) {
    alice.send(toBob(84));
    bob.send(toAlice(84));
    world.advance(1000);
  }
  assert.equal(alice.peer(bob).txBytes, 148n + 10n * 128n);
  assert.equal(alice.peer(bob).rxBytes, 92n + 10n * 128n);
  assert.equal(bob.peer(alice).txBytes, 1372n);
  assert.equal(bob.peer(alice).rxBytes, 1428n);
});

test('padding: every transport message is a multiple of 16 long, and never longer than the MTU allows', async () => {
  const { alice, bob, wire, toBob } = await pair();
  const sizes = [20, 21, 31, 32, 33, 100, 1400, 1409, 1419, 1420];
  for (const size of sizes) alice.send(toBob(size));
  assert.deepEqual(
    wire.data(alice).map((datagram) => datagram.bytes.length - 32),
    [32, 32, 32, 32, 48, 112, 1408, 1420, 1420, 1420],
  );
  assert.deepEqual(
    bob.received().map((packet) => packet.length),
    sizes,
  );
});
