import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { REJECT_AFTER_MESSAGES, REPLAY_WINDOW } from '../../../src/noise/constants.ts';
import { ReplayWindow } from '../../../src/noise/replay.ts';
import { ReplayModel } from '../../reference/replay-model.ts';

const WINDOW = BigInt(REPLAY_WINDOW);
const RING = 8192n;
const LIMIT = REJECT_AFTER_MESSAGES;

function accept(window: ReplayWindow, counter: bigint): boolean {
  return window.accept(Number(counter & 0xffff_ffffn), Number(counter >> 32n));
}

/** Asks in order; each answer must be as given. */
function expectAll(steps: readonly (readonly [counter: bigint, accepted: boolean])[]): void {
  const window = new ReplayWindow();
  for (const [i, [counter, accepted]] of steps.entries()) {
    assert.equal(accept(window, counter), accepted, `step ${i + 1}, counter ${counter}`);
  }
}

/** All integers from `from` to `to`, in that direction. */
function range(from: bigint, to: bigint): bigint[] {
  const step = from <= to ? 1n : -1n;
  const count = Number((to - from) * step) + 1;
  return Array.from({ length: count }, (_, i) => from + BigInt(i) * step);
}

describe('the replay window, step by step', () => {
  const past = WINDOW + 1n;

  test('takes each counter once, in any order within the window, and none behind it', () => {
    expectAll([
      [0n, true],
      [1n, true],
      [1n, false],
      [9n, true],
      [8n, true],
      [7n, true],
      [7n, false],
      [past, true],
      [past - 1n, true],
      [past - 1n, false],
      [past - 2n, true],
      [2n, true],
      [2n, false],
      [past + 16n, true],
      [3n, false],
      [past + 16n, false],
      [past * 4n, true],
      [past * 4n - WINDOW, true],
      [10n, false],
      [past * 4n - WINDOW - 1n, false],
      [past * 4n - WINDOW - 2n, false],
      [past * 4n - WINDOW + 1n, true],
      [past * 4n - WINDOW, false],
      [0n, false],
      [LIMIT, false],
      [LIMIT - 1n, true],
      [LIMIT, false],
      [LIMIT - 1n, false],
      [LIMIT - 2n, true],
      [LIMIT + 1n, false],
      [LIMIT + 2n, false],
      [2n ** 64n - 1n, false],
      [LIMIT - 2n, false],
      [LIMIT - 3n, true],
      [0n, false],
    ]);
  });

  test('counter 0 is valid, once, also when it comes late', () => {
    expectAll([
      [0n, true],
      [0n, false],
    ]);
    expectAll([
      [5n, true],
      [0n, true],
      [0n, false],
    ]);
    expectAll([
      [WINDOW, true],
      [0n, true],
      [0n, false],
    ]);
    expectAll([
      [WINDOW + 1n, true],
      [0n, false],
      [1n, true],
    ]);
  });

  for (const border of [31n, 32n, 33n, 63n, 64n, 65n, RING - 1n, RING, RING + 1n, 2n * RING]) {
    test(`tells counters around ${border} apart, a border of word or ring`, () => {
      expectAll([
        [border, true],
        [border, false],
        [border + 1n, true],
        [border - 1n, true],
        [border + 1n, false],
        [border - 1n, false],
        [border + 32n, true],
        [border + 31n, true],
        [border, false],
      ]);
    });
  }

  for (const jump of [
    1n,
    31n,
    32n,
    33n,
    64n,
    WINDOW,
    RING - 1n,
    RING,
    RING + 1n,
    3n * RING,
    2n ** 32n,
    2n ** 53n,
  ]) {
    test(`after a jump of ${jump} all that lies between is still new, and what was seen is not`, () => {
      for (const from of [0n, 17n, 31n, 2n ** 32n - 5n]) {
        const window = new ReplayWindow();
        const to = from + jump;
        assert.equal(accept(window, from), true);
        assert.equal(accept(window, to), true);
        const oldest = to > WINDOW ? to - WINDOW : 0n;
        for (const counter of range(to, oldest)) {
          assert.equal(accept(window, counter), counter !== from && counter !== to, `${counter} after ${to}`);
        }
        if (oldest > 0n) assert.equal(accept(window, oldest - 1n), false);
      }
    });
  }
});

describe('the replay window, in bulk', () => {
  const sweeps: readonly [string, bigint[], readonly (readonly [bigint, boolean])[]][] = [
    [
      'upwards, then the oldest',
      range(1n, WINDOW),
      [
        [0n, true],
        [0n, false],
      ],
    ],
    [
      'upwards past the window',
      range(2n, WINDOW + 1n),
      [
        [1n, true],
        [0n, false],
      ],
    ],
    ['downwards from past the window', range(WINDOW + 1n, 1n), [[0n, false]]],
    [
      'downwards over the whole window',
      range(WINDOW + 2n, 2n),
      [
        [1n, false],
        [0n, false],
      ],
    ],
    [
      'downwards, then one step on',
      range(WINDOW, 1n),
      [
        [WINDOW + 1n, true],
        [0n, false],
      ],
    ],
    [
      'downwards to zero, then one step on',
      range(WINDOW, 0n),
      [
        [0n, false],
        [WINDOW + 1n, true],
      ],
    ],
  ];
  for (const [name, counters, after] of sweeps) {
    test(name, () => {
      expectAll([...counters.map((counter) => [counter, true] as const), ...after]);
      // The same at other places of the ring and across the borders of 32 and 53 bits.
      for (const offset of [RING * 5n + 3n, 2n ** 32n - 4000n, 2n ** 53n - 4000n]) {
        const window = new ReplayWindow();
        for (const counter of counters) assert.equal(accept(window, counter + offset), true);
        for (const counter of counters) assert.equal(accept(window, counter + offset), false);
      }
    });
  }

  test('30,000 counters in a row, each followed by its own replay', () => {
    const window = new ReplayWindow();
    for (const counter of range(0n, 30_000n)) {
      assert.equal(accept(window, counter), true);
      assert.equal(accept(window, counter), false);
    }
  });
});

test('the replay window after reset is that of a new session', () => {
  const window = new ReplayWindow();
  for (const counter of [0n, 5n, 2n ** 40n]) accept(window, counter);
  window.reset();
  for (const counter of range(0n, 100n)) assert.equal(accept(window, counter), true);
});

test('the replay window answers like the model, wherever it starts and whatever comes (property)', () => {
  const border = fc.constantFrom(
    0n,
    32n,
    64n,
    WINDOW,
    RING,
    2n * RING,
    2n ** 31n,
    2n ** 32n,
    2n ** 40n,
    2n ** 53n,
  );
  const near = fc.bigInt({ min: -40n, max: 40n });
  const move = fc.oneof(
    { weight: 4, arbitrary: near },
    { weight: 3, arbitrary: fc.bigInt({ min: -9000n, max: 9000n }) },
    {
      weight: 2,
      arbitrary: fc.tuple(border, near, fc.boolean()).map(([far, by, up]) => (up ? far : -far) + by),
    },
  );
  const start = fc.constantFrom(0n, 100n, 2n ** 32n, 2n ** 53n, 2n ** 63n, LIMIT);
  fc.assert(
    fc.property(start, fc.array(move, { maxLength: 400, size: 'max' }), (from, moves) => {
      const window = new ReplayWindow();
      const model = new ReplayModel();
      let at = from;
      for (const by of moves) {
        const counter = at + by;
        if (counter < 0n || counter >= 2n ** 64n) continue;
        const expected = model.accept(counter);
        assert.equal(accept(window, counter), expected, `counter ${counter}`);
        if (expected && counter > at) at = counter;
      }
    }),
    { numRuns: 300 },
  );
});
