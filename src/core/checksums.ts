/** The Internet checksum (RFC 1071) over packets in the arena. */
import type { Arena } from './arena.ts';

/**
 * Sums of the 16-bit words at an arena offset, read as little-endian numbers at any alignment; an odd last byte is the
 * low half of a last word. RFC 1071 section 2(B): the byte order only swaps the bytes of the result, so the order that
 * the machine reads fastest is taken and `networkSum` swaps once at the end.
 *
 * A result is congruent to the exact total modulo 0xffff, at least 0 and below 2^31, and 0 only when all bytes are 0.
 * So results (a few of them, and 16-bit words) can be added up before folding. Lengths are 0 to 65,536 bytes.
 */
export interface Checksums {
  /** Sum of the `length` bytes at `at`. */
  sum(at: number, length: number): number;
  /** Copies `length` bytes from `from` to `to` and returns their sum. The two ranges must not overlap. */
  copySum(to: number, from: number, length: number): number;
}

/** Adds the carries back in: 0 to 0xffff, for sums below 2^32. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Folds a sum of `Checksums` and swaps its bytes, so that values of header fields can be added to it. */
export function networkSum(sum: number): number {
  const folded = fold(sum);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}

const TWO_32 = 2 ** 32;

/** In plain JavaScript: works everywhere, about a third as fast as SIMD. */
export class PortableChecksums implements Checksums {
  readonly #u8: Uint8Array;
  readonly #view: DataView;

  constructor(arena: Arena) {
    this.#u8 = arena.u8;
    this.#view = arena.view;
  }

  sum(at: number, length: number): number {
    const view = this.#view;
    const end = at + (length & ~15);
    let wide = 0;
    for (let i = at; i < end; i += 16) {
      wide +=
        view.getUint32(i, true) +
        view.getUint32(i + 4, true) +
        view.getUint32(i + 8, true) +
        view.getUint32(i + 12, true);
    }
    return narrow(wide) + this.#tailSum(end, length & 15);
  }

  copySum(to: number, from: number, length: number): number {
    this.#u8.copyWithin(to, from, from + length);
    return this.sum(to, length);
  }

  #tailSum(at: number, length: number): number {
    const end = at + (length & ~1);
    let sum = 0;
    for (let i = at; i < end; i += 2) sum += this.#view.getUint16(i, true);
    return length & 1 ? sum + (this.#u8[end] as number) : sum;
  }
}

/** From a sum of 32-bit words, below 2^53, to a sum of 16-bit words: 2^16 and 2^32 are both 1 modulo 0xffff. */
function narrow(wide: number): number {
  const low = wide >>> 0;
  return (low & 0xffff) + (low >>> 16) + Math.floor(wide / TWO_32);
}
