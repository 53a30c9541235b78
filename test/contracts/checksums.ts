/** What every implementation of Checksums has to do. Call `checksumsContract` with each. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../src/core/arena.ts';
import { type Checksums, fold, networkSum } from '../../src/core/checksums.ts';
import { randomBytes, seededRandom } from '../kit/random.ts';

const MAX = 65_536;
/** Bytes around the packets that must stay as they are. */
const GUARD = 64;

/** The exact total, word by word. */
function exactSum(bytes: Uint8Array): number {
  let total = 0;
  for (const [i, byte] of bytes.entries()) total += i % 2 === 0 ? byte : byte * 256;
  return total;
}

/** RFC 1071 section 4.1, in network order, not complemented. */
function internetSum(bytes: Uint8Array): number {
  let total = 0;
  for (const [i, byte] of bytes.entries()) total += i % 2 === 0 ? byte * 256 : byte;
  while (total > 0xffff) total = (total % 0x1_0000) + Math.floor(total / 0x1_0000);
  return total;
}

export function checksumsContract(name: string, create: (arena: Arena) => Checksums): void {
  describe(`checksums: ${name}`, () => {
    const arena = new Arena({ bytes: 1 << 20 });
    const checksums = create(arena);
    const from = arena.alloc(MAX + 2 * GUARD) + GUARD;
    const to = arena.alloc(MAX + 2 * GUARD) + GUARD;
    const { u8 } = arena;

    /** Lays the bytes at an offset from alignment, sums and copies them, and looks at everything around. */
    function check(bytes: Uint8Array, shiftFrom: number, shiftTo: number): void {
      const a = from + shiftFrom;
      const b = to + shiftTo;
      u8.fill(0xa5, a - GUARD, a + bytes.length + GUARD);
      u8.fill(0x5a, b - GUARD, b + bytes.length + GUARD);
      u8.set(bytes, a);
      const sum = checksums.sum(a, bytes.length);
      const copySum = checksums.copySum(b, a, bytes.length);
      const place = `length ${bytes.length}, from +${shiftFrom}, to +${shiftTo}`;
      const exact = exactSum(bytes);
      for (const result of [sum, copySum]) {
        assert.ok(Number.isInteger(result) && result >= 0 && result < 2 ** 31, `${place}: ${result}`);
        assert.equal(result % 0xffff, exact % 0xffff, place);
        assert.equal(result === 0, exact === 0, `${place}: only zeros give 0`);
        assert.equal(networkSum(result), internetSum(bytes), place);
      }
      assert.deepEqual(u8.slice(b, b + bytes.length), bytes, `${place}: the copy`);
      assert.deepEqual(u8.slice(a, a + bytes.length), bytes, `${place}: the source`);
      for (let i = 1; i <= GUARD; i++) {
        assert.equal(u8[a - i], 0xa5, place);
        assert.equal(u8[b - i], 0x5a, place);
        assert.equal(u8[b + bytes.length + i - 1], 0x5a, `${place}: ${i} behind the copy`);
      }
    }

    test('sums and copies every length up to 200 at every alignment of source and target', () => {
      const random = seededRandom(1);
      for (let length = 0; length <= 200; length++) {
        const bytes = randomBytes(random, length);
        for (let shift = 0; shift < 16; shift++) check(bytes, shift, (shift * 7 + length) % 16);
      }
    });

    test('holds for the extremes: zeros, all ones, the longest packet, a single set byte', () => {
      for (const length of [0, 1, 2, 15, 16, 17, 1368, 65_535, MAX - 16]) {
        check(new Uint8Array(length), 0, 0);
        check(new Uint8Array(length).fill(0xff), 3, 9);
        for (const place of [0, 1, length - 2, length - 1]) {
          if (place < 0 || place >= length) continue;
          const bytes = new Uint8Array(length);
          bytes[place] = 1;
          check(bytes, 1, 0);
        }
      }
    });

    test('agrees with RFC 1071 for any bytes (property)', () => {
      const shift = fc.integer({ min: 0, max: 15 });
      fc.assert(fc.property(fc.uint8Array({ maxLength: 4000, size: 'max' }), shift, shift, check), {
        numRuns: 60,
      });
    });

    test('adds up: the sum of a packet is that of its parts, cut at an even place', () => {
      const bytes = randomBytes(seededRandom(2), 3001);
      u8.set(bytes, from);
      for (const cut of [0, 2, 20, 54, 1000, 3000]) {
        const parts = checksums.sum(from, cut) + checksums.sum(from + cut, bytes.length - cut);
        assert.equal(fold(parts), fold(checksums.sum(from, bytes.length)));
      }
    });
  });
}
