/**
 * TransportAead on OpenSSL's own functions, without node:crypto between: a context for each key, made once, and four
 * calls for a packet. Its AVX2 and AVX-512 code is the fastest for long packets; the calls make short ones slow.
 */
import { type Arena, KERNEL_RESERVED } from '../core/arena.ts';
import { AppError } from '../core/errors.ts';
import { writeU32le } from '../core/bytes.ts';
import { arenaAddress } from '../sys/memory.ts';
import { EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG, type Evp, openssl } from '../sys/openssl.ts';
import { AEAD_FORGED, AEAD_OK, type AeadBatch, type TransportAead } from './aead.ts';
import { AEAD_TAG_SIZE } from './constants.ts';
import { KeySlots } from './key-slots.ts';
import { KEY_SIZE } from './keys.ts';

/** What this backend keeps in the arena for OpenSSL to read and write. */
const WORK = { key: 0, nonce: 32, outSize: 48, size: 64 } as const;

const NULL = 0;

export class OpensslTransportAead implements TransportAead {
  readonly name = 'openssl';
  /** Where the functions come from: `process` or a library. */
  readonly library: string;
  readonly #evp: Evp;
  readonly #cipher: number;
  readonly #u8: Uint8Array;
  /** Address of arena offset 0. */
  readonly #base: number;
  readonly #work: number;
  readonly #contexts: KeySlots<number> = new KeySlots();

  /** Throws AppError `unavailable` where OpenSSL cannot be called or lacks the cipher. */
  constructor(arena: Arena) {
    this.#evp = openssl();
    this.library = this.#evp.library;
    this.#cipher = this.#evp.chacha20Poly1305();
    this.#u8 = arena.u8;
    this.#base = arenaAddress(arena);
    this.#work = arena.alloc(WORK.size);
    this.dropKey(this.addKey(new Uint8Array(KEY_SIZE)));
  }

  addKey(key: Uint8Array): number {
    if (key.length !== KEY_SIZE) throw new RangeError(`a key has ${KEY_SIZE} bytes, got ${key.length}`);
    const evp = this.#evp;
    const context = evp.cipherContextNew();
    const at = this.#work + WORK.key;
    this.#u8.set(key, at);
    const isReady =
      context !== NULL && evp.encryptInit(context, this.#cipher, NULL, this.#base + at, NULL) === 1;
    this.#u8.fill(0, at, at + KEY_SIZE);
    if (isReady) return this.#contexts.add(context);
    evp.cipherContextFree(context);
    throw new AppError('unavailable', 'openssl: no context for ChaCha20-Poly1305');
  }

  dropKey(handle: number): void {
    const context = this.#contexts.remove(handle);
    if (context !== undefined) this.#evp.cipherContextFree(context);
  }

  seal(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let i = from; i < end; i++) {
      batch.setStatus(i, AEAD_FORGED);
      const at = batch.at(i);
      const length = batch.length(i);
      if (!this.#liesInArena(at, length)) continue;
      if (this.#sealOne(batch, i, at, length)) batch.setStatus(i, AEAD_OK);
      // Whatever comes out of here goes to the network: never the plaintext.
      else this.#u8.fill(0, at, at + length + AEAD_TAG_SIZE);
    }
  }

  open(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let i = from; i < end; i++) {
      batch.setStatus(i, AEAD_FORGED);
      const at = batch.at(i);
      const length = batch.length(i);
      if (!this.#liesInArena(at, length)) continue;
      if (this.#openOne(batch, i, at, length)) batch.setStatus(i, AEAD_OK);
      // OpenSSL decrypts before it knows whether the tag is right.
      else this.#u8.fill(0, at, at + length);
    }
  }

  /** Elsewhere OpenSSL would write over whatever is there. */
  #liesInArena(at: number, length: number): boolean {
    return at >= KERNEL_RESERVED && at + length + AEAD_TAG_SIZE <= this.#u8.length;
  }

  #sealOne(batch: AeadBatch, i: number, at: number, length: number): boolean {
    const evp = this.#evp;
    const context = this.#contexts.get(batch.key(i));
    if (context === undefined) return false;
    const text = this.#base + at;
    const tag = text + length;
    const outSize = this.#base + this.#work + WORK.outSize;
    return (
      evp.encryptInit(context, NULL, NULL, NULL, this.#nonce(batch, i)) === 1 &&
      (length === 0 || evp.encryptUpdate(context, text, outSize, text, length) === 1) &&
      evp.encryptFinal(context, tag, outSize) === 1 &&
      evp.control(context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag) === 1
    );
  }

  #openOne(batch: AeadBatch, i: number, at: number, length: number): boolean {
    const evp = this.#evp;
    const context = this.#contexts.get(batch.key(i));
    if (context === undefined) return false;
    const text = this.#base + at;
    const tag = text + length;
    const outSize = this.#base + this.#work + WORK.outSize;
    return (
      evp.decryptInit(context, NULL, NULL, NULL, this.#nonce(batch, i)) === 1 &&
      evp.control(context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) === 1 &&
      (length === 0 || evp.decryptUpdate(context, text, outSize, text, length) === 1) &&
      evp.decryptFinal(context, tag, outSize) === 1
    );
  }

  /** Writes the nonce and returns its address. Its first 4 bytes stay zero. */
  #nonce(batch: AeadBatch, i: number): number {
    const at = this.#work + WORK.nonce;
    writeU32le(this.#u8, at + 4, batch.counterLow(i));
    writeU32le(this.#u8, at + 8, batch.counterHigh(i));
    return this.#base + at;
  }
}
