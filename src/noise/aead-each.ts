/** The batch loop of backends that work on one packet at a time, with keys behind handles. */
import type { Arena } from '../core/arena.ts';
import { writeU32le } from '../core/bytes.ts';
import { AEAD_FORGED, AEAD_OK, type AeadBatch, type TransportAead } from './aead.ts';
import { AEAD_NONCE_SIZE, AEAD_TAG_SIZE } from './constants.ts';
import { KeySlots } from './key-slots.ts';

/** What is done to one packet. `text` and `sealed` begin at the same byte; `sealed` has the tag behind the text. */
export interface PacketAead<Key> {
  sealOne(key: Key, nonce: Uint8Array, text: Uint8Array, sealed: Uint8Array): void;
  /** False when the tag is wrong; then `text` must hold nothing that was decrypted. */
  openOne(key: Key, nonce: Uint8Array, text: Uint8Array, sealed: Uint8Array): boolean;
}

export abstract class EachTransportAead<Key> implements TransportAead, PacketAead<Key> {
  abstract readonly name: string;
  protected readonly keys: KeySlots<Key> = new KeySlots();
  readonly #u8: Uint8Array;
  readonly #nonce: Uint8Array = new Uint8Array(AEAD_NONCE_SIZE);

  constructor(arena: Arena) {
    this.#u8 = arena.u8;
  }

  abstract addKey(key: Uint8Array): number;
  abstract dropKey(handle: number): void;
  abstract sealOne(key: Key, nonce: Uint8Array, text: Uint8Array, sealed: Uint8Array): void;
  abstract openOne(key: Key, nonce: Uint8Array, text: Uint8Array, sealed: Uint8Array): boolean;

  seal(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let i = from; i < end; i++) {
      const at = batch.at(i);
      const length = batch.length(i);
      const key = this.keys.get(batch.key(i));
      // Whatever comes out of here goes to the network: never the plaintext.
      if (key === undefined) this.#u8.fill(0, at, at + length + AEAD_TAG_SIZE);
      else this.sealOne(key, this.#nonceOf(batch, i), this.#bytes(at, length), this.#sealed(at, length));
    }
  }

  open(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let i = from; i < end; i++) {
      const at = batch.at(i);
      const length = batch.length(i);
      const key = this.keys.get(batch.key(i));
      const isAuthentic =
        key !== undefined &&
        this.openOne(key, this.#nonceOf(batch, i), this.#bytes(at, length), this.#sealed(at, length));
      batch.setStatus(i, isAuthentic ? AEAD_OK : AEAD_FORGED);
    }
  }

  #bytes(at: number, length: number): Uint8Array {
    return this.#u8.subarray(at, at + length);
  }

  #sealed(at: number, length: number): Uint8Array {
    return this.#u8.subarray(at, at + length + AEAD_TAG_SIZE);
  }

  #nonceOf(batch: AeadBatch, i: number): Uint8Array {
    writeU32le(this.#nonce, 4, batch.counterLow(i));
    writeU32le(this.#nonce, 8, batch.counterHigh(i));
    return this.#nonce;
  }
}
