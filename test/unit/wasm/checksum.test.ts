import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { networkSum } from '../../../src/core/checksums.ts';
import { loadKernels } from '../../../src/wasm/kernels.ts';
import { randomBytes, seededRandom } from '../../kit/random.ts';
import { onesComplementSum } from '../../reference/checksum.ts';

const REGION = 1 << 18;
const GUARD = 0xa5;
const arena = new Arena({ bytes: REGION });
const { sum, copySum } = loadKernels(arena).exports;
const region = arena.alloc(REGION, 4096);

test('the slow sum gives the example of RFC 1071 section 3', () => {
  assert.equal(onesComplementSum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)), 0xddf2);
});

test('sum equals the slow sum at every alignment and for every length from 0 to 160', () => {
  const random = seededRandom(1);
  arena.u8.set(randomBytes(random, 512), region);
  for (let shift = 0; shift < 64; shift++) {
    for (let length = 0; length <= 160; length++) {
      const at = region + shift;
      const expected = onesComplementSum(arena.u8.subarray(at, at + length));
      assert.equal(networkSum(sum(at, length)), expected, `shift ${shift}, length ${length}`);
    }
  }
});

test('sum carries correctly through extreme and through long data', () => {
  const random = seededRandom(2);
  const fillers: ((bytes: Uint8Array) => void)[] = [
    (bytes) => bytes.fill(0),
    (bytes) => bytes.fill(0xff),
    (bytes) => bytes.fill(0x80),
    (bytes) => bytes.fill(0x7f),
    (bytes) => bytes.fill(0).set([0xff, 0xff], Math.min(2, bytes.length - 2)),
    // Words that add up to 2^33 - 1: folding them carries once more.
    (bytes) => bytes.fill(0).set(bytes.length < 12 ? [] : [255, 255, 255, 255, 255, 255, 255, 255, 1]),
    (bytes) => random.fill(bytes),
  ];
  for (const [i, fill] of fillers.entries()) {
    for (const length of [2, 3, 20, 31, 32, 33, 1447, 1448, 9000, 65_534, 65_535]) {
      const bytes = arena.u8.subarray(region, region + length);
      fill(bytes);
      assert.equal(
        networkSum(sum(region, length)),
        onesComplementSum(bytes),
        `filler ${i}, length ${length}`,
      );
    }
  }
});

test('copySum copies exactly the bytes it sums, at every pair of alignments and every length from 0 to 100', () => {
  const random = seededRandom(3);
  const to = region + 4096;
  const from = region;
  arena.u8.set(randomBytes(random, 256), from);
  for (let toShift = 0; toShift < 17; toShift++) {
    for (let fromShift = 0; fromShift < 17; fromShift++) {
      for (let length = 0; length <= 100; length++) {
        arena.u8.fill(GUARD, to, to + 160);
        const source = arena.u8.subarray(from + fromShift, from + fromShift + length);
        const where = `to ${toShift}, from ${fromShift}, length ${length}`;
        assert.equal(
          networkSum(copySum(to + toShift, from + fromShift, length)),
          onesComplementSum(source),
          where,
        );
        const expected = new Uint8Array(160).fill(GUARD);
        expected.set(source, toShift);
        assert.equal(Buffer.compare(arena.u8.subarray(to, to + 160), expected), 0, where);
      }
    }
  }
});

test('copySum copies and sums a whole datagram', () => {
  const to = region + 131_072;
  const bytes = randomBytes(seededRandom(4), 65_535);
  arena.u8.set(bytes, region + 1);
  assert.equal(networkSum(copySum(to, region + 1, bytes.length)), onesComplementSum(bytes));
  assert.equal(Buffer.compare(arena.u8.subarray(to, to + bytes.length), bytes), 0);
});

test('partial sums of pieces that begin at even offsets add up to the sum of the whole', () => {
  const bytes = randomBytes(seededRandom(5), 1001);
  arena.u8.set(bytes, region);
  for (let cut = 0; cut <= bytes.length; cut += 2) {
    const total = sum(region, cut) + sum(region + cut, bytes.length - cut);
    assert.equal(networkSum(total), onesComplementSum(bytes), `cut at ${cut}`);
  }
});
