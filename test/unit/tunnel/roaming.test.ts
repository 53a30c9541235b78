import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REJECT_AFTER_TIME, REKEY_TIMEOUT } from '../../../src/noise/constants.ts';
import { formatEndpoint, type Endpoint } from '../../../src/tunnel/endpoint.ts';
import { ipv4Packet } from '../../kit/packets.ts';
import {
  HOST_NAMES,
  type HostName,
  address,
  connectedPair,
  pair,
  type End,
  type Pair,
} from '../../kit/pair.ts';
import { Stranger, endpoint } from '../../kit/stranger.ts';

const ELSEWHERE = endpoint('203.0.113.9', 4711);

/** From now on what the end sends seems to come from there. */
function move({ wire }: Pair, end: End, to: Endpoint): void {
  const { port } = end.endpoint;
  wire.bend((datagram) => [datagram.from.port === port ? { ...datagram, from: to } : datagram]);
}

function shown(end: End, other: End): string {
  const current = end.peer(other).endpoint;
  return current ? formatEndpoint(current) : 'none';
}

/** Where the next data packet of the end would go. */
function destination({ wire, alice, bob, toAlice }: Pair): string {
  wire.clear();
  bob.send(toAlice());
  const sent = wire.data(bob)[0] ?? wire.initiations(bob)[0];
  assert.ok(sent);
  assert.equal(formatEndpoint(sent.to), shown(bob, alice));
  return formatEndpoint(sent.to);
}

for (const kind of ['data', 'a keepalive', 'an initiation', 'a response']) {
  test(`roaming: the endpoint follows ${kind} from a new address`, async () => {
    const both = await connectedPair();
    const { alice, bob, world, toBob, toAlice } = both;
    if (kind === 'an initiation' || kind === 'a response') world.advance(REJECT_AFTER_TIME);
    move(both, alice, ELSEWHERE);
    if (kind === 'data') alice.send(toBob());
    else if (kind === 'a keepalive') {
      await alice.configure({ publicKey: bob.publicKey, persistentKeepalive: 1 });
    } else {
      // Nothing but the handshake message itself gets through.
      both.wire.bend((datagram) => (datagram.bytes[0] === 4 ? [] : [datagram]));
      if (kind === 'an initiation') alice.send(toBob());
      else bob.send(toAlice());
    }
    assert.equal(shown(bob, alice), formatEndpoint(ELSEWHERE));
    both.wire.mend();
    // After an initiation Bob may not send before it is confirmed, but the answer has gone there.
    const answer = kind === 'an initiation' ? both.wire.responses(bob)[0] : undefined;
    assert.equal(answer ? formatEndpoint(answer.to) : destination(both), formatEndpoint(ELSEWHERE));
  });
}

test('roaming: from IPv4 to IPv6 and back', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, toBob, toAlice } = both;
  for (const host of ['2001:db8::1', '192.0.2.1']) {
    const family = address(host).length;
    const [from, to] = [alice, bob].map(({ bind, endpoint: at }) => ({
      ...at,
      address: bind.addresses.find((each) => each.length === family) as Uint8Array,
    })) as [Endpoint, Endpoint];
    wire.hold();
    alice.send(toBob());
    wire.mend();
    wire.inject(...wire.held.splice(0).map((datagram) => ({ ...datagram, from, to })));
    world.settle();
    assert.equal(shown(bob, alice), formatEndpoint(from));
    bob.send(toAlice());
    assert.equal(alice.received().length, 1);
    assert.equal(shown(alice, bob), formatEndpoint(to));
  }
});

test('roaming: a packet moves the endpoint even when its content is refused', async () => {
  const refused = [
    ['source_not_allowed', ipv4Packet('10.0.0.77', '10.0.0.2', 60)],
    ['bad_inner_packet', new Uint8Array(40).fill(0x11)],
  ] as const;
  for (const [reason, content] of refused) {
    const both = await pair();
    const { alice, bob, world } = both;
    const stranger = new Stranger(world, bob, { privateKey: alice.privateKey, from: alice.endpoint });
    stranger.shakeHands();
    stranger.from = ELSEWHERE;
    stranger.send(stranger.transport(0n, content));
    assert.deepEqual(bob.drops(), { [reason]: 1 });
    assert.equal(shown(bob, alice), formatEndpoint(ELSEWHERE));
  }
});

test('roaming: nothing replayed, forged, expired or unauthenticated moves it', async () => {
  const both = await connectedPair();
  const { alice, bob, wire, world, toBob } = both;
  const home = shown(bob, alice);
  wire.hold();
  alice.send(toBob(), toBob());
  wire.mend();
  const [first, second] = wire.held.splice(0);
  assert.ok(first && second);
  wire.inject(first);
  world.settle();
  const forged = second.bytes.slice();
  forged[40] = (forged[40] as number) ^ 1;
  wire.inject({ ...first, from: ELSEWHERE }, { ...second, bytes: forged, from: ELSEWHERE });
  wire.inject({ ...second, bytes: new Uint8Array(60).fill(4), from: ELSEWHERE });
  world.settle();
  assert.deepEqual(bob.drops(), { replayed: 1, bad_tag: 1, unknown_type: 1 });
  assert.equal(destination(both), home);
  world.advance(REJECT_AFTER_TIME);
  wire.inject({ ...second, from: ELSEWHERE });
  world.settle();
  assert.equal(bob.drops().expired_keypair, 1);
  assert.equal(shown(bob, alice), home);
});

test('roaming: a recorded initiation from elsewhere moves nothing, nor one that comes too fast, nor one not understood', async () => {
  const both = await pair();
  const { alice, bob, wire, world, clock, toBob } = both;
  alice.send(toBob());
  const home = shown(bob, alice);
  const [recorded] = wire.initiations(alice);
  const [response] = wire.responses(bob);
  assert.ok(recorded && response);
  world.advance(1000);
  wire.inject({ ...recorded, from: ELSEWHERE });
  wire.inject({ ...response, from: ELSEWHERE });
  world.settle();
  assert.deepEqual([bob.drops(), alice.drops()], [{ replayed_timestamp: 1 }, { bad_handshake: 1 }]);
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey, from: alice.endpoint });
  stranger.send(stranger.initiation());
  clock.wallMs += 100;
  stranger.from = ELSEWHERE;
  stranger.send(stranger.initiation());
  assert.equal(bob.drops().initiation_flood, 1);
  assert.equal(shown(bob, alice), home);
  assert.equal(shown(alice, bob), formatEndpoint(bob.endpoint));
});

test('roaming: a cookie reply moves nothing', async () => {
  const both = await pair();
  const { alice, bob, wire, world, toBob } = both;
  const stranger = new Stranger(world, bob);
  wire.hold(({ bytes }) => bytes[0] === 3);
  wire.bend((datagram) => [datagram, ...Array.from({ length: 200 }, () => stranger.datagram(noise()))]);
  alice.send(toBob());
  wire.mend();
  const replies = wire.held.splice(0);
  assert.equal(replies.length, 1);
  wire.inject(...replies.map((reply) => ({ ...reply, from: ELSEWHERE })));
  world.settle();
  assert.deepEqual(alice.drops(), {});
  assert.equal(shown(alice, bob), formatEndpoint(bob.endpoint));
});

/** Something of the size and type of an initiation. */
function noise(): Uint8Array {
  const bytes = new Uint8Array(148);
  bytes[0] = 1;
  return bytes;
}

/** Bob has a second address, which Alice uses. */
async function targeted(host: HostName = 'inline'): Promise<Pair & { readonly second: Endpoint }> {
  const both = await pair({ bob: { host } });
  const { alice, bob } = both;
  const second = { ...bob.endpoint, address: address('192.0.2.22') };
  await bob.device.down();
  bob.bind.addresses.push(second.address);
  await bob.device.up();
  await alice.configure({ publicKey: bob.publicKey, endpoint: second });
  return { ...both, second };
}

test('sticky source: answers leave from the address that the peer has used, handshakes and data alike', async () => {
  const { alice, bob, wire, toBob, toAlice, second } = await targeted();
  alice.send(toBob());
  bob.send(toAlice());
  const sent = wire.from(bob);
  assert.deepEqual(
    sent.map(({ bytes }) => bytes[0]),
    [2, 4],
  );
  for (const { from } of sent) assert.deepEqual(from.address, second.address);
  assert.equal(shown(alice, bob), formatEndpoint(second));
});

test('sticky source: it follows the peer, and a cookie reply leaves from the address asked, too', async () => {
  const { alice, bob, wire, world, toBob, toAlice, second } = await targeted();
  alice.send(toBob());
  const first = bob.endpoint;
  wire.bend((datagram) => [datagram.to.port === first.port ? { ...datagram, to: first } : datagram]);
  alice.send(toBob());
  bob.send(toAlice());
  assert.deepEqual(wire.data(bob).at(-1)?.from.address, first.address);
  wire.mend();
  const stranger = new Stranger(world, bob);
  const aimed = stranger.datagram(stranger.initiation());
  wire.inject(...Array.from({ length: 200 }, () => stranger.datagram(noise())), { ...aimed, to: second });
  world.settle();
  assert.deepEqual(
    wire.cookieReplies(bob).map(({ from }) => from.address),
    [second.address],
  );
});

test('sticky source: a retried handshake, a new endpoint, port or mark, and a route by another interface let go of it', async () => {
  const home = address('192.0.2.2');
  const setups: readonly [string, (both: Pair) => unknown][] = [
    ['a retry', ({ world }) => world.advance(REJECT_AFTER_TIME)],
    [
      'an endpoint',
      ({ bob, alice }) => bob.configure({ publicKey: alice.publicKey, endpoint: alice.endpoint }),
    ],
    ['a port', ({ bob }) => bob.device.configure({ listenPort: 1234, peers: [] })],
    ['a mark', ({ bob }) => bob.device.configure({ fwmark: 9, peers: [] })],
    [
      'routes',
      ({ bob }) => {
        bob.bind.routeInterface = 2;
        bob.device.routesChanged();
      },
    ],
  ];
  for (const [name, change] of setups) {
    const both = await targeted();
    const { alice, bob, wire, world, toBob, toAlice, second } = both;
    alice.send(toBob());
    await change(both);
    wire.clear();
    wire.cut();
    bob.send(toAlice());
    if (name === 'a retry') {
      assert.deepEqual(wire.initiations(bob)[0]?.from.address, second.address);
      world.advance(REKEY_TIMEOUT + 333);
    }
    const [last] = wire.sent.slice(-1);
    assert.deepEqual(last?.from.address, home, name);
  }
});

test('sticky source: a change of routes that keeps the interface keeps the source, as clients behind a NAT need it', async () => {
  const { alice, bob, wire, toBob, toAlice, second } = await targeted();
  alice.send(toBob());
  bob.device.routesChanged();
  wire.clear();
  bob.send(toAlice());
  assert.deepEqual(wire.data(bob)[0]?.from.address, second.address);
});

test('sticky source: a handshake for want of an answer lets go of it', async () => {
  const { alice, bob, wire, world, toBob, toAlice, second } = await targeted();
  alice.send(toBob());
  wire.cut();
  bob.send(toAlice());
  world.advance(bob.timer('new-handshake') ?? 0);
  assert.deepEqual(
    [...wire.data(bob), ...wire.initiations(bob)].map(({ from }) => from.address),
    [second.address, address('192.0.2.2')],
  );
});

test('sticky source: a vanished address is given up at once, without losing the packet', async () => {
  const { alice, bob, toBob, toAlice } = await targeted();
  alice.send(toBob());
  bob.bind.addresses.pop();
  const packet = toAlice();
  bob.send(packet);
  assert.deepEqual(alice.received(), [packet]);
  assert.equal(shown(alice, bob), formatEndpoint(bob.endpoint));
});

for (const host of HOST_NAMES) {
  test(`sticky source: one that was given up is used again once the peer has called it again; lanes ${host}`, async () => {
    const { alice, bob, wire, world, toBob, toAlice, second } = await targeted(host);
    world.settle();
    alice.send(toBob());
    bob.bind.addresses.pop();
    bob.send(toAlice());
    bob.bind.addresses.push(second.address);
    bob.send(toAlice());
    // Alice has followed to the first address.
    await alice.configure({ publicKey: bob.publicKey, endpoint: second });
    alice.send(toBob());
    bob.send(toAlice());
    assert.deepEqual(
      wire.data(bob).map(({ from }) => from.address),
      [bob.endpoint.address, bob.endpoint.address, second.address],
    );
  });
}
