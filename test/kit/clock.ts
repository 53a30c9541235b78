/** A clock that moves only when told to. */
import type { Clock } from '../../src/core/clock.ts';

export class FakeClock implements Clock {
  #now = 1_000;
  /** Set apart from `now`, so that tests can make the wall clock jump. */
  wallMs: number = Date.UTC(2026, 0, 1);

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.wallMs;
  }

  /** Moves both clocks. */
  tick(ms: number): void {
    this.#now += ms;
    this.wallMs += ms;
  }
}
