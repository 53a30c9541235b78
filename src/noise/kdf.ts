/** The key derivation of whitepaper section 5.4: HKDF (RFC 5869) over HMAC-BLAKE2s with one, two or three outputs. */
import type { Blake2s } from './crypto.ts';

const ONE = Uint8Array.of(1);
const TWO = Uint8Array.of(2);
const THREE = Uint8Array.of(3);

export function kdf1(blake2s: Blake2s, key: Uint8Array, input: Uint8Array): Uint8Array {
  const t0 = blake2s.hmac(key, input);
  const t1 = blake2s.hmac(t0, ONE);
  t0.fill(0);
  return t1;
}

export function kdf2(blake2s: Blake2s, key: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array] {
  const t0 = blake2s.hmac(key, input);
  const t1 = blake2s.hmac(t0, ONE);
  const t2 = blake2s.hmac(t0, t1, TWO);
  t0.fill(0);
  return [t1, t2];
}

export function kdf3(
  blake2s: Blake2s,
  key: Uint8Array,
  input: Uint8Array,
): [Uint8Array, Uint8Array, Uint8Array] {
  const t0 = blake2s.hmac(key, input);
  const t1 = blake2s.hmac(t0, ONE);
  const t2 = blake2s.hmac(t0, t1, TWO);
  const t3 = blake2s.hmac(t0, t2, THREE);
  t0.fill(0);
  return [t1, t2, t3];
}
