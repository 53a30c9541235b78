/** TransportAead in plain JavaScript (@noble/ciphers): the reference that every other backend is compared with. */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import type { Arena } from '../core/arena.ts';
import { writeU32le } from '../core/bytes.ts';
import { AEAD_FORGED, AEAD_OK, type AeadBatch, type TransportAead } from './aead.ts';
import { AEAD_NONCE_SIZE, AEAD_TAG_SIZE } from './constants.ts';
import { KeySlots } from './key-slots.ts';

export class NobleTransportAead implements TransportAead {
  readonly name = 'noble';
  readonly #u8: Uint8Array;
  readonly #keys: KeySlots<Uint8Array> = new KeySlots();
  readonly #nonce: Uint8Array = new Uint8Array(AEAD_NONCE_SIZE);

  constructor(arena: Arena) {
    this.#u8 = arena.u8;
  }

  addKey(key: Uint8Array): number {
    return this.#keys.add(new Uint8Array(key));
  }

  dropKey(handle: number): void {
    this.#keys.remove(handle)?.fill(0);
  }

  seal(batch: AeadBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const at = batch.at(i);
      const end = at + batch.length(i);
      const key = this.#keys.get(batch.key(i));
      if (key === undefined) {
        // Whatever comes out of here goes to the network: never the plaintext.
        this.#u8.fill(0, at, end + AEAD_TAG_SIZE);
        continue;
      }
      this.#setNonce(batch.counterLow(i), batch.counterHigh(i));
      const text = this.#u8.subarray(at, end);
      chacha20poly1305(key, this.#nonce).encrypt(text, this.#u8.subarray(at, end + AEAD_TAG_SIZE));
    }
  }

  open(batch: AeadBatch): void {
    for (let i = 0; i < batch.count; i++) {
      batch.setStatus(i, this.#openOne(batch, i) ? AEAD_OK : AEAD_FORGED);
    }
  }

  #openOne(batch: AeadBatch, i: number): boolean {
    const at = batch.at(i);
    const end = at + batch.length(i);
    const key = this.#keys.get(batch.key(i));
    if (key === undefined) return false;
    this.#setNonce(batch.counterLow(i), batch.counterHigh(i));
    const sealed = this.#u8.subarray(at, end + AEAD_TAG_SIZE);
    try {
      chacha20poly1305(key, this.#nonce).decrypt(sealed, this.#u8.subarray(at, end));
      return true;
    } catch {
      return false;
    }
  }

  #setNonce(counterLow: number, counterHigh: number): void {
    writeU32le(this.#nonce, 4, counterLow);
    writeU32le(this.#nonce, 8, counterHigh);
  }
}
