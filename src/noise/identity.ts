/** What a device derives once from its own static key. */
import { AppError } from '../core/errors.ts';
import { CONSTRUCTION, IDENTIFIER, LABEL_COOKIE, LABEL_MAC1 } from './constants.ts';
import type { Crypto, DhPrivateKey } from './crypto.ts';
import { type PrivateKey, PublicKey } from './keys.ts';
import { SymmetricState } from './symmetric-state.ts';

const ASCII = new TextEncoder();
const CONSTRUCTION_BYTES = ASCII.encode(CONSTRUCTION);
const IDENTIFIER_BYTES = ASCII.encode(IDENTIFIER);
const LABEL_MAC1_BYTES = ASCII.encode(LABEL_MAC1);
const LABEL_COOKIE_BYTES = ASCII.encode(LABEL_COOKIE);

/** Key of the mac1 of all messages to the owner of `publicKey`, section 5.4.4. Not secret. */
export function mac1Key(crypto: Crypto, publicKey: PublicKey): Uint8Array {
  return crypto.blake2s.hash(LABEL_MAC1_BYTES, publicKey.bytes);
}

/** Key of the cookie replies from the owner of `publicKey`, section 5.4.7. Not secret. */
export function cookieKey(crypto: Crypto, publicKey: PublicKey): Uint8Array {
  return crypto.blake2s.hash(LABEL_COOKIE_BYTES, publicKey.bytes);
}

/** The state in which every handshake with `responder` begins on both sides, section 5.4.2. Holds nothing secret. */
export function initialState(crypto: Crypto, responder: PublicKey): SymmetricState {
  const state = SymmetricState.initialize(crypto, CONSTRUCTION_BYTES, IDENTIFIER_BYTES);
  state.mixHash(responder.bytes);
  return state;
}

export class LocalIdentity {
  readonly crypto: Crypto;
  readonly publicKey: PublicKey;
  /** The static private key, ready to compute with. */
  readonly dh: DhPrivateKey;
  readonly #initial: SymmetricState;

  /** `privateKey` is not kept. An all-zero key means "no key" and makes no identity: keep `undefined` instead. */
  constructor(crypto: Crypto, privateKey: PrivateKey) {
    if (privateKey.isZero) throw new AppError('internal', 'noise: an all-zero private key is no identity');
    this.crypto = crypto;
    this.dh = crypto.x25519.importPrivateKey(privateKey.bytes);
    this.publicKey = new PublicKey(this.dh.publicKey);
    this.#initial = initialState(crypto, this.publicKey);
  }

  /** A fresh state for an incoming initiation. */
  startAsResponder(): SymmetricState {
    return this.#initial.clone();
  }

  /** Gives the private key up: no initiation is opened and no response taken from now on. */
  zero(): void {
    this.dh.zero();
  }
}
