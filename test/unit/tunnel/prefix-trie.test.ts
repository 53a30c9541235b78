import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { maskAddress, parsePrefix, prefixContains, type Prefix } from '../../../src/core/ip.ts';
import { PrefixTrie } from '../../../src/tunnel/lane/prefix-trie.ts';
import { seededRandom } from '../../kit/random.ts';

/** The plainly correct twin: a list, searched from end to end. */
class LinearTable {
  readonly entries: { prefix: Prefix; value: number }[] = [];

  insert(prefix: Prefix, value: number): number {
    const previous = this.#take(prefix);
    this.entries.push({ prefix, value });
    return previous?.value ?? 0;
  }

  remove(prefix: Prefix, value: number): boolean {
    const found = this.#index(prefix);
    if (found < 0 || this.entries[found]?.value !== value) return false;
    this.entries.splice(found, 1);
    return true;
  }

  find(address: Uint8Array): number {
    let best: { prefix: Prefix; value: number } | undefined;
    for (const entry of this.entries) {
      if (prefixContains(entry.prefix, address) && entry.prefix.length >= (best?.prefix.length ?? 0))
        best = entry;
    }
    return best?.value ?? 0;
  }

  #take(prefix: Prefix) {
    const found = this.#index(prefix);
    return found < 0 ? undefined : this.entries.splice(found, 1)[0];
  }

  #index(prefix: Prefix): number {
    return this.entries.findIndex(
      (entry) =>
        entry.prefix.length === prefix.length && entry.prefix.address.join() === prefix.address.join(),
    );
  }
}

function find(trie: PrefixTrie, address: Uint8Array): number {
  const view = new DataView(address.buffer, address.byteOffset, address.length);
  if (address.length === 4) return trie.find4(view.getUint32(0));
  return trie.find6(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12));
}

/** Few distinct bytes, so that prefixes nest and collide. */
const crowdedByte = fc.constantFrom(0, 1, 127, 128, 192, 255);

for (const size of [4, 16]) {
  const address = fc
    .array(crowdedByte, { minLength: size, maxLength: size })
    .map((bytes) => Uint8Array.from(bytes));
  const prefix = fc.tuple(address, fc.integer({ min: 0, max: size * 8 })).map(([bytes, length]): Prefix => {
    return { address: maskAddress(bytes, length), length };
  });
  const step = fc.record({ prefix, value: fc.integer({ min: 1, max: 4 }), remove: fc.boolean() });

  test(`allowed IPs: the trie answers like a linear search over ${size * 8}-bit prefixes, whatever is added and removed`, () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.array(address, { minLength: 1, maxLength: 30 }),
        (steps, probes) => {
          const trie = new PrefixTrie(size === 4 ? 32 : 128);
          const twin = new LinearTable();
          for (const {
            prefix: { address: bytes, length },
            value,
            remove,
          } of steps) {
            const target = { address: bytes, length };
            if (remove) assert.equal(trie.remove(bytes, length, value), twin.remove(target, value));
            else assert.equal(trie.insert(bytes, length, value), twin.insert(target, value));
            assert.equal(trie.size, twin.entries.length);
          }
          for (const probe of probes) assert.equal(find(trie, probe), twin.find(probe));
        },
      ),
      { numRuns: 500 },
    );
  });

  test(`allowed IPs: 100 peers, 250 random ${size * 8}-bit prefixes, 10,000 lookups equal the linear search`, () => {
    const random = seededRandom(size);
    const bytes = () => {
      const address = new Uint8Array(size);
      random.fill(address);
      return address;
    };
    const trie = new PrefixTrie(size === 4 ? 32 : 128);
    const twin = new LinearTable();
    for (let i = 0; i < 250; i++) {
      const length = random.u32() % (size * 8 + 1);
      const prefix = { address: maskAddress(bytes(), length), length };
      const value = 1 + (random.u32() % 100);
      assert.equal(trie.insert(prefix.address, length, value), twin.insert(prefix, value));
    }
    for (let i = 0; i < 10_000; i++) {
      const probe = bytes();
      // Half of the probes near a prefix, or 128-bit ones would nearly always miss.
      const near = twin.entries[random.u32() % twin.entries.length];
      if (i % 2 === 0 && near) probe.set(near.prefix.address.subarray(0, near.prefix.length >> 3));
      assert.equal(find(trie, probe), twin.find(probe));
    }
  });
}

test('allowed IPs: /0, /32 and /128 are prefixes like any other', () => {
  const at = (text: string) => parsePrefix(text) as Prefix;
  const trie = new PrefixTrie(32);
  trie.insert(at('0.0.0.0/0').address, 0, 1);
  trie.insert(at('10.0.0.1/32').address, 32, 2);
  assert.equal(trie.find4(0x0a000001), 2);
  assert.equal(trie.find4(0x0a000002), 1);
  assert.equal(trie.find4(0xffffffff), 1);
  assert.equal(trie.remove(at('0.0.0.0/0').address, 0, 2), false);
  assert.equal(trie.remove(at('0.0.0.0/0').address, 0, 1), true);
  assert.equal(trie.find4(0x0a000002), 0);
});
