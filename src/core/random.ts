import { randomFillSync } from 'node:crypto';

/** Randomness comes in through this interface only, so that tests can seed it. */
export interface Random {
  /** Fills with bytes fit for keys. */
  fill(bytes: Uint8Array): void;
  /** Uniform integer in 0 .. 2^32 - 1. */
  u32(): number;
}

const pool = new Uint32Array(1024);
let used = pool.length;

export const systemRandom: Random = {
  fill: (bytes) => {
    randomFillSync(bytes);
  },
  u32: () => {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    const value = pool[used] as number;
    pool[used++] = 0;
    return value;
  },
};

/** Uniform integer in 0 .. bound - 1, without modulo bias. */
export function uniform(random: Random, bound: number): number {
  const limit = 2 ** 32 - (2 ** 32 % bound);
  for (;;) {
    const value = random.u32();
    if (value < limit) return value % bound;
  }
}
