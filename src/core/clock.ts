/** Time comes in through this interface only, so that tests run hours in milliseconds. */
export interface Clock {
  /** Monotonic milliseconds with an arbitrary origin that all threads of the process share. */
  now(): number;
  /** Wall clock, milliseconds since the Unix epoch; may jump. Only TAI64N stamps and displays use it. */
  wall(): number;
}

export const systemClock: Clock = {
  now: () => Number(process.hrtime.bigint() / 1_000n) / 1_000,
  wall: () => Date.now(),
};
