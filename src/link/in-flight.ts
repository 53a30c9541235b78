/**
 * Chunks on their way into a socket. How many bytes that may be follows from how long the socket takes for them, so that
 * a fast line is kept busy while this process waits for its turn on a processor, and a slow one does not delay what runs
 * inside the tunnel; what exceeds it waits in a queue, which drops.
 */
import type { Clock } from '../core/clock.ts';

/** Less than 100 ms on a line of 10 Mbit/s. */
export const MIN_IN_FLIGHT: number = 128 * 1024;
/** Some 10 ms of a gigabit line. */
export const MAX_IN_FLIGHT: number = 2 * 1024 * 1024;

/** What all lines together may have beyond MIN_IN_FLIGHT each: clients that stop reading must not take all memory. */
export const MAX_EXTRA_IN_FLIGHT: number = 64 * 1024 * 1024;

/** What is left of it, shared by the lines of one process. */
export interface InFlightBudget {
  extra: number;
}

/** A chunk that was on its way for longer halves the bound, one that was faster may double it. */
const SLOW_MS = 40;
const FAST_MS = 20;

export class InFlight {
  readonly #clock: Clock;
  readonly #budget: InFlightBudget;
  /** Oldest first. */
  #chunks: Uint8Array[] = [];
  #writtenAt: number[] = [];
  #bytes = 0;
  #limit: number = MIN_IN_FLIGHT;
  #wasFull = false;
  #changedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, budget: InFlightBudget) {
    this.#clock = clock;
    this.#budget = budget;
  }

  /** Whether no more should be gathered when so many bytes are, and wait to be written. */
  isFull(gathered: number): boolean {
    if (this.#bytes + gathered < this.#limit) return false;
    this.#wasFull = true;
    return true;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#writtenAt.push(this.#clock.now());
    this.#bytes += chunk.length;
  }

  /** The oldest chunk has left; it is returned. */
  shift(): Uint8Array | undefined {
    const chunk = this.#chunks.shift();
    const writtenAt = this.#writtenAt.shift();
    if (!chunk || writtenAt === undefined) return undefined;
    this.#bytes -= chunk.length;
    this.#adapt(writtenAt, this.#clock.now());
    return chunk;
  }

  /** Forgets all chunks, which are returned, and what it knows of the line. To be called when the line is gone. */
  clear(): Uint8Array[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#writtenAt = [];
    this.#bytes = 0;
    this.#setLimit(MIN_IN_FLIGHT);
    this.#wasFull = false;
    return chunks;
  }

  #adapt(writtenAt: number, now: number): void {
    const elapsed = now - writtenAt;
    if (elapsed > SLOW_MS) {
      // Chunks written under the former bound tell nothing about this one.
      if (writtenAt < this.#changedAt) return;
      this.#setLimit(Math.max(MIN_IN_FLIGHT, this.#limit / 2));
      this.#changedAt = now;
    } else if (elapsed < FAST_MS && this.#wasFull) {
      this.#setLimit(Math.min(MAX_IN_FLIGHT, this.#limit * 2, this.#limit + this.#budget.extra));
      this.#wasFull = false;
    }
  }

  #setLimit(limit: number): void {
    this.#budget.extra -= limit - this.#limit;
    this.#limit = limit;
  }
}
