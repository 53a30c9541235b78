/** What every Bind must do: one suite over all implementations, between two binds of the same kind. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Arena } from '../../src/core/arena.ts';
import { GuardedArena } from '../kit/guarded-arena.ts';
import { SystemError } from '../../src/core/errors.ts';
import type { Address } from '../../src/core/ip.ts';
import { type Bind, DatagramBatch, type DatagramPort } from '../../src/tunnel/bind.ts';
import { decodeEndpoint, encodeEndpoint, ENDPOINT, type Endpoint } from '../../src/tunnel/endpoint.ts';
import { eventually } from '../kit/eventually.ts';

export interface BindSide {
  readonly bind: Bind;
  /** The data half of the bind. */
  readonly datagrams: DatagramPort;
  readonly arena: Arena;
  /** Where the other side finds this one. */
  readonly addresses: { readonly [Family in 4 | 6]: Address };
}

export interface BindFixture {
  readonly alice: BindSide;
  readonly bob: BindSide;
  /** Another bind at Bob's addresses, which competes with his for ports. */
  readonly createRival: () => Bind;
  /** Lets the network work; real ones do so by themselves. */
  readonly deliver: () => void;
  readonly dispose: () => Promise<void>;
}

export interface BindTraits {
  /** The TOS byte travels. */
  readonly carriesTos: boolean;
}

const FAMILIES = [4, 6] as const;
/** The largest UDP payloads: 65,535 less the headers that count (RFC 768, RFC 8200). */
const LARGEST = { 4: 65_507, 6: 65_527 } as const;

function pattern(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed * 13 + (i >> 8)) & 255);
}

/** Sends and receives whole arrays, and keeps its own place for them in the arena. */
export class BindUser {
  readonly side: BindSide;
  readonly batch: DatagramBatch;
  readonly #area: number;
  readonly #record: number;

  constructor(side: BindSide) {
    this.side = side;
    this.batch = new DatagramBatch(side.datagrams.batchSize);
    this.#area = side.arena.alloc(140_000);
    this.#record = side.arena.alloc(ENDPOINT.size);
  }

  /** A record for an endpoint, to be used by the next send. */
  record(endpoint: Endpoint): number {
    encodeEndpoint(endpoint, this.side.arena.u8, this.#record);
    return this.#record;
  }

  send(record: number, datagrams: readonly Uint8Array[], tos = 0): void {
    const batch = new DatagramBatch(this.side.datagrams.batchSize);
    let at = this.#area;
    for (const datagram of datagrams) {
      this.side.arena.u8.set(datagram, at);
      batch.push(at, datagram.length, record, tos);
      at += datagram.length;
    }
    this.side.datagrams.send(batch);
  }

  /** What waits now, as copies. */
  receive(): { bytes: Uint8Array; from: Endpoint; tos: number }[] {
    const count = this.side.datagrams.receive(this.batch);
    assert.equal(count, this.batch.count);
    if (this.side.arena instanceof GuardedArena) this.side.arena.verify();
    return Array.from({ length: count }, (_, i) => {
      const at = this.batch.at[i] as number;
      return {
        bytes: this.side.arena.u8.slice(at, at + (this.batch.length[i] as number)),
        from:
          decodeEndpoint(this.side.arena.u8, this.batch.endpoint[i] as number) ?? assert.fail('no endpoint'),
        tos: this.batch.tos[i] as number,
      };
    });
  }
}

export function bindContract(
  name: string,
  traits: BindTraits,
  create: () => BindFixture,
  skip: string | false = false,
): void {
  interface Scene {
    readonly fixture: BindFixture;
    readonly alice: BindUser;
    readonly bob: BindUser;
    /** The endpoint of a side whose bind listens on `port`. */
    readonly at: (side: BindUser, family: 4 | 6, port: number) => Endpoint;
    /** Waits for the next datagrams. */
    readonly next: (side: BindUser, count?: number) => Promise<ReturnType<BindUser['receive']>>;
  }

  const scenario = (title: string, body: (scene: Scene) => Promise<void>) => {
    test(title, async () => {
      const fixture = create();
      const alice = new BindUser(fixture.alice);
      const bob = new BindUser(fixture.bob);
      const at = (user: BindUser, family: 4 | 6, port: number) => ({
        address: user.side.addresses[family],
        port,
        scope: 0,
        carrier: 0,
      });
      const next = async (user: BindUser, count = 1) => {
        const received: ReturnType<BindUser['receive']> = [];
        await eventually(`${count} datagrams`, () => {
          fixture.deliver();
          received.push(...user.receive());
          return received.length >= count;
        });
        assert.equal(received.length, count);
        return received;
      };
      try {
        await body({ fixture, alice, bob, at, next });
      } finally {
        await fixture.alice.bind.close();
        await fixture.bob.bind.close();
        await fixture.dispose();
      }
    });
  };

  describe(`${name}: contract of Bind`, { skip }, () => {
    scenario(
      'one port serves both families, and answers go back to where datagrams came from',
      async (scene) => {
        const { alice, bob, at, next } = scene;
        const alicePort = await alice.side.bind.open(0);
        const bobPort = await bob.side.bind.open(0);
        assert.ok(alicePort > 0 && alicePort < 65_536);
        for (const family of FAMILIES) {
          alice.send(alice.record(at(bob, family, bobPort)), [pattern(100, family)]);
          const [question] = await next(bob);
          assert.deepEqual(question?.bytes, pattern(100, family));
          assert.equal(question.from.port, alicePort);
          assert.deepEqual(question.from.address, alice.side.addresses[family]);
          assert.equal(question.from.carrier, 0);
          // The received record is good for sending as it is.
          bob.send(bob.batch.endpoint[0] as number, [pattern(50, family)]);
          const [answer] = await next(alice);
          assert.deepEqual(answer?.bytes, pattern(50, family));
          assert.equal(answer.from.port, bobPort);
          assert.deepEqual(answer.from.address, bob.side.addresses[family]);
        }
      },
    );

    scenario('datagrams of every size arrive byte for byte, the largest included', async (scene) => {
      const { alice, bob, at, next } = scene;
      const port = await bob.side.bind.open(0);
      await alice.side.bind.open(0);
      for (const family of FAMILIES) {
        for (const size of [0, 1, 32, 148, 1_452, 9_000, LARGEST[family]]) {
          alice.send(alice.record(at(bob, family, port)), [pattern(size, size)]);
          const [received] = await next(bob);
          assert.deepEqual(received?.bytes, pattern(size, size));
        }
      }
    });

    scenario('a datagram beyond the largest is counted as too large, and the others go', async (scene) => {
      const { alice, bob, at, next } = scene;
      const port = await bob.side.bind.open(0);
      await alice.side.bind.open(0);
      const record = alice.record(at(bob, 4, port));
      alice.send(record, [pattern(10, 1), pattern(LARGEST[4] + 1, 2), pattern(10, 3)]);
      const received = await next(bob, 2);
      assert.deepEqual(
        received.map(({ bytes }) => bytes),
        [pattern(10, 1), pattern(10, 3)],
      );
      await eventually('the count', () => alice.side.datagrams.sendErrors.tooLarge === 1);
    });

    scenario('more datagrams than a batch come in order over several calls', async (scene) => {
      const { alice, bob, at, next } = scene;
      const port = await bob.side.bind.open(0);
      await alice.side.bind.open(0);
      const { batchSize } = alice.side.datagrams;
      const all = Array.from({ length: 3 * batchSize }, (_, i) => pattern(40 + (i % 50), i));
      const record = alice.record(at(bob, 4, port));
      for (let i = 0; i < all.length; i += batchSize) alice.send(record, all.slice(i, i + batchSize));
      const received = await next(bob, all.length);
      assert.deepEqual(
        received.map(({ bytes }) => bytes),
        all,
      );
    });

    scenario('a batch may mix families', async (scene) => {
      const { fixture, alice, bob, at, next } = scene;
      const port = await bob.side.bind.open(0);
      await alice.side.bind.open(0);
      const { arena } = fixture.alice;
      const records = FAMILIES.map((family) => {
        const record = arena.alloc(ENDPOINT.size);
        encodeEndpoint(at(bob, family, port), arena.u8, record);
        return record;
      });
      const batch = new DatagramBatch(6);
      const place = arena.alloc(64);
      for (let i = 0; i < 6; i++) {
        arena.u8[place + i] = i;
        batch.push(place + i, 1, records[i % 2] as number, 0);
      }
      alice.side.datagrams.send(batch);
      const received = await next(bob, 6);
      for (const size of [4, 16]) {
        const ofFamily = received.filter(({ from }) => from.address.length === size);
        assert.deepEqual(
          ofFamily.map(({ bytes }) => bytes[0]),
          size === 4 ? [0, 2, 4] : [1, 3, 5],
        );
      }
    });

    scenario('receiving gives 0 and an empty batch when none waits', async ({ alice }) => {
      await alice.side.bind.open(0);
      alice.batch.push(1, 2, 3, 4);
      assert.equal(alice.side.datagrams.receive(alice.batch), 0);
      assert.equal(alice.batch.count, 0);
    });

    scenario('no more is received than the batch holds', async ({ fixture, alice, bob, at, next }) => {
      const port = await bob.side.bind.open(0);
      await alice.side.bind.open(0);
      const datagrams = [1, 2, 3, 4, 5].map((seed) => pattern(20, seed));
      alice.send(alice.record(at(bob, 4, port)), datagrams);
      const small = new DatagramBatch(2);
      const first = await eventually('datagrams', () => {
        fixture.deliver();
        return bob.side.datagrams.receive(small) > 0 && small.count;
      });
      assert.ok(first <= 2);
      assert.equal((await next(bob, 5 - first)).length, 5 - first);
    });

    scenario('the consumer is woken for datagrams, also after another open', async (scene) => {
      const { fixture, alice, bob, at } = scene;
      await alice.side.bind.open(0);
      const received: number[] = [];
      bob.side.datagrams.onReadable(() => {
        for (const { bytes } of bob.receive()) received.push(bytes[0] as number);
      });
      for (const round of [1, 2]) {
        const port = await bob.side.bind.open(0);
        for (const family of FAMILIES) {
          alice.send(alice.record(at(bob, family, port)), [Uint8Array.of(10 * round + family)]);
          await eventually('the datagram', () => {
            fixture.deliver();
            return received.includes(10 * round + family);
          });
        }
      }
      assert.deepEqual(received, [14, 16, 24, 26]);
    });

    scenario('opening another port moves, opening the same one stays', async (scene) => {
      const { alice, bob, at, next } = scene;
      await alice.side.bind.open(0);
      const first = await bob.side.bind.open(0);
      assert.equal(await bob.side.bind.open(first), first);
      const second = await bob.side.bind.open(0);
      assert.notEqual(second, first);
      alice.send(alice.record(at(bob, 4, second)), [pattern(10, 1)]);
      await next(bob);
      assert.equal(await bob.side.bind.open(first), first);
    });

    scenario('a taken port is refused, and what was open goes on', async (scene) => {
      const { fixture, alice, bob, at, next } = scene;
      const rival = fixture.createRival();
      try {
        await alice.side.bind.open(0);
        const port = await bob.side.bind.open(0);
        const taken = await rival.open(0);
        await assert.rejects(
          bob.side.bind.open(taken),
          (error: unknown) =>
            error instanceof SystemError &&
            error.errnoName === 'EADDRINUSE' &&
            error.message.includes(`${taken}`),
        );
        alice.send(alice.record(at(bob, 6, port)), [pattern(10, 1)]);
        await next(bob);
        await rival.close();
        assert.equal(await bob.side.bind.open(taken), taken);
      } finally {
        await rival.close();
      }
    });

    scenario('after close nothing is received, sending is counted, and the port is free', async (scene) => {
      const { fixture, alice, bob, at, next } = scene;
      await alice.side.bind.open(0);
      const port = await bob.side.bind.open(0);
      bob.side.datagrams.onReadable(() => assert.fail('woken after close'));
      const record = alice.record(at(bob, 4, port));
      const closed = bob.side.bind.close();
      alice.send(record, [pattern(10, 1)]);
      await closed;
      await bob.side.bind.close();
      fixture.deliver();
      assert.deepEqual(bob.receive(), []);
      const before = bob.side.datagrams.sendErrors.unreachable;
      bob.send(bob.record(at(alice, 4, 9)), [pattern(10, 1)]);
      assert.equal(bob.side.datagrams.sendErrors.unreachable, before + 1);
      bob.side.datagrams.onReadable(() => {});
      assert.equal(await bob.side.bind.open(port), port);
      alice.send(record, [pattern(10, 2)]);
      assert.deepEqual((await next(bob))[0]?.bytes, pattern(10, 2));
    });

    scenario('an empty endpoint record is counted as unreachable', async ({ alice }) => {
      await alice.side.bind.open(0);
      alice.send(alice.side.arena.alloc(ENDPOINT.size), [pattern(10, 1)]);
      assert.equal(alice.side.datagrams.sendErrors.unreachable, 1);
    });

    scenario('the TOS byte travels where it can, and is 0 otherwise', async (scene) => {
      const { alice, bob, at, next } = scene;
      const port = await bob.side.bind.open(0);
      await alice.side.bind.open(0);
      for (const family of FAMILIES) {
        for (const tos of [0, 1, 2, 0x88]) {
          alice.send(alice.record(at(bob, family, port)), [pattern(10, 1)], tos);
          assert.equal((await next(bob))[0]?.tos, traits.carriesTos ? tos : 0);
        }
      }
    });
  });
}
