/**
 * X25519 and the AEADs on node:crypto (OpenSSL). It has no keyed BLAKE2s and no BLAKE2s of 16 bytes, so the hashes
 * come from another backend.
 */
import {
  type JsonWebKey,
  type KeyObject,
  type X25519KeyPairKeyObjectOptions,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
} from 'node:crypto';
import { hchacha } from '@noble/ciphers/chacha.js';
import { isZero } from '../core/bytes.ts';
import { type Random, systemRandom } from '../core/random.ts';
import { AEAD_NONCE_SIZE, AEAD_TAG_SIZE } from './constants.ts';
import { nobleBlake2s } from './crypto-noble.ts';
import type { Aead, Blake2s, Crypto, DhPrivateKey, DhPublicKey, X25519 } from './crypto.ts';
import { KEY_SIZE } from './keys.ts';

/** What precedes the 32 bytes of an X25519 private key in PKCS #8 (RFC 8410 section 7). */
const PKCS8_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
]);

/** The same memory without Buffer's methods, whose `slice` would share it. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

class NodePublicKey implements DhPublicKey {
  readonly bytes: Uint8Array;
  readonly key: KeyObject;

  constructor(bytes: Uint8Array) {
    this.bytes = new Uint8Array(bytes);
    // As JWK: 6 microseconds; as SPKI, OpenSSL 3.0 takes 80.
    const x = Buffer.from(this.bytes.buffer).toString('base64url');
    this.key = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
  }
}

class NodePrivateKey implements DhPrivateKey {
  readonly publicKey: Uint8Array;
  #key: KeyObject | undefined;

  constructor(privateKey: KeyObject, { x = '' }: JsonWebKey) {
    this.publicKey = new Uint8Array(Buffer.from(x, 'base64url'));
    this.#key = privateKey;
  }

  diffieHellman(remote: DhPublicKey): Uint8Array | undefined {
    if (this.#key === undefined) return undefined;
    const publicKey = remote instanceof NodePublicKey ? remote : new NodePublicKey(remote.bytes);
    try {
      const secret = plain(diffieHellman({ privateKey: this.#key, publicKey: publicKey.key }));
      // OpenSSL refuses an all-zero result itself; the handshake's safety should not hang on that.
      return isZero(secret) ? undefined : secret;
    } catch {
      return undefined;
    }
  }

  /** OpenSSL wipes the secret when the garbage collector frees the KeyObject, not at once. */
  zero(): void {
    this.#key = undefined;
  }
}

function importPrivateKey(bytes: Uint8Array): NodePrivateKey {
  if (bytes.length !== KEY_SIZE) throw new RangeError(`a key has ${KEY_SIZE} bytes, got ${bytes.length}`);
  // PKCS #8 although OpenSSL 3.0 takes 350 microseconds for it: a JWK would leave the secret in an immortal string.
  const der = new Uint8Array(PKCS8_PREFIX.length + KEY_SIZE);
  der.set(PKCS8_PREFIX);
  der.set(bytes, PKCS8_PREFIX.length);
  const key = createPrivateKey({ key: Buffer.from(der.buffer), format: 'der', type: 'pkcs8' });
  der.fill(0);
  return new NodePrivateKey(key, createPublicKey(key).export({ format: 'jwk' }));
}

/**
 * OpenSSL draws the secret itself, so that it never enters the JavaScript heap. The public key is encoded on the way, not
 * by `export` afterwards: that holds the lock of the key while it makes strings, and when the garbage collector takes the
 * occasion to free what generated the key, which wants the same lock, the thread waits for itself for ever (Node.js 20;
 * once in some hundred thousand keys).
 */
function generate(): NodePrivateKey {
  const { privateKey, publicKey } = generateKeyPairSync('x25519', ENCODE_PUBLIC) as unknown as Generated;
  return new NodePrivateKey(privateKey, publicKey);
}

/** The types of Node.js know of no `jwk` here, but since 16.6 it is one of the formats. */
const ENCODE_PUBLIC = { publicKeyEncoding: { format: 'jwk' } } as unknown as X25519KeyPairKeyObjectOptions;
interface Generated {
  readonly privateKey: KeyObject;
  readonly publicKey: JsonWebKey;
}

export const nodeX25519: X25519 = {
  name: 'node',
  importPrivateKey,
  importPublicKey: (bytes) => new NodePublicKey(bytes),
  generate: (random: Random) => {
    if (random === systemRandom) return generate();
    const secret = new Uint8Array(KEY_SIZE);
    random.fill(secret);
    const key = importPrivateKey(secret);
    secret.fill(0);
    return key;
  },
};

const ALGORITHM = 'chacha20-poly1305';
const OPTIONS = { authTagLength: AEAD_TAG_SIZE } as const;

function seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, ad: Uint8Array): Uint8Array {
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS);
  cipher.setAAD(ad, { plaintextLength: plaintext.length });
  const sealed = new Uint8Array(plaintext.length + AEAD_TAG_SIZE);
  sealed.set(cipher.update(plaintext));
  cipher.final();
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

function open(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  ad: Uint8Array,
): Uint8Array | undefined {
  const length = sealed.length - AEAD_TAG_SIZE;
  if (length < 0) return undefined;
  const decipher = createDecipheriv(ALGORITHM, key, nonce, OPTIONS);
  decipher.setAAD(ad, { plaintextLength: length });
  decipher.setAuthTag(sealed.subarray(length));
  const plaintext = plain(decipher.update(sealed.subarray(0, length)));
  try {
    decipher.final();
    return plaintext;
  } catch {
    plaintext.fill(0);
    return undefined;
  }
}

/** `expand 32-byte k`, RFC 8439 section 2.3. */
const SIGMA = Uint32Array.of(0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574);

/** XChaCha20 is ChaCha20 under a key derived from the first 16 nonce bytes (draft-irtf-cfrg-xchacha section 2.3). */
function withDerivedKey<T>(
  key: Uint8Array,
  nonce: Uint8Array,
  use: (derivedKey: Uint8Array, shortNonce: Uint8Array) => T,
): T {
  // Copies, because words need aligned memory.
  const words = new Uint32Array(new Uint8Array(key).buffer);
  const derived = new Uint32Array(KEY_SIZE / 4);
  hchacha(SIGMA, words, new Uint32Array(new Uint8Array(nonce.subarray(0, 16)).buffer), derived);
  const shortNonce = new Uint8Array(AEAD_NONCE_SIZE);
  shortNonce.set(nonce.subarray(16), 4);
  const result = use(new Uint8Array(derived.buffer), shortNonce);
  words.fill(0);
  derived.fill(0);
  return result;
}

export const nodeAead: Aead = {
  name: 'node',
  seal,
  open,
  xseal: (key, nonce, plaintext, ad) =>
    withDerivedKey(key, nonce, (derivedKey, shortNonce) => seal(derivedKey, shortNonce, plaintext, ad)),
  xopen: (key, nonce, sealed, ad) =>
    withDerivedKey(key, nonce, (derivedKey, shortNonce) => open(derivedKey, shortNonce, sealed, ad)),
};

export function nodeCrypto(blake2s: Blake2s = nobleBlake2s): Crypto {
  return { x25519: nodeX25519, aead: nodeAead, blake2s };
}
