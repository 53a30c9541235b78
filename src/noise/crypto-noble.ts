/** Hashes and AEADs in plain JavaScript (@noble): the reference, and the fallback for what node:crypto lacks. */
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import { MAC_SIZE } from './constants.ts';
import type { Aead, Blake2s } from './crypto.ts';

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
