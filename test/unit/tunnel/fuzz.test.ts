import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CookieGenerator } from '../../../src/noise/cookie.ts';
import { nodeCrypto } from '../../../src/noise/crypto-node.ts';
import { formatEndpoint } from '../../../src/tunnel/endpoint.ts';
import type { WireDatagram } from '../../../src/tunnel/bind-memory.ts';
import { pair, type End, type Pair } from '../../kit/pair.ts';
import { Stranger, endpoint } from '../../kit/stranger.ts';

const ELSEWHERE = endpoint('203.0.113.66', 6666);

/** Sizes at which something changes, and any other. */
const size = fc.oneof(
  fc.constantFrom(0, 1, 3, 4, 7, 8, 15, 16, 31, 32, 33, 47, 48, 63, 64, 65, 91, 92, 93, 147, 148, 149),
  fc.integer({ min: 0, max: 1600 }),
);

/** A datagram that looks like one of the four messages, or like nothing at all. */
const garbage = fc.tuple(fc.integer({ min: 0, max: 6 }), size, fc.nat()).map(([type, length, seed]) => {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(seed ^ i, 0x9e37_79b9) >>> 24) & 255;
  if (type < 6) bytes.set([type, 0, 0, 0].slice(0, length));
  return bytes;
});

type Mutation = (bytes: Uint8Array) => Uint8Array;

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.nat().map((bit): Mutation => (bytes) => {
    const changed = bytes.slice();
    const at = (bit >> 3) % bytes.length;
    changed[at] = (changed[at] as number) ^ (1 << (bit & 7));
    return changed;
  }),
  fc.nat().map(
    (at): Mutation =>
      (bytes) =>
        bytes.slice(0, at % bytes.length),
  ),
  fc.uint8Array({ minLength: 1, maxLength: 64 }).map(
    (tail): Mutation =>
      (bytes) =>
        Uint8Array.of(...bytes, ...tail),
  ),
  fc
    .tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 16 }))
    .map(([at, patch]): Mutation => (bytes) => {
      const changed = bytes.slice();
      changed.set(patch.slice(0, changed.length - (at % changed.length)), at % changed.length);
      return changed;
    }),
);

function total(end: End): number {
  return Object.values(end.drops()).reduce((sum, count) => sum + count, 0);
}

/** A pair that has exchanged every kind of message, and a copy of each datagram. */
async function experienced(): Promise<Pair & { readonly recorded: readonly WireDatagram[] }> {
  const both = await pair();
  const { alice, bob, wire, world, toBob, toAlice } = both;
  const stranger = new Stranger(world, bob);
  wire.inject(...Array.from({ length: 200 }, () => stranger.datagram(new Uint8Array(148).fill(1, 0, 1))));
  alice.send(toBob(), toBob());
  world.advance(6000);
  bob.send(toAlice(), toAlice());
  world.advance(10_000);
  const recorded = [...wire.sent];
  const types = new Set(recorded.map(({ bytes }) => bytes[0]));
  assert.deepEqual(
    [...types].toSorted((a = 0, b = 0) => a - b),
    [1, 2, 3, 4],
  );
  for (const end of [alice, bob]) end.received();
  wire.clear();
  return { ...both, recorded };
}

/** What must be as it was after anything forged: no packet, no move, no answer, and the session works. */
function checkUnimpressed({ alice, bob, wire, toBob, toAlice }: Pair): void {
  assert.deepEqual([alice.received().length, bob.received().length], [0, 0]);
  assert.equal(wire.sent.length, 0);
  for (const [end, other] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const shown = end.peer(other).endpoint;
    assert.equal(shown && formatEndpoint(shown), formatEndpoint(other.endpoint));
  }
  const [there, back] = [toBob(), toAlice()];
  alice.send(there);
  bob.send(back);
  assert.deepEqual([bob.received(), alice.received()], [[there], [back]]);
  assert.equal(wire.initiations().length, 0);
  wire.clear();
}

test('fuzz: any bytes are dropped, each datagram is counted once, and nothing else happens', async () => {
  const both = await experienced();
  const { bob, wire, world } = both;
  fc.assert(
    fc.property(fc.array(garbage, { minLength: 1, maxLength: 60 }), (datagrams) => {
      const before = total(bob);
      for (const bytes of datagrams)
        wire.inject({ bytes, from: ELSEWHERE, to: bob.endpoint, tos: bytes.length & 255 });
      world.settle();
      assert.equal(total(bob) - before, datagrams.length);
      checkUnimpressed(both);
    }),
    { numRuns: 150 },
  );
});

test('fuzz: recorded datagrams, changed in any way or not at all, are dropped, each counted once', async () => {
  const both = await experienced();
  const { alice, bob, wire, world, recorded } = both;
  const forged = fc.tuple(fc.nat(), fc.array(mutation, { maxLength: 3 }), fc.boolean());
  fc.assert(
    fc.property(fc.array(forged, { minLength: 1, maxLength: 40 }), (list) => {
      const before = total(alice) + total(bob);
      for (const [which, mutations, isReflected] of list) {
        const original = recorded[which % recorded.length] as WireDatagram;
        // An empty result of one mutation is nothing for the next to work on.
        const bytes = mutations.reduce(
          (each, mutate) => (each.length === 0 ? each : mutate(each)),
          original.bytes,
        );
        wire.inject({ ...original, bytes, from: ELSEWHERE, to: isReflected ? original.from : original.to });
      }
      world.settle();
      assert.equal(total(alice) + total(bob) - before, list.length);
      checkUnimpressed(both);
    }),
    { numRuns: 150 },
  );
});

test('fuzz: changed handshake messages with a right mac1 that come before the real one do not get in its way', async () => {
  const crypto = nodeCrypto();
  for (const type of [1, 2]) {
    const both = await pair();
    const { alice, bob, wire, world, toBob } = both;
    wire.hold(({ bytes }) => bytes[0] === type);
    const packet = toBob();
    alice.send(packet);
    const [real] = wire.held.splice(0);
    assert.ok(real);
    wire.mend();
    const target = type === 1 ? bob : alice;
    const macs = new CookieGenerator(crypto, target.publicKey);
    for (let at = 4; at < real.bytes.length - 32; at++) {
      // The sender's index is the one part that is not authenticated: only its owner suffers when it is changed.
      if (at < 8) continue;
      const bytes = real.bytes.slice();
      bytes[at] = (bytes[at] as number) ^ (1 << (at & 7));
      macs.addMacs(bytes, 0);
      wire.inject({ ...real, bytes, from: ELSEWHERE });
      // One at a time, so that there is no load.
      world.settle();
    }
    const { bad_handshake: bad = 0, unknown_index: unknown = 0, ...rest } = target.drops();
    assert.equal(bad + unknown, real.bytes.length - 32 - 8);
    assert.deepEqual(rest, {});
    wire.inject(real);
    world.settle();
    assert.deepEqual(bob.received(), [packet]);
    assert.equal(formatEndpoint(alice.peer(bob).endpoint ?? ELSEWHERE), formatEndpoint(bob.endpoint));
  }
});

test('fuzz: any bytes from the TUN are sent as they are, refused with ICMP or counted', async () => {
  const both = await experienced();
  const { alice, bob, toBob } = both;
  const seen = fc.tuple(
    fc.constantFrom(0, 4, 5, 6, 15),
    fc.uint8Array({ minLength: 1, maxLength: 1420 }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(fc.array(seen, { minLength: 1, maxLength: 20 }), (packets) => {
      const before = total(alice) + total(bob);
      for (const [version, bytes, isForBob] of packets) {
        const packet = bytes.slice();
        packet[0] = (version << 4) | ((packet[0] as number) & 15);
        if (isForBob && version === 4 && packet.length >= 20) packet.set([10, 0, 0, 2], 16);
        alice.send(packet);
      }
      const delivered = bob.received();
      const counted = total(alice) + total(bob) - before;
      // Bob takes only what has Alice's address and a right length, and cuts what lies behind that.
      assert.equal(delivered.length + counted, packets.length);
      alice.received();
      const packet = toBob();
      alice.send(packet);
      assert.deepEqual(bob.received(), [packet]);
    }),
    { numRuns: 150 },
  );
});
