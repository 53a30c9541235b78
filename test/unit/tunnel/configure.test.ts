import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SystemError } from '../../../src/core/errors.ts';
import { REKEY_TIMEOUT, ZERO_KEYS_AFTER_TIME } from '../../../src/noise/constants.ts';
import { nodeCrypto } from '../../../src/noise/crypto-node.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../../src/noise/keys.ts';
import { formatPrefix } from '../../../src/core/ip.ts';
import { MAX_PEERS } from '../../../src/tunnel/device.ts';
import { LOW_ORDER_POINTS } from '../../kit/low-order.ts';
import { ipv4Packet } from '../../kit/packets.ts';
import { connectedPair, pair, prefix, type End, type Pair } from '../../kit/pair.ts';
import { endpoint } from '../../kit/stranger.ts';

const noKey = new PrivateKey(new Uint8Array(32));

function publicKeyOf(key: PrivateKey): PublicKey {
  return new PublicKey(nodeCrypto().x25519.importPrivateKey(key.bytes).publicKey);
}

function keyOf(fill: number): PublicKey {
  return publicKeyOf(new PrivateKey(new Uint8Array(32).fill(fill)));
}

const allow = (text: string) => ({ prefix: prefix(text), remove: false });
const deny = (text: string) => ({ prefix: prefix(text), remove: true });

function allowedIps(end: End, of: PublicKey): string[] {
  const peer = end.device.state().peers.find(({ publicKey }) => publicKey.equals(of));
  return (peer?.allowedIps ?? []).map(formatPrefix);
}

test('private key: traffic flows at once after both sides changed theirs', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, toBob } = both;
  world.advance(100);
  const keys = [
    new PrivateKey(new Uint8Array(32).fill(1)),
    new PrivateKey(new Uint8Array(32).fill(2)),
  ] as const;
  for (const [end, mine, theirs, inner, old] of [
    [alice, keys[0], keys[1], '10.0.0.2/32', bob],
    [bob, keys[1], keys[0], '10.0.0.1/32', alice],
  ] as const) {
    await end.device.configure({
      privateKey: mine,
      replacePeers: true,
      peers: [{ publicKey: publicKeyOf(theirs), endpoint: old.endpoint, allowedIps: [allow(inner)] }],
    });
  }
  const packet = toBob();
  alice.send(packet);
  assert.deepEqual(bob.received(), [packet]);
  assert.equal(wire.initiations(alice).length, 1);
  assert.deepEqual(alice.device.state().publicKey?.hex, publicKeyOf(keys[0]).hex);
});

test('private key: after a change nothing is sent on a former session, and a new handshake goes out at once', async () => {
  const { alice, bob, wire, toBob, toAlice } = await connectedPair();
  const key = new PrivateKey(new Uint8Array(32).fill(3));
  await alice.device.configure({ privateKey: key, peers: [] });
  // Packets of the former session may still come.
  bob.send(toAlice());
  assert.equal(alice.received().length, 1);
  wire.clear();
  alice.send(toBob());
  assert.deepEqual([wire.initiations(alice).length, wire.transport(alice).length], [1, 0]);
  assert.deepEqual(bob.drops(), { unknown_peer: 1 });
});

test('private key: a session that is confirmed after a change is not sent on either', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await pair();
  wire.hold(({ bytes }) => bytes[0] === 4);
  alice.send(toBob());
  await bob.device.configure({ privateKey: new PrivateKey(new Uint8Array(32).fill(3)), peers: [] });
  wire.mend();
  wire.inject(...wire.held.splice(0));
  world.settle();
  bob.send(toAlice());
  assert.equal(wire.transport(bob).length, 0);
});

test('private key: setting the same one again changes nothing', async () => {
  const { alice, bob, wire, toBob } = await connectedPair();
  await alice.device.configure({ privateKey: alice.privateKey, peers: [] });
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
  assert.equal(wire.initiations().length, 0);
});

test('private key: without one the device is silent, and takes no handshake', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair({ persistentKeepalive: 5 });
  await alice.device.configure({ privateKey: noKey, peers: [] });
  const { privateKey, publicKey } = alice.device.state();
  assert.deepEqual([privateKey, publicKey], [undefined, undefined]);
  wire.clear();
  alice.send(toBob());
  world.advance(60_000);
  bob.send(toAlice());
  world.advance(200_000);
  assert.deepEqual(wire.from(alice), []);
  assert.ok(wire.initiations(bob).length > 0);
});

test('own key: a section with the own public key is ignored without a word', async () => {
  const { alice, bob, toBob } = await connectedPair();
  await alice.configure({
    publicKey: alice.publicKey,
    endpoint: bob.endpoint,
    allowedIps: [allow('10.0.0.2/32')],
  });
  assert.deepEqual(
    alice.device.state().peers.map(({ publicKey }) => publicKey.hex),
    [bob.publicKey.hex],
  );
  assert.deepEqual(allowedIps(alice, bob.publicKey), ['10.0.0.2/32', 'fd00::2/128']);
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
});

test('own key: a peer whose key becomes the own one is removed', async () => {
  const { alice, bob, wire, toBob } = await connectedPair();
  await alice.device.configure({ privateKey: bob.privateKey, peers: [] });
  assert.deepEqual(alice.device.state().peers, []);
  alice.send(toBob());
  assert.deepEqual(wire.sent, []);
  assert.deepEqual(alice.drops(), { no_route: 1 });
});

test('preshared key: a change concerns the next handshake only', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair();
  const presharedKey = new PresharedKey(new Uint8Array(32).fill(7));
  await alice.configure({ publicKey: bob.publicKey, presharedKey });
  alice.send(toBob());
  bob.send(toAlice());
  assert.deepEqual([bob.received().length, alice.received().length], [1, 1]);
  assert.equal(wire.initiations().length, 0);
  world.advance(ZERO_KEYS_AFTER_TIME);
  // Now the two differ: the response does not open.
  alice.send(toBob());
  assert.deepEqual([wire.responses(bob).length, bob.received().length], [1, 0]);
  assert.deepEqual(alice.drops(), { bad_handshake: 1 });
  await bob.configure({ publicKey: alice.publicKey, presharedKey });
  world.advance(REKEY_TIMEOUT + 333);
  assert.equal(bob.received().length, 1);
});

test('preshared key: the device keeps a copy, so the caller may wipe its own', async () => {
  const presharedKey = new PresharedKey(new Uint8Array(32).fill(7));
  const { alice, bob, toBob } = await pair({ presharedKey });
  presharedKey.zero();
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
  const kept = alice.peer(bob).presharedKey;
  assert.equal(kept.exposeHex(), '07'.repeat(32));
  await alice.configure({ publicKey: bob.publicKey, presharedKey: PresharedKey.none });
  assert.equal(kept.isZero, true);
});

test('low order: a peer with such a public key may be configured, and nothing is ever sent to it', async () => {
  const { alice, wire, world } = await pair();
  const peers = LOW_ORDER_POINTS.map((point, i) => ({
    publicKey: new PublicKey(point),
    endpoint: endpoint('192.0.2.200', 1000 + i),
    persistentKeepalive: 1,
    allowedIps: [allow(`10.1.0.${i}/32`)],
  }));
  await alice.configure(...peers);
  assert.equal(alice.device.state().peers.length, 1 + LOW_ORDER_POINTS.length);
  for (let i = 0; i < LOW_ORDER_POINTS.length; i++) {
    alice.send(ipv4Packet('10.0.0.1', `10.1.0.${i}`, 60));
  }
  world.advance(60_000);
  assert.deepEqual(wire.sent, []);
});

test('allowed IPs: a prefix moves to the peer that names it last, and its packets go there', async () => {
  const { alice, bob, wire, toBob } = await connectedPair();
  const carol = keyOf(9);
  await alice.configure({
    publicKey: carol,
    endpoint: endpoint('192.0.2.3', 3),
    allowedIps: [allow('10.0.0.2/32')],
  });
  assert.deepEqual(allowedIps(alice, bob.publicKey), ['fd00::2/128']);
  assert.deepEqual(allowedIps(alice, carol), ['10.0.0.2/32']);
  alice.send(toBob());
  assert.deepEqual(
    wire.sent.map(({ to, bytes }) => [to.port, bytes.length]),
    [[3, 148]],
  );
  // And back.
  await alice.configure({ publicKey: bob.publicKey, allowedIps: [allow('10.0.0.2/32')] });
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
  assert.deepEqual(allowedIps(alice, carol), []);
});

test('allowed IPs: a peer may not use the address of another, also when its own prefix is shorter', async () => {
  const { alice, bob, toBob } = await connectedPair();
  const carol = keyOf(9);
  await bob.configure({
    publicKey: alice.publicKey,
    replaceAllowedIps: true,
    allowedIps: [allow('10.0.0.0/8')],
  });
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
  await bob.configure({ publicKey: carol, allowedIps: [allow('10.0.0.1/32')] });
  alice.send(toBob());
  assert.equal(bob.received().length, 0);
  assert.deepEqual(bob.drops(), { source_not_allowed: 1 });
  await bob.configure({ publicKey: carol, remove: true });
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
});

test('allowed IPs: removal needs the exact prefix and its owner; replacing clears first', async () => {
  const { alice, bob } = await pair();
  const carol = keyOf(9);
  await alice.configure({ publicKey: carol, allowedIps: [deny('10.0.0.2/32'), allow('10.9.0.0/16')] });
  assert.deepEqual(allowedIps(alice, bob.publicKey), ['10.0.0.2/32', 'fd00::2/128']);
  await alice.configure({ publicKey: bob.publicKey, allowedIps: [deny('10.0.0.0/24'), deny('10.0.0.2/32')] });
  assert.deepEqual(allowedIps(alice, bob.publicKey), ['fd00::2/128']);
  await alice.configure({
    publicKey: bob.publicKey,
    replaceAllowedIps: true,
    allowedIps: [allow('10.0.1.0/24'), allow('10.0.0.0/24'), allow('10.0.1.0/24'), allow('10.9.0.0/16')],
  });
  // In order of insertion, each once.
  assert.deepEqual(allowedIps(alice, bob.publicKey), ['10.0.1.0/24', '10.0.0.0/24', '10.9.0.0/16']);
  assert.deepEqual(allowedIps(alice, carol), []);
});

test('remove: nothing of the peer is left, whatever was under way', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  wire.hold();
  alice.send(toBob(), toBob());
  await alice.configure({ publicKey: bob.publicKey, remove: true });
  assert.deepEqual(alice.drops(), { no_session: 2 });
  assert.deepEqual(alice.device.timers(), []);
  // The response comes too late.
  wire.mend();
  wire.inject(...wire.held.splice(0));
  world.settle();
  assert.equal(wire.responses(bob).length, 1);
  assert.deepEqual(alice.drops(), { no_session: 2, unknown_index: 1 });

  const established = await connectedPair();
  established.wire.hold();
  established.bob.send(established.toAlice());
  await established.alice.configure({ publicKey: established.bob.publicKey, remove: true });
  established.wire.mend();
  established.wire.inject(...established.wire.held.splice(0));
  established.alice.send(established.toBob());
  assert.deepEqual(established.alice.drops(), { unknown_index: 1, no_route: 1 });
  // The application hears of it by ICMP, and of nothing else.
  assert.deepEqual(
    established.alice.received().map((packet) => packet[9]),
    [1],
  );
});

test('replace peers: those not named again are gone, those named again start anew', async () => {
  const { alice, bob, world, wire, toBob } = await connectedPair();
  world.advance(100);
  const { allowedIps: ips, endpoint: to } = alice.peer(bob);
  await alice.device.configure({
    replacePeers: true,
    peers: [
      {
        publicKey: bob.publicKey,
        allowedIps: ips.map((each) => ({ prefix: each, remove: false })),
        ...(to ? { endpoint: to } : {}),
      },
    ],
  });
  assert.equal(alice.peer(bob).lastHandshakeMs, 0);
  alice.send(toBob());
  assert.equal(wire.initiations(alice).length, 1);
  assert.equal(bob.received().length, 1);
});

test('peers: a change that would make them more than 65,536 is refused as a whole', async () => {
  const { alice, bob } = await pair();
  const peers = Array.from({ length: MAX_PEERS }, (_, i) => {
    const key = new Uint8Array(32);
    new DataView(key.buffer).setUint32(0, i);
    return { publicKey: new PublicKey(key) };
  });
  await assert.rejects(alice.device.configure({ listenPort: 999, peers }), {
    code: 'config',
    message: /65537/,
  });
  assert.deepEqual(
    alice.device.state().peers.map(({ publicKey }) => publicKey.hex),
    [bob.publicKey.hex],
  );
  assert.notEqual(alice.device.state().listenPort, 999);
});

test('update only: a peer that does not exist is not made', async () => {
  const { alice, bob } = await pair();
  await alice.configure({ publicKey: keyOf(9), updateOnly: true, allowedIps: [allow('10.0.0.2/32')] });
  assert.deepEqual(allowedIps(alice, bob.publicKey), ['10.0.0.2/32', 'fd00::2/128']);
  assert.equal(alice.device.state().peers.length, 1);
});

test('persistent keepalive: turning it on sends one at once, changing or repeating it does not', async () => {
  const { alice, bob, wire } = await connectedPair();
  const set = (persistentKeepalive: number) =>
    alice.configure({ publicKey: bob.publicKey, persistentKeepalive });
  await set(25);
  assert.equal(wire.keepalives(alice).length, 1);
  await set(25);
  await set(10);
  assert.equal(wire.keepalives(alice).length, 1);
  await set(0);
  assert.ok(alice.timer('persistent-keepalive') === undefined);
  await set(10);
  assert.equal(wire.keepalives(alice).length, 2);
  assert.equal(alice.timer('persistent-keepalive'), 10_000);
});

test('endpoint: packets wait for none; once it is known what was asked for starts', async () => {
  const { alice, wire } = await pair();
  const carol = keyOf(9);
  await alice.configure({ publicKey: carol, persistentKeepalive: 25, allowedIps: [allow('10.0.0.9/32')] });
  assert.equal(wire.sent.length, 0);
  await alice.configure({ publicKey: carol, endpoint: endpoint('192.0.2.3', 3) });
  assert.deepEqual(
    wire.sent.map(({ to }) => to.port),
    [3],
  );
});

test('listen port: a taken one is refused with EADDRINUSE, and nothing has changed', async () => {
  const { alice, bob, wire, toBob } = await connectedPair();
  const before = alice.device.state();
  const taken = bob.device.state().listenPort;
  bob.bind.addresses.push(alice.bind.addresses[0] as Uint8Array);
  await bob.device.down();
  await bob.device.up();
  const change = {
    listenPort: taken,
    fwmark: 77,
    replacePeers: true,
    privateKey: new PrivateKey(new Uint8Array(32).fill(3)),
    peers: [],
  };
  await assert.rejects(alice.device.configure(change), (error) => {
    assert.ok(error instanceof SystemError);
    assert.deepEqual([error.code, error.errnoName], ['in_use', 'EADDRINUSE']);
    return true;
  });
  assert.deepEqual(alice.device.state(), before);
  assert.equal(alice.bind.mark, 0);
  bob.bind.addresses.pop();
  wire.clear();
  alice.send(toBob());
  assert.deepEqual(
    wire.sent.map(({ from }) => from.port),
    [before.listenPort],
  );
});

test('listen port: a change on a live device is told to the peer by the next packet', async () => {
  const { alice, bob, toBob, toAlice } = await connectedPair();
  await alice.device.configure({ listenPort: 999, peers: [] });
  assert.equal(alice.device.state().listenPort, 999);
  alice.send(toBob());
  assert.equal(bob.peer(alice).endpoint?.port, 999);
  bob.send(toAlice());
  assert.equal(alice.received().length, 1);
});

test('fwmark: it is handed to the sockets and shown', async () => {
  const { alice } = await pair();
  await alice.device.configure({ fwmark: 0xffff_ffff, peers: [] });
  assert.deepEqual([alice.bind.mark, alice.device.state().fwmark], [0xffff_ffff, 0xffff_ffff]);
});

test('down and up: the configuration stays, the sessions go, the port stays the same', async () => {
  const both = await connectedPair({ persistentKeepalive: 25 });
  const { alice, bob, wire, world, toBob, toAlice } = both;
  const before = describe(both);
  wire.hold();
  bob.send(toAlice());
  await alice.device.down();
  assert.equal(alice.device.isUp, false);
  assert.deepEqual(alice.device.timers(), []);
  assert.deepEqual(describe(both), before);
  // While down: nothing goes out, nothing comes in, and what the TUN holds stays there.
  wire.mend();
  wire.clear();
  alice.send(toBob());
  wire.inject(...wire.held);
  world.advance(100_000);
  assert.deepEqual(wire.from(alice), []);
  assert.deepEqual(alice.received(), []);
  assert.deepEqual(alice.drops(), {});
  // Up again: the persistent keepalive starts a handshake at once; the old session is gone.
  wire.clear();
  await alice.device.up();
  world.settle();
  assert.equal(wire.initiations(alice).length, 1);
  assert.deepEqual(describe(both), before);
  wire.inject(...wire.held.splice(0));
  world.settle();
  assert.deepEqual(alice.drops(), { unknown_index: 1 });
  bob.send(toAlice());
  assert.equal(alice.received().length, 1);
});

test('up: a packet that an application sent before the sockets were open starts the handshake and arrives', async () => {
  const { alice, bob, world, toBob } = await pair();
  await alice.device.down();
  const early = toBob();
  alice.send(early);
  assert.deepEqual(bob.received(), []);
  await alice.device.up();
  world.settle();
  assert.deepEqual(bob.received(), [early]);
});

function describe({ alice, bob }: Pair) {
  const { listenPort, publicKey } = alice.device.state();
  const { endpoint: to, persistentKeepalive } = alice.peer(bob);
  return [listenPort, publicKey?.hex, to?.port, persistentKeepalive, allowedIps(alice, bob.publicKey)];
}

test('down and up: the greatest timestamp of a peer stays, so a recorded initiation stays a replay', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  alice.send(toBob());
  const [recorded] = wire.initiations(alice);
  assert.ok(recorded);
  world.advance(1000);
  await bob.device.down();
  await bob.device.up();
  wire.clear();
  wire.inject(recorded);
  world.settle();
  assert.deepEqual(bob.drops(), { replayed_timestamp: 1 });
  assert.deepEqual(wire.sent, []);
});

test('down and up: handshakes that came before are forgotten, wherever they were waiting', async () => {
  const { alice, bob, wire, world, toBob } = await pair();
  alice.tun.inject(toBob());
  world.network.deliver();
  await bob.device.down();
  await bob.device.up();
  world.settle();
  assert.equal(wire.responses(bob).length, 0);
  assert.deepEqual(bob.drops(), {});
  // In another thread they may come while the device is down.
  const linked = await pair({ bob: { host: 'linked' } });
  linked.alice.tun.inject(linked.toBob());
  linked.world.network.deliver();
  await linked.bob.device.down();
  linked.world.settle();
  assert.equal(linked.bob.peer(linked.alice).rxBytes, 0n);
  assert.deepEqual(linked.bob.drops(), {});
});

test('down: what the lane reports afterwards starts no timer', async () => {
  const { alice, bob, world, toBob } = await connectedPair({
    alice: { host: 'linked' },
    persistentKeepalive: 25,
  });
  alice.tun.inject(toBob());
  await alice.device.down();
  world.settle();
  assert.equal(bob.received().length, 1);
  assert.deepEqual(alice.device.timers(), []);
});

test('configured while down: everything is kept and works once up', async () => {
  const { alice, bob, wire, toBob } = await pair();
  await alice.device.down();
  await alice.device.configure({ listenPort: 4242, fwmark: 5, peers: [] });
  await alice.configure({ publicKey: bob.publicKey, persistentKeepalive: 10 });
  assert.deepEqual(wire.sent, []);
  await alice.device.up();
  alice.send(toBob());
  assert.equal(bob.received().length, 1);
  assert.equal(alice.device.state().listenPort, 4242);
  assert.equal(bob.peer(alice).endpoint?.port, 4242);
});

test('close: keys are wiped, the port is free, and nothing moves any more', async () => {
  const { alice, bob, wire, world, toBob, toAlice } = await connectedPair();
  const { privateKey } = alice.device.state();
  assert.equal(privateKey?.isZero, false);
  const port = alice.device.state().listenPort;
  await alice.device.close();
  assert.equal(privateKey.isZero, true);
  assert.deepEqual(alice.device.state().peers, []);
  wire.clear();
  alice.send(toBob());
  bob.send(toAlice());
  world.advance(10_000);
  assert.deepEqual(wire.from(alice), []);
  assert.ok(world.network.isFree({ ...alice.endpoint, port }));
  await alice.device.up();
  assert.equal(alice.device.isUp, false);
  await assert.rejects(alice.device.configure({ privateKey: alice.privateKey, peers: [] }), {
    message: 'the device is closed',
  });
  assert.equal(alice.device.state().privateKey, undefined);
});

test('state: handshake time is wall clock, bytes are those of the UDP payload', async () => {
  const { alice, bob, clock, toBob } = await pair();
  assert.equal(alice.peer(bob).lastHandshakeMs, 0);
  alice.send(toBob(100));
  for (const peer of [alice.peer(bob), bob.peer(alice)]) assert.equal(peer.lastHandshakeMs, clock.wallMs);
  const { txBytes, rxBytes } = alice.peer(bob);
  assert.deepEqual([txBytes, rxBytes], [148n + 144n, 92n]);
  assert.deepEqual([bob.peer(alice).txBytes, bob.peer(alice).rxBytes], [92n, 148n + 144n]);
  assert.deepEqual(alice.peer(bob).endpoint?.port, bob.endpoint.port);
});
