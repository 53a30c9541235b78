/** The primitives in plain JavaScript (@noble): the reference, and the fallback for what node:crypto lacks. */
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import type { Random } from '../core/random.ts';
import { MAC_SIZE } from './constants.ts';
import type { Aead, Blake2s, Crypto, DhPrivateKey, DhPublicKey, X25519 } from './crypto.ts';
import { KEY_SIZE } from './keys.ts';

export const nobleBlake2s: Blake2s = {
  name: 'noble',
  hash: (...parts) => {
    const state = blake2s.create();
    for (const part of parts) state.update(part);
    return state.digest();
  },
  mac: (key, ...parts) => {
    const state = blake2s.create({ key, dkLen: MAC_SIZE });
    for (const part of parts) state.update(part);
    return state.digest();
  },
  hmac: (key, ...parts) => {
    const state = hmac.create(blake2s, key);
    for (const part of parts) state.update(part);
    const digest = state.digest();
    state.destroy();
    return digest;
  },
};

/** BigInt arithmetic: correct, but slow and not constant time. A fallback and an oracle, not a default. */
class NoblePrivateKey implements DhPrivateKey {
  readonly publicKey: Uint8Array;
  readonly #secret: Uint8Array;
  #isZeroed = false;

  constructor(secret: Uint8Array) {
    this.#secret = new Uint8Array(secret);
    this.publicKey = x25519.getPublicKey(this.#secret);
  }

  diffieHellman(remote: DhPublicKey): Uint8Array | undefined {
    if (this.#isZeroed) return undefined;
    try {
      return x25519.getSharedSecret(this.#secret, remote.bytes);
    } catch {
      // With 32 bytes on both sides the only error left is the all-zero result.
      return undefined;
    }
  }

  zero(): void {
    this.#isZeroed = true;
    this.#secret.fill(0);
  }
}

export const nobleX25519: X25519 = {
  name: 'noble',
  importPrivateKey: (bytes) => new NoblePrivateKey(bytes),
  importPublicKey: (bytes) => ({ bytes: new Uint8Array(bytes) }),
  generate: (random: Random) => {
    const secret = new Uint8Array(KEY_SIZE);
    random.fill(secret);
    const key = new NoblePrivateKey(secret);
    secret.fill(0);
    return key;
  },
};

export const nobleAead: Aead = {
  name: 'noble',
  seal: (key, nonce, plaintext, ad) => chacha20poly1305(key, nonce, ad).encrypt(plaintext),
  open: (key, nonce, sealed, ad) => {
    try {
      return chacha20poly1305(key, nonce, ad).decrypt(sealed);
    } catch {
      return undefined;
    }
  },
  xseal: (key, nonce, plaintext, ad) => xchacha20poly1305(key, nonce, ad).encrypt(plaintext),
  xopen: (key, nonce, sealed, ad) => {
    try {
      return xchacha20poly1305(key, nonce, ad).decrypt(sealed);
    } catch {
      return undefined;
    }
  },
};

export const nobleCrypto: Crypto = { x25519: nobleX25519, aead: nobleAead, blake2s: nobleBlake2s };
