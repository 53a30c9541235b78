import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/core/clock.ts';
import { allBackends, chooseCrypto } from '../../../src/noise/choose.ts';
import { nobleBlake2s } from '../../../src/noise/crypto-noble.ts';
import { nodeX25519 } from '../../../src/noise/crypto-node.ts';
import type { Blake2s, X25519 } from '../../../src/noise/crypto.ts';
import { Pair, assertMatch } from './fixtures.ts';

/** A clock that only the backends under test move: each hash takes what its backend is said to take. */
function costs() {
  const clock = { ms: 0, now: () => clock.ms, wall: () => 0 };
  const backend = (name: string, us: number, change: Partial<Blake2s> = {}): Blake2s => ({
    ...nobleBlake2s,
    name,
    hash: (...parts) => {
      clock.ms += us / 1_000;
      return nobleBlake2s.hash(...parts);
    },
    ...change,
  });
  return { clock, backend };
}

describe('the choice of backends', () => {
  test('on this machine makes a crypto that shakes hands, and names what it measured', async () => {
    const { crypto, measurements } = await chooseCrypto(systemClock);
    assertMatch(...new Pair({ initiatorCrypto: crypto }).complete());
    assert.deepEqual(
      measurements.map(({ operation, chosen }) => [operation, chosen]),
      [
        ['X25519', crypto.x25519.name],
        ['ChaCha20-Poly1305', crypto.aead.name],
        ['BLAKE2s', crypto.blake2s.name],
      ],
    );
    for (const { chosen, candidates } of measurements) {
      const best = candidates.find(({ name }) => name === chosen);
      assert.ok(best?.ns !== undefined && best.ns > 0);
      assert.ok(candidates.every(({ ns }) => ns === undefined || ns >= (best.ns as number)));
    }
  });

  test('falls on the fastest backend, wherever it stands in the list', async () => {
    const { clock, backend } = costs();
    for (const order of [
      [3, 1, 2],
      [1, 2, 3],
      [3, 2, 1],
    ]) {
      const blake2s = order.map((us) => backend(`${us} us`, us));
      const { crypto, measurements } = await chooseCrypto(clock, { ...allBackends(), blake2s });
      assert.equal(crypto.blake2s.name, '1 us');
      const { candidates } = measurements.find(({ operation }) => operation === 'BLAKE2s') ?? {
        candidates: [],
      };
      assert.deepEqual(
        candidates.map(({ name, ns }) => [name, Math.round(ns ?? 0)]),
        order.map((us) => [`${us} us`, us * 1_000]),
      );
    }
  });

  test('passes over a backend that is wrong or throws, however fast', async () => {
    const { clock, backend } = costs();
    const wrong = backend('wrong', 0, { mac: () => new Uint8Array(16) });
    const broken = backend('broken', 0, {
      hmac: () => {
        throw new Error('unsupported');
      },
    });
    const blake2s = [backend('right', 5), wrong, broken];
    const { crypto, measurements } = await chooseCrypto(clock, { ...allBackends(), blake2s });
    assert.equal(crypto.blake2s.name, 'right');
    assert.deepEqual(measurements[2]?.candidates.slice(1), [
      { name: 'wrong', ns: undefined },
      { name: 'broken', ns: undefined },
    ]);
  });

  test('falls back on noble when OpenSSL has no X25519, and when its answers are wrong', async () => {
    const refusing: X25519 = {
      ...nodeX25519,
      generate: () => {
        throw new Error('unsupported');
      },
    };
    const wrong: X25519 = {
      ...nodeX25519,
      importPublicKey: (bytes) =>
        nodeX25519.importPublicKey(bytes.map((byte, i) => (i === 0 ? byte ^ 2 : byte))),
    };
    for (const backend of [refusing, wrong]) {
      const { crypto, measurements } = await chooseCrypto(systemClock, {
        ...allBackends(),
        x25519: [backend],
      });
      assert.equal(crypto.x25519.name, 'noble');
      assert.deepEqual(measurements[0], {
        operation: 'X25519',
        chosen: 'noble',
        candidates: [{ name: 'node', ns: undefined }],
      });
    }
  });
});
