/**
 * TransportAead on the functions that OpenSSL's own ChaCha20-Poly1305 is made of (RFC 8439 section 2.8): its assembly for
 * this processor, four calls a packet and no context, parameters or copies around them, which cost EVP more than half of
 * its time at 1420 bytes. The one-time keys come from the WebAssembly kernel, eight packets at a time.
 */
import type { Arena } from '../core/arena.ts';
import { arenaAddress } from '../sys/memory.ts';
import { type OpensslPrimitives, opensslPrimitives } from '../sys/openssl.ts';
import { type Kernels, loadKernels } from '../wasm/kernels.ts';
import { AEAD_DESCRIPTOR, AEAD_FORGED, AEAD_OK, type AeadBatch, type TransportAead } from './aead.ts';
import { AEAD_TAG_SIZE } from './constants.ts';

/** Packets whose one-time keys are made in one go. */
const CHUNK = 64;
const ONE_TIME_KEY_SIZE = 32;

/** Poly1305's last block says how long the additional data and the text are, 64 bits each. */
const LENGTHS_SIZE = 16;
/** Behind a text: zeros to the end of a block, and the lengths; a whole number of words. */
const TRAILER_ROOM = 16 + LENGTHS_SIZE;

export class OpensslCoreTransportAead implements TransportAead {
  readonly name = 'openssl-core';
  readonly #openssl: OpensslPrimitives;
  readonly #kernels: Kernels;
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #view: DataView;
  /** Address of arena offset 0. */
  readonly #base: number;
  /** Arena offsets. */
  readonly #keys: number;
  readonly #context: number;
  readonly #counter: number;
  readonly #tag: number;
  readonly #trailer: number;

  /** `slot`: see `loadKernels`. Throws AppError `unavailable` where this Node keeps those functions to itself. */
  constructor(arena: Arena, slot?: number) {
    this.#openssl = opensslPrimitives();
    this.#kernels = loadKernels(arena, slot);
    this.#u8 = arena.u8;
    this.#u32 = arena.u32;
    this.#view = arena.view;
    this.#base = arenaAddress(arena);
    this.#keys = arena.alloc(CHUNK * ONE_TIME_KEY_SIZE);
    this.#context = arena.alloc(this.#openssl.poly1305Size());
    this.#counter = arena.alloc(16);
    this.#tag = arena.alloc(AEAD_TAG_SIZE);
    this.#trailer = arena.alloc(TRAILER_ROOM);
    // Block 0 is the one-time key; the first nonce word is zero (whitepaper section 5.4.6).
    this.#u32[this.#counter / 4] = 1;
  }

  /** Takes 64 bytes of the arena for each key beyond the first 896. Throws RangeError when it is full. */
  addKey(key: Uint8Array): number {
    return this.#kernels.keys.add(key);
  }

  dropKey(handle: number): void {
    this.#kernels.keys.drop(handle);
  }

  seal(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let start = from; start < end; start += CHUNK) {
      const stop = Math.min(end, start + CHUNK);
      this.#makeKeys(batch, start, stop, true);
      for (let i = start; i < stop; i++) {
        if (batch.status(i) !== AEAD_OK) continue;
        const at = batch.at(i);
        const length = batch.length(i);
        this.#crypt(batch, i, at, length);
        this.#authenticate(at, length, this.#keys + (i - start) * ONE_TIME_KEY_SIZE);
        this.#copyTag(at + length);
      }
      this.#wipeKeys(stop - start);
    }
  }

  open(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let start = from; start < end; start += CHUNK) {
      const stop = Math.min(end, start + CHUNK);
      this.#makeKeys(batch, start, stop, false);
      for (let i = start; i < stop; i++) {
        if (batch.status(i) !== AEAD_OK) continue;
        const at = batch.at(i);
        const length = batch.length(i);
        this.#authenticate(at, length, this.#keys + (i - start) * ONE_TIME_KEY_SIZE);
        if (this.#isTag(at + length)) this.#crypt(batch, i, at, length);
        else batch.setStatus(i, AEAD_FORGED);
      }
      this.#wipeKeys(stop - start);
    }
  }

  /** Marks forged what lies outside of the arena or has no key. */
  #makeKeys(batch: AeadBatch, start: number, stop: number, isSealing: boolean): void {
    const table = batch.table + start * AEAD_DESCRIPTOR.size;
    this.#kernels.exports.oneTimeKeyBatch(table, stop - start, this.#keys, isSealing);
  }

  /** By words: shared memory is filled one element at a time. */
  #wipeKeys(count: number): void {
    this.#u32.fill(0, this.#keys / 4, (this.#keys + count * ONE_TIME_KEY_SIZE) / 4);
  }

  /** RFC 8439 section 2.4. */
  #crypt(batch: AeadBatch, i: number, at: number, length: number): void {
    if (length === 0) return;
    const word = this.#counter / 4;
    this.#u32[word + 2] = batch.counterLow(i);
    this.#u32[word + 3] = batch.counterHigh(i);
    const text = this.#base + at;
    this.#openssl.chacha20(text, text, length, this.#base + batch.key(i), this.#base + this.#counter);
  }

  /** The tag of the encrypted text under its one-time key, to `#tag`. */
  #authenticate(at: number, length: number, key: number): void {
    const openssl = this.#openssl;
    const context = this.#base + this.#context;
    openssl.poly1305Init(context, this.#base + key);
    if (at + length + TRAILER_ROOM <= this.#u8.length) {
      this.#absorb(context, at, length);
    } else {
      const size = this.#writeTrailer(this.#trailer, length);
      if (length > 0) openssl.poly1305Update(context, this.#base + at, length);
      openssl.poly1305Update(context, this.#base + this.#trailer, size);
    }
    openssl.poly1305Final(context, this.#base + this.#tag);
  }

  /**
   * One call instead of two: the trailer stands behind the text meanwhile. A text that ends within a block would cost
   * Poly1305 half as much again otherwise.
   */
  #absorb(context: number, at: number, length: number): void {
    const view = this.#view;
    const end = at + length;
    const word0 = view.getInt32(end, true);
    const word1 = view.getInt32(end + 4, true);
    const word2 = view.getInt32(end + 8, true);
    const word3 = view.getInt32(end + 12, true);
    const word4 = view.getInt32(end + 16, true);
    const word5 = view.getInt32(end + 20, true);
    const word6 = view.getInt32(end + 24, true);
    const word7 = view.getInt32(end + 28, true);
    this.#openssl.poly1305Update(context, this.#base + at, length + this.#writeTrailer(end, length));
    view.setInt32(end, word0, true);
    view.setInt32(end + 4, word1, true);
    view.setInt32(end + 8, word2, true);
    view.setInt32(end + 12, word3, true);
    view.setInt32(end + 16, word4, true);
    view.setInt32(end + 20, word5, true);
    view.setInt32(end + 24, word6, true);
    view.setInt32(end + 28, word7, true);
  }

  /** RFC 8439 section 2.8: zeros up to a whole block, no additional data, the length of the text. Returns its size. */
  #writeTrailer(at: number, length: number): number {
    const view = this.#view;
    const padding = -length & 15;
    view.setInt32(at, 0, true);
    view.setInt32(at + 4, 0, true);
    view.setInt32(at + 8, 0, true);
    view.setInt32(at + 12, 0, true);
    const lengths = at + padding;
    view.setInt32(lengths, 0, true);
    view.setInt32(lengths + 4, 0, true);
    view.setInt32(lengths + 8, length, true);
    view.setInt32(lengths + 12, 0, true);
    return padding + LENGTHS_SIZE;
  }

  #copyTag(to: number): void {
    const word = this.#tag / 4;
    for (let i = 0; i < 4; i++) this.#view.setUint32(to + 4 * i, this.#u32[word + i] as number, true);
  }

  /** Looks at all bits, whatever the first ones are. */
  #isTag(at: number): boolean {
    const word = this.#tag / 4;
    let difference = 0;
    for (let i = 0; i < 4; i++) {
      difference |= this.#view.getUint32(at + 4 * i, true) ^ (this.#u32[word + i] as number);
    }
    return difference === 0;
  }
}
