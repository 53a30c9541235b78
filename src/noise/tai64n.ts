/**
 * TAI64N timestamps (https://cr.yp.to/libtai/tai64.html): 8 bytes of seconds and 4 bytes of nanoseconds, big endian.
 * Only their order counts, and comparing them as bytes gives it.
 */
import type { Clock } from '../core/clock.ts';
import { TIMESTAMP_SIZE } from './constants.ts';

/** TAI64 label of the Unix epoch: 2^62 plus the 10 seconds by which TAI was ahead in 1970. Leap seconds are ignored. */
const EPOCH_HIGH = 0x4000_0000;
const EPOCH_LOW = 10;

/** The low 24 bits of the nanoseconds stay zero, so that stamps do not reveal the clock's finer state. */
const STEP_NS = 2 ** 24;
const STEPS_PER_SECOND: number = Math.ceil(1e9 / STEP_NS);

/**
 * The stamps sent to one peer: wall clock, but each greater than the one before even when the clock jumps back. One
 * object per peer, because with one for all a thousand handshakes within a moment would run seconds ahead of the
 * clock, and a restarted process would be refused until it has caught up.
 */
export class Timestamps {
  readonly #clock: Clock;
  #seconds = Number.NEGATIVE_INFINITY;
  #step = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A fresh array of 12 bytes. */
  next(): Uint8Array {
    const wallMs = this.#clock.wall();
    const seconds = Math.floor(wallMs / 1_000);
    const step = Math.floor(((wallMs - seconds * 1_000) * 1e6) / STEP_NS);
    if (seconds > this.#seconds || (seconds === this.#seconds && step > this.#step)) {
      this.#seconds = seconds;
      this.#step = step;
    } else if (++this.#step === STEPS_PER_SECOND) {
      this.#seconds++;
      this.#step = 0;
    }
    const stamp = new Uint8Array(TIMESTAMP_SIZE);
    const view = new DataView(stamp.buffer);
    const label = EPOCH_LOW + this.#seconds;
    view.setUint32(0, EPOCH_HIGH + Math.floor(label / 2 ** 32));
    view.setUint32(4, label);
    view.setUint32(8, this.#step * STEP_NS);
    return stamp;
  }
}

/** Below zero, zero or above zero as `a` is earlier than, equal to or later than `b`. */
export function compareTimestamps(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < TIMESTAMP_SIZE; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}
