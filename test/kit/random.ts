import type { Random } from '../../src/core/random.ts';

/** A repeatable Random (SplitMix32): the same seed gives the same bytes. For tests only. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const u32 = () => {
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  return {
    u32,
    fill: (bytes) => {
      for (let i = 0; i < bytes.length; i += 4) {
        const word = u32();
        for (let j = 0; j < 4 && i + j < bytes.length; j++) bytes[i + j] = word >>> (8 * j);
      }
    },
  };
}

export function randomBytes(random: Random, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  random.fill(bytes);
  return bytes;
}
