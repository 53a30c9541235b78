/** Recorded messages, changed; any bytes at all from either side are targets of test/fuzz. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CookieGenerator } from '../../../src/noise/cookie.ts';
import { nodeCrypto } from '../../../src/noise/crypto-node.ts';
import { formatEndpoint } from '../../../src/tunnel/endpoint.ts';
import type { WireDatagram } from '../../../src/tunnel/bind-memory.ts';
import { checkUnimpressed, experienced } from '../../fuzz/device-targets.ts';
import { MUTATION_KINDS, mutate } from '../../fuzz/mutate.ts';
import { pair, type End } from '../../kit/pair.ts';
import { endpoint } from '../../kit/stranger.ts';

const ELSEWHERE = endpoint('203.0.113.66', 6666);

const mutation = fc.record({
  kind: fc.constantFrom(...MUTATION_KINDS),
  at: fc.nat(0x7fff_ffff),
  value: fc.nat(0x7fff_ffff),
});

function total(end: End): number {
  return Object.values(end.drops()).reduce((sum, count) => sum + count, 0);
}

test('fuzz: recorded datagrams, changed in any way or not at all, are dropped, each counted once', async () => {
  const both = await experienced();
  const { alice, bob, wire, world, recorded } = both;
  const material = { words: [], others: recorded.map(({ bytes }) => bytes), maxBytes: 2000 };
  const forged = fc.tuple(fc.nat(), fc.array(mutation, { maxLength: 3 }), fc.boolean());
  fc.assert(
    fc.property(fc.array(forged, { minLength: 1, maxLength: 40 }), (list) => {
      const before = total(alice) + total(bob);
      for (const [which, mutations, isReflected] of list) {
        const original = recorded[which % recorded.length] as WireDatagram;
        const bytes = mutations.reduce((each, change) => mutate(each, change, material), original.bytes);
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
