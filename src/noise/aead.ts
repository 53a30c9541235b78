/**
 * ChaCha20-Poly1305 (RFC 8439) over packets in the arena, in batches: the transport data path.
 * The nonce is 4 zero bytes followed by the 64-bit little-endian counter; there is no additional data.
 */
import type { Arena } from '../core/arena.ts';

export interface TransportAead {
  /** `noble`, `node`, `wasm`, `openssl`, `openssl-core`. */
  readonly name: string;
  /** Copies the 32-byte key and returns a handle (never 0) for batches. */
  addKey(key: Uint8Array): number;
  /** Wipes the key. The handle may be given out again. */
  dropKey(handle: number): void;
  /**
   * Encrypts each entry in place and writes its 16-byte tag behind the text, at `at + length`. As with `open`, up to 15
   * bytes behind the tag may be used meanwhile and are put back: no other thread may be at work there.
   */
  seal(batch: AeadBatch, from?: number, end?: number): void;
  /**
   * Verifies and decrypts each entry in place; `length` is that of the text without the tag, which lies behind it.
   * Sets `status` to AEAD_OK or AEAD_FORGED; on AEAD_FORGED the bytes are unspecified and hold no plaintext that
   * came from this call's key. Both take the entries `from` (0) to `end` (`count`).
   */
  open(batch: AeadBatch, from?: number, end?: number): void;
}

export const AEAD_OK = 1;
export const AEAD_FORGED = 0;

/** Byte offsets of one descriptor; an array of them lies in the arena so that WebAssembly reads it directly. */
export const AEAD_DESCRIPTOR = {
  at: 0,
  length: 4,
  counterLow: 8,
  counterHigh: 12,
  key: 16,
  status: 20,
  size: 32,
} as const;

const WORDS = AEAD_DESCRIPTOR.size / 4;

export class AeadBatch {
  readonly arena: Arena;
  readonly capacity: number;
  /** Arena offset of the descriptor array. */
  readonly table: number;
  count = 0;
  readonly #u32: Uint32Array;

  constructor(arena: Arena, capacity: number) {
    this.arena = arena;
    this.capacity = capacity;
    this.table = arena.alloc(capacity * AEAD_DESCRIPTOR.size);
    this.#u32 = arena.u32.subarray(this.table / 4, this.table / 4 + capacity * WORDS);
  }

  clear(): void {
    this.count = 0;
  }

  /** The caller makes sure that `count < capacity` and that all bytes lie in the arena. */
  push(at: number, length: number, counterLow: number, counterHigh: number, key: number): void {
    const word = this.count++ * WORDS;
    const u32 = this.#u32;
    u32[word] = at;
    u32[word + 1] = length;
    u32[word + 2] = counterLow;
    u32[word + 3] = counterHigh;
    u32[word + 4] = key;
    u32[word + 5] = AEAD_FORGED;
  }

  at(i: number): number {
    return this.#u32[i * WORDS] as number;
  }
  length(i: number): number {
    return this.#u32[i * WORDS + 1] as number;
  }
  counterLow(i: number): number {
    return this.#u32[i * WORDS + 2] as number;
  }
  counterHigh(i: number): number {
    return this.#u32[i * WORDS + 3] as number;
  }
  key(i: number): number {
    return this.#u32[i * WORDS + 4] as number;
  }
  setKey(i: number, key: number): void {
    this.#u32[i * WORDS + 4] = key;
  }
  status(i: number): number {
    return this.#u32[i * WORDS + 5] as number;
  }
  setStatus(i: number, status: number): void {
    this.#u32[i * WORDS + 5] = status;
  }
}
