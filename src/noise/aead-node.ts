/** TransportAead on node:crypto (OpenSSL). Pays several microseconds a packet for making the cipher object. */
import { type KeyObject, createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import type { Arena } from '../core/arena.ts';
import { writeU32le } from '../core/bytes.ts';
import { AEAD_FORGED, AEAD_OK, type AeadBatch, type TransportAead } from './aead.ts';
import { AEAD_NONCE_SIZE, AEAD_TAG_SIZE } from './constants.ts';
import { KeySlots } from './key-slots.ts';

const ALGORITHM = 'chacha20-poly1305';
const OPTIONS = { authTagLength: AEAD_TAG_SIZE } as const;

export class NodeTransportAead implements TransportAead {
  readonly name = 'node';
  readonly #u8: Uint8Array;
  // A KeyObject instead of bytes: newer Node versions take 10 microseconds longer with bytes.
  readonly #keys: KeySlots<KeyObject> = new KeySlots();
  readonly #nonce: Uint8Array = new Uint8Array(AEAD_NONCE_SIZE);

  constructor(arena: Arena) {
    this.#u8 = arena.u8;
  }

  addKey(key: Uint8Array): number {
    return this.#keys.add(createSecretKey(key));
  }

  /** OpenSSL's copy of the key is wiped when the garbage collector frees the KeyObject, not at once. */
  dropKey(handle: number): void {
    this.#keys.remove(handle);
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
      const cipher = createCipheriv(ALGORITHM, key, this.#nonce, OPTIONS);
      this.#u8.set(cipher.update(this.#u8.subarray(at, end)), at);
      cipher.final();
      this.#u8.set(cipher.getAuthTag(), end);
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
    const decipher = createDecipheriv(ALGORITHM, key, this.#nonce, OPTIONS);
    decipher.setAuthTag(this.#u8.subarray(end, end + AEAD_TAG_SIZE));
    const text = decipher.update(this.#u8.subarray(at, end));
    try {
      decipher.final();
    } catch {
      text.fill(0);
      return false;
    }
    this.#u8.set(text, at);
    return true;
  }

  #setNonce(counterLow: number, counterHigh: number): void {
    writeU32le(this.#nonce, 4, counterLow);
    writeU32le(this.#nonce, 8, counterHigh);
  }
}
