/**
 * The primitives of a handshake, whitepaper section 5.4, as three interfaces with several backends each. They are
 * synchronous and take bytes of any memory. Inputs from the network never make them throw; wrong sizes of keys and
 * nonces are the caller's fault and may.
 */
import type { Random } from '../core/random.ts';

/** BLAKE2s (RFC 7693). `parts` are hashed as if joined. Results are fresh arrays that the caller owns. */
export interface Blake2s {
  readonly name: string;
  /** HASH: 32 bytes, unkeyed. */
  hash(...parts: readonly Uint8Array[]): Uint8Array;
  /** MAC: keyed with 1 to 32 bytes, 16 bytes of output. */
  mac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  /** HMAC (RFC 2104) over BLAKE2s-256 with a key of at most 64 bytes: 32 bytes. */
  hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
}

/** A remote public key in the form that its backend computes with, so that it is imported once. Not secret. */
export interface DhPublicKey {
  readonly bytes: Uint8Array;
}

/** An X25519 private key that cannot be read back. */
export interface DhPrivateKey {
  readonly publicKey: Uint8Array;
  /**
   * The shared secret: 32 bytes that the caller wipes. Undefined when it is all zero, which means that the remote
   * point has low order (RFC 7748 section 6.1), and after `zero`.
   */
  diffieHellman(remote: DhPublicKey): Uint8Array | undefined;
  /** Gives the secret up. */
  zero(): void;
}

export interface X25519 {
  readonly name: string;
  /** Any 32 bytes; clamped as in RFC 7748 section 5. Copied. */
  importPrivateKey(bytes: Uint8Array): DhPrivateKey;
  /** Any 32 bytes; copied. */
  importPublicKey(bytes: Uint8Array): DhPublicKey;
  /** An ephemeral key from `random`. */
  generate(random: Random): DhPrivateKey;
}

/** ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 with additional data, for short messages. Key: 32 bytes. */
export interface Aead {
  readonly name: string;
  /** AEAD with a 12-byte nonce. Returns the ciphertext with the tag behind it. */
  seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, ad: Uint8Array): Uint8Array;
  /** Undefined when the tag is wrong or missing. */
  open(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, ad: Uint8Array): Uint8Array | undefined;
  /** XAEAD with a 24-byte nonce. */
  xseal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, ad: Uint8Array): Uint8Array;
  xopen(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, ad: Uint8Array): Uint8Array | undefined;
}

export interface Crypto {
  readonly x25519: X25519;
  readonly aead: Aead;
  readonly blake2s: Blake2s;
}
