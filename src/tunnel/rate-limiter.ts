/**
 * A token bucket for each source of handshakes, asked only under load (whitepaper section 5.3; figures and the /64 rule
 * for IPv6 are the kernel's ratelimiter.c). The table is bounded: when it is full, new sources are all told the same
 * until idle ones are swept.
 */
import type { Address } from '../core/ip.ts';

export const INITIATIONS_PER_SECOND = 20;
export const INITIATIONS_BURST = 5;
export const MAX_SOURCES = 8192;

const COST_MS = 1000 / INITIATIONS_PER_SECOND;
const FULL_MS: number = COST_MS * INITIATIONS_BURST;
const IDLE_MS = 1000;

interface Bucket {
  tokensMs: number;
  lastMs: number;
}

export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();
  readonly #whenFull: boolean;
  #sweptMs = Number.NEGATIVE_INFINITY;

  /** `whenFull`: what sources are told that the table has no room for. */
  constructor(whenFull = false) {
    this.#whenFull = whenFull;
  }

  allow(source: Address, now: number): boolean {
    this.#sweep(now);
    const key = source.subarray(0, source.length === 4 ? 4 : 8).join('.');
    const bucket = this.#buckets.get(key);
    if (!bucket) {
      if (this.#buckets.size >= MAX_SOURCES) return this.#whenFull;
      this.#buckets.set(key, { tokensMs: FULL_MS - COST_MS, lastMs: now });
      return true;
    }
    bucket.tokensMs = Math.min(FULL_MS, bucket.tokensMs + (now - bucket.lastMs));
    bucket.lastMs = now;
    if (bucket.tokensMs < COST_MS) return false;
    bucket.tokensMs -= COST_MS;
    return true;
  }

  get size(): number {
    return this.#buckets.size;
  }

  #sweep(now: number): void {
    if (now - this.#sweptMs < IDLE_MS) return;
    this.#sweptMs = now;
    for (const [key, bucket] of this.#buckets) if (now - bucket.lastMs >= IDLE_MS) this.#buckets.delete(key);
  }
}
