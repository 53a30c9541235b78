/**
 * Sliding window over 64-bit counters, as RFC 6479: a ring of bits in which moving forward clears whole words. The
 * ring has 8192 bits; REPLAY_WINDOW of them are usable, because the word under the greatest counter fills up piecemeal.
 * Counters come as u32 halves; nothing is allocated. Ask only after the packet has been authenticated.
 */
import { REJECT_AFTER_MESSAGES_HIGH, REJECT_AFTER_MESSAGES_LOW, REPLAY_WINDOW } from './constants.ts';

const RING_BITS = 8_192;
const WORDS = RING_BITS / 32;

export class ReplayWindow {
  /** Bit `c mod 8192` is set when counter c has been accepted. */
  readonly #ring: Uint32Array = new Uint32Array(WORDS);
  /** The greatest counter accepted; 0 before the first. */
  #greatestLow = 0;
  #greatestHigh = 0;

  /** True, and remembered, when the counter is new, not too old, and below REJECT_AFTER_MESSAGES. */
  accept(low: number, high: number): boolean {
    if (
      high > REJECT_AFTER_MESSAGES_HIGH ||
      (high === REJECT_AFTER_MESSAGES_HIGH && low >= REJECT_AFTER_MESSAGES_LOW)
    ) {
      return false;
    }
    // Exact up to 2^53; beyond, rounding cannot bring it near the limits it is compared with.
    const ahead = (high - this.#greatestHigh) * 2 ** 32 + (low - this.#greatestLow);
    if (ahead > 0) this.#advance(low, high, ahead);
    else if (-ahead > REPLAY_WINDOW) return false;
    const word = (low >>> 5) % WORDS;
    const bit = 1 << (low & 31);
    const seen = this.#ring[word] as number;
    this.#ring[word] = seen | bit;
    return (seen & bit) === 0;
  }

  /** Back to the state of a new session. */
  reset(): void {
    this.#ring.fill(0);
    this.#greatestLow = 0;
    this.#greatestHigh = 0;
  }

  #advance(low: number, high: number, ahead: number): void {
    if (ahead >= RING_BITS) {
      this.#ring.fill(0);
    } else {
      const from = this.#greatestLow >>> 5;
      // The words between, modulo 2^27 because the low half may have wrapped.
      const count = ((low >>> 5) - from) & 0x07ff_ffff;
      for (let i = 1; i <= count; i++) this.#ring[(from + i) % WORDS] = 0;
    }
    this.#greatestLow = low;
    this.#greatestHigh = high;
  }
}
