import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Arena } from '../../../src/core/arena.ts';
import { NodeTransportAead } from '../../../src/noise/aead-node.ts';
import { REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER_MAX } from '../../../src/noise/constants.ts';
import { nobleAead } from '../../../src/noise/crypto-noble.ts';
import { nodeCrypto } from '../../../src/noise/crypto-node.ts';
import { PresharedKey } from '../../../src/noise/keys.ts';
import { ipv4Packet, ipv6Packet } from '../../kit/packets.ts';
import { pair, prefix } from '../../kit/pair.ts';

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

test('padding: a new MTU of the TUN device counts from the next packet on', async () => {
  const { alice, wire, toBob } = await pair();
  for (const [mtu, outer] of [
    [1420, 1420],
    [34_736, 1424],
    [1412, 1412],
  ] as const) {
    alice.device.setMtu(mtu);
    alice.send(toBob(1412), toBob(1409));
    assert.equal(wire.data(alice).at(-1)?.bytes.length, 32 + outer);
  }
});

test('staged: the 128 latest packets wait for the handshake and arrive in order', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  wire.hold();
  const packets = Array.from({ length: 200 }, () => toBob(60));
  alice.send(...packets);
  wire.mend();
  wire.inject(...wire.held.splice(0));
  world.settle();
  assert.deepEqual(bob.received(), packets.slice(72));
  assert.deepEqual(alice.drops(), { staged_overflow: 72 });
});

test('three devices: each packet goes to the peer with the longest matching prefix, and to nobody else', async () => {
  const { alice, bob, world, wire, toBob } = await pair();
  const carol = world.end('carol', ['192.0.2.3']);
  await carol.device.up();
  await carol.device.configure({
    privateKey: carol.privateKey,
    peers: [
      {
        publicKey: alice.publicKey,
        endpoint: alice.endpoint,
        allowedIps: [{ prefix: prefix('0.0.0.0/0'), remove: false }],
      },
    ],
  });
  await alice.configure({
    publicKey: carol.publicKey,
    endpoint: carol.endpoint,
    allowedIps: [{ prefix: prefix('0.0.0.0/0'), remove: false }],
  });
  const forCarol = ['10.0.0.1', '10.0.0.3', '8.8.8.8', '10.0.1.2'].map((to) =>
    ipv4Packet('10.0.0.1', to, 60),
  );
  const forBob = [toBob(), toBob()];
  alice.send(...forCarol.slice(0, 2), ...forBob, ...forCarol.slice(2));
  assert.deepEqual(carol.received(), forCarol);
  assert.deepEqual(bob.received(), forBob);
  // Carol may send from anywhere but Bob's address.
  const answers = [ipv4Packet('8.8.8.8', '10.0.0.1', 60), ipv4Packet('10.0.0.2', '10.0.0.1', 60)];
  carol.send(...answers);
  assert.deepEqual(alice.received(), answers.slice(0, 1));
  assert.deepEqual(alice.drops(), { source_not_allowed: 1 });
  assert.equal(wire.initiations().length, 2);
});

test('crypto: sides with different implementations understand each other, as initiator and as responder', async () => {
  for (const isNobleFirst of [true, false]) {
    const noble = {
      crypto: { ...nodeCrypto(), aead: nobleAead },
      aead: (arena: Arena) => new NodeTransportAead(arena),
    };
    const { alice, bob, toBob, toAlice } = await pair({ [isNobleFirst ? 'alice' : 'bob']: noble });
    const [there, back] = [toBob(), toAlice()];
    alice.send(there);
    bob.send(back);
    assert.deepEqual([bob.received(), alice.received()], [[there], [back]]);
  }
});

test('send errors: what cannot be sent is lost alone, and sending goes on when it can', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  alice.send(toBob());
  const addresses = alice.bind.addresses.splice(0);
  alice.send(toBob(), toBob());
  assert.equal(alice.bind.sendErrors.unreachable, 2);
  alice.bind.addresses.push(...addresses);
  alice.send(toBob());
  assert.equal(bob.received().length, 2);
  assert.equal(wire.initiations().length, 1);
  // The same while a handshake is made: the retry gets through.
  await alice.device.down();
  await alice.device.up();
  alice.bind.addresses.length = 0;
  const packet = toBob();
  alice.send(packet);
  alice.bind.addresses.push(...addresses);
  world.advance(REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX);
  assert.deepEqual(bob.received(), [packet]);
});
