/**
 * X25519 in plain JavaScript (@noble/curves). BigInt arithmetic: correct, but 25 times slower than OpenSSL and not
 * constant time, so a fallback and an oracle, never a choice. Loading it takes tens of milliseconds: import it only
 * when it is needed.
 */
import { x25519 } from '@noble/curves/ed25519.js';
import type { Random } from '../core/random.ts';
import type { DhPrivateKey, DhPublicKey, X25519 } from './crypto.ts';
import { KEY_SIZE } from './keys.ts';

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
