/** Delays between attempts: exponential with a cap, spread at random so that many clients do not come back as one. */
import type { Random } from '../core/random.ts';

export interface BackoffLimits {
  /** The first delay lies between 0 and this. */
  readonly firstMs: number;
  readonly maxMs: number;
}

export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #random: Random;
  #attempt = 0;

  constructor(limits: BackoffLimits, random: Random) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Milliseconds to wait: the first one uniform below `firstMs`, later ones in the upper half of twice the last bound. */
  next(): number {
    const bound = Math.min(this.#limits.maxMs, this.#limits.firstMs * 2 ** this.#attempt);
    const share = this.#random.u32() / 2 ** 32;
    const delay = this.#attempt === 0 ? bound * share : bound * (0.5 + share / 2);
    this.#attempt++;
    return delay;
  }

  /** Things work again. */
  reset(): void {
    this.#attempt = 0;
  }

  get attempts(): number {
    return this.#attempt;
  }
}
