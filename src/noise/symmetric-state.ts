/** The SymmetricState of the Noise protocol framework, revision 34 section 5.2: chaining key, hash and cipher key. */
import { AppError } from '../core/errors.ts';
import { AEAD_NONCE_SIZE } from './constants.ts';
import type { Crypto } from './crypto.ts';
import { kdf1, kdf2, kdf3 } from './kdf.ts';

const EMPTY = new Uint8Array(0);

/** Every key seals one message only (see `#takeKey`), so the counter is always 0. */
const NONCE_ZERO = new Uint8Array(AEAD_NONCE_SIZE);

export class SymmetricState {
  readonly #crypto: Crypto;
  #chainingKey: Uint8Array;
  #hash: Uint8Array;
  #key: Uint8Array | undefined;

  private constructor(crypto: Crypto, chainingKey: Uint8Array, hash: Uint8Array) {
    this.#crypto = crypto;
    this.#chainingKey = chainingKey;
    this.#hash = hash;
  }

  /** `protocolName` has more than 32 bytes, so it is hashed and not padded. */
  static initialize(crypto: Crypto, protocolName: Uint8Array, prologue: Uint8Array): SymmetricState {
    const name = crypto.blake2s.hash(protocolName);
    const state = new SymmetricState(crypto, name, new Uint8Array(name));
    state.mixHash(prologue);
    return state;
  }

  /** The transcript hash; not secret. A copy. */
  get hash(): Uint8Array {
    return new Uint8Array(this.#hash);
  }

  mixHash(data: Uint8Array): void {
    this.#hash = this.#crypto.blake2s.hash(this.#hash, data);
  }

  /**
   * MixKey where no message follows before the next mix: the cipher key that Noise derives here would never be used,
   * so it is not computed.
   */
  mixChainingKey(input: Uint8Array): void {
    this.#advance(kdf1(this.#crypto.blake2s, this.#chainingKey, input), undefined);
  }

  /** MixKey: the next message is sealed under a key that depends on `input`. */
  mixKey(input: Uint8Array): void {
    const [chainingKey, key] = kdf2(this.#crypto.blake2s, this.#chainingKey, input);
    this.#advance(chainingKey, key);
  }

  /** MixKeyAndHash, for a preshared key. */
  mixKeyAndHash(input: Uint8Array): void {
    const [chainingKey, tau, key] = kdf3(this.#crypto.blake2s, this.#chainingKey, input);
    this.#advance(chainingKey, key);
    this.mixHash(tau);
    tau.fill(0);
  }

  /** Seals with the hash as additional data and mixes the ciphertext in. Uses the key up. */
  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const key = this.#takeKey();
    const sealed = this.#crypto.aead.seal(key, NONCE_ZERO, plaintext, this.#hash);
    key.fill(0);
    this.mixHash(sealed);
    return sealed;
  }

  /** The reverse. Undefined when the message is forged; the state is then good for nothing but `zero`. */
  decryptAndHash(sealed: Uint8Array): Uint8Array | undefined {
    const key = this.#takeKey();
    const plaintext = this.#crypto.aead.open(key, NONCE_ZERO, sealed, this.#hash);
    key.fill(0);
    if (plaintext !== undefined) this.mixHash(sealed);
    return plaintext;
  }

  /** The transport keys: the initiator sends with the first, the responder with the second. */
  split(): [Uint8Array, Uint8Array] {
    return kdf2(this.#crypto.blake2s, this.#chainingKey, EMPTY);
  }

  clone(): SymmetricState {
    const copy = new SymmetricState(this.#crypto, new Uint8Array(this.#chainingKey), this.hash);
    copy.#key = this.#key && new Uint8Array(this.#key);
    return copy;
  }

  /** Wipes everything. */
  zero(): void {
    this.#chainingKey.fill(0);
    this.#hash.fill(0);
    this.#key?.fill(0);
    this.#key = undefined;
  }

  #advance(chainingKey: Uint8Array, key: Uint8Array | undefined): void {
    this.#chainingKey.fill(0);
    this.#chainingKey = chainingKey;
    this.#key?.fill(0);
    this.#key = key;
  }

  #takeKey(): Uint8Array {
    const key = this.#key;
    if (key === undefined) throw new AppError('internal', 'noise: no fresh key, mixKey must come first');
    this.#key = undefined;
    return key;
  }
}
