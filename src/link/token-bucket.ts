/** Rate limits: one bucket, and one for each address in a bounded table. */
import type { Address } from '../core/ip.ts';

export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export class TokenBucket {
  readonly #limit: RateLimit;
  #tokens: number;
  #at: number;

  /** Starts full. */
  constructor(limit: RateLimit, now: number) {
    this.#limit = limit;
    this.#tokens = limit.burst;
    this.#at = now;
  }

  /** False, taking nothing, when fewer than `amount` are there. */
  take(amount: number, now: number): boolean {
    this.#refill(now);
    if (this.#tokens < amount) return false;
    this.#tokens -= amount;
    return true;
  }

  isFull(now: number): boolean {
    this.#refill(now);
    return this.#tokens >= this.#limit.burst;
  }

  #refill(now: number): void {
    const elapsedMs = Math.max(0, now - this.#at);
    this.#tokens = Math.min(this.#limit.burst, this.#tokens + (elapsedMs * this.#limit.perSecond) / 1000);
    this.#at = now;
  }
}

/**
 * Calls per source address; an IPv6 /64 counts as one source. When the table is full, sources that have rested are
 * dropped first, and if none has, new ones are refused: a flood of addresses does not evict those that behave.
 */
export class AddressLimiter {
  #limit: RateLimit;
  readonly #maxSources: number;
  readonly #buckets = new Map<string, TokenBucket>();
  #sweepAt = 0;

  constructor(limit: RateLimit, maxSources = 65_536) {
    this.#limit = limit;
    this.#maxSources = maxSources;
  }

  allow(source: Address, now: number): boolean {
    const key = sourceKey(source);
    let bucket = this.#buckets.get(key);
    if (!bucket) {
      if (this.#buckets.size >= this.#maxSources) this.#sweep(now);
      if (this.#buckets.size >= this.#maxSources) return false;
      bucket = new TokenBucket(this.#limit, now);
      this.#buckets.set(key, bucket);
    }
    return bucket.take(1, now);
  }

  /** Every source begins anew with it. */
  setLimit(limit: RateLimit): void {
    this.#limit = limit;
    this.#buckets.clear();
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** At most once a second: a full table must not cost a walk through it for every call. */
  #sweep(now: number): void {
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + 1000;
    for (const [key, bucket] of this.#buckets) if (bucket.isFull(now)) this.#buckets.delete(key);
  }
}

function sourceKey(address: Address): string {
  if (address.length === 4) return address.join('.');
  // ::ffff:a.b.c.d, as dual-stack sockets show IPv4: all of these lie in one /64.
  const isMapped =
    address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff && address[11] === 0xff;
  return isMapped ? address.subarray(12).join('.') : address.subarray(0, 8).join('.') + '/64';
}
