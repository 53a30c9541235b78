import { performance } from 'node:perf_hooks';
/** Time comes in through this interface only, so that tests run hours in milliseconds. */
export interface Clock {
  /** Monotonic milliseconds with an arbitrary origin that all threads of the process share. */
  now(): number;
  /** Wall clock, milliseconds since the Unix epoch; may jump. Only TAI64N stamps and displays use it. */
  wall(): number;
}

/** The zero of this thread's `performance.now` on the clock that threads share. */
const originMs = Number(process.hrtime.bigint() / 1_000n) / 1_000 - performance.now();

export const systemClock: Clock = {
  // Big integers would do without the origin, but leave garbage at every look.
  now: () => originMs + performance.now(),
  wall: () => Date.now(),
};
