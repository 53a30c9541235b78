import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  InFlight,
  type InFlightBudget,
  MAX_EXTRA_IN_FLIGHT,
  MAX_IN_FLIGHT,
  MIN_IN_FLIGHT,
} from '../../../src/link/in-flight.ts';
import { FakeClock } from '../../kit/clock.ts';

const CHUNK = 16_384;

function line(budget: InFlightBudget = { extra: MAX_EXTRA_IN_FLIGHT }) {
  const clock = new FakeClock();
  const inFlight = new InFlight(clock, budget);
  /** Bytes that go in before it is full. */
  const fill = (): number => {
    let bytes = 0;
    for (; !inFlight.isFull(0); bytes += CHUNK) inFlight.push(new Uint8Array(CHUNK));
    return bytes;
  };
  /** Everything leaves after so many milliseconds. */
  const drain = (ms: number): void => {
    clock.tick(ms);
    while (inFlight.shift());
  };
  return { clock, inFlight, fill, drain };
}

test('in flight: what is gathered but not written counts, too', () => {
  const { inFlight } = line();
  assert.equal(inFlight.isFull(MIN_IN_FLIGHT - 1), false);
  assert.equal(inFlight.isFull(MIN_IN_FLIGHT), true);
});

test('in flight: a fast line gets more and more, up to the bound', () => {
  const { fill, drain } = line();
  const filled = [];
  for (let i = 0; i < 7; i++) {
    filled.push(fill());
    drain(1);
  }
  assert.deepEqual(
    filled,
    [1, 2, 4, 8, 16, 16, 16].map((factor) => factor * MIN_IN_FLIGHT),
  );
  assert.equal(MAX_IN_FLIGHT, 16 * MIN_IN_FLIGHT);
});

test('in flight: a line that was never full gets no more', () => {
  const { inFlight, fill, drain } = line();
  for (let i = 0; i < 100; i++) {
    inFlight.push(new Uint8Array(CHUNK));
    drain(1);
  }
  assert.equal(fill(), MIN_IN_FLIGHT);
});

test('in flight: one that becomes slow gets half, once for all that was written before', () => {
  const { fill, drain } = line();
  for (let i = 0; i < 5; i++) {
    fill();
    drain(1);
  }
  const filled = [];
  for (let i = 0; i < 6; i++) {
    filled.push(fill());
    drain(50);
  }
  assert.deepEqual(
    filled,
    [16, 8, 4, 2, 1, 1].map((factor) => factor * MIN_IN_FLIGHT),
  );
});

test('in flight: chunks come back in order, and all of them when it is cleared', () => {
  const { inFlight, fill } = line();
  const chunks = [1, 2, 3].map((fillWith) => new Uint8Array(10).fill(fillWith));
  for (const chunk of chunks) inFlight.push(chunk);
  assert.equal(inFlight.shift(), chunks[0]);
  assert.deepEqual(inFlight.clear(), chunks.slice(1));
  assert.equal(inFlight.shift(), undefined);
  assert.equal(fill(), MIN_IN_FLIGHT);
});

test('in flight: what all lines have beyond the least is bounded, and given back by slow ones and by those that go', () => {
  const budget = { extra: 3 * MIN_IN_FLIGHT };
  const [one, two] = [line(budget), line(budget)];
  for (const { fill, drain } of [one, one, one, two, two, two]) {
    fill();
    drain(1);
  }
  assert.deepEqual([one.fill(), two.fill()], [4 * MIN_IN_FLIGHT, MIN_IN_FLIGHT]);
  assert.equal(budget.extra, 0);
  one.drain(50);
  assert.equal(budget.extra, 2 * MIN_IN_FLIGHT);
  one.inFlight.clear();
  assert.equal(budget.extra, 3 * MIN_IN_FLIGHT);
  two.drain(1);
  assert.equal(two.fill(), 2 * MIN_IN_FLIGHT);
});
