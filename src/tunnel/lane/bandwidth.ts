/** Limits of bandwidth: what exceeds them is dropped. One limit holds for both directions together. */
import type { LanePeer } from './tables.ts';

export interface BandwidthLimit {
  readonly bytesPerSecond: number;
  /** What may come at once after a pause. */
  readonly burstBytes: number;
}

export interface BandwidthLimits {
  /** Of all peers together. */
  readonly total?: BandwidthLimit;
  /** Of each peer. */
  readonly perPeer?: BandwidthLimit;
}

/** A datagram that is larger than the burst would never pass. */
const LEAST_BURST = 65_535;

export class TokenBucket {
  readonly #bytesPerMs: number;
  readonly #burst: number;
  #tokens: number;
  /** Clock.now() of the last refill. */
  #filledAt = Number.NEGATIVE_INFINITY;

  constructor({ bytesPerSecond, burstBytes }: BandwidthLimit) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#burst = Math.max(burstBytes, LEAST_BURST);
    this.#tokens = this.#burst;
  }

  has(bytes: number, now: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#bytesPerMs);
    this.#filledAt = now;
    return this.#tokens >= bytes;
  }

  /** After `has` has said yes. */
  take(bytes: number): void {
    this.#tokens -= bytes;
  }
}

export class Bandwidth {
  readonly #total: TokenBucket | undefined;
  readonly #perPeer: BandwidthLimit | undefined;

  constructor({ total, perPeer }: BandwidthLimits) {
    this.#total = total && new TokenBucket(total);
    this.#perPeer = perPeer;
  }

  /** Whether the peer may pass so many bytes now; then they are counted. */
  allows(peer: LanePeer, bytes: number, now: number): boolean {
    const own = this.#perPeer && (peer.bucket ??= new TokenBucket(this.#perPeer));
    if (own?.has(bytes, now) === false || this.#total?.has(bytes, now) === false) return false;
    own?.take(bytes);
    this.#total?.take(bytes);
    return true;
  }
}
