/**
 * Receiver indices: random, never sequential, unique over pending handshakes and keypairs of the whole device
 * (whitepaper section 5.4; predictable ones would help an attacker to match sessions).
 */
import type { Random } from '../core/random.ts';

export class IndexTable<Owner> {
  readonly #random: Random;
  readonly #owners = new Map<number, Owner>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** A fresh index, never 0. */
  allocate(owner: Owner): number {
    for (;;) {
      const index = this.#random.u32();
      if (index === 0 || this.#owners.has(index)) continue;
      this.#owners.set(index, owner);
      return index;
    }
  }

  get(index: number): Owner | undefined {
    return this.#owners.get(index);
  }

  release(index: number): void {
    this.#owners.delete(index);
  }

  get size(): number {
    return this.#owners.size;
  }
}
