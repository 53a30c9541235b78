/** Curve25519 and symmetric keys as classes that cannot print their secrets. */
import { inspect } from 'node:util';
import { constantTimeEqual, isZero, parseBase64, parseHex, toBase64, toHex } from '../core/bytes.ts';
import type { Random } from '../core/random.ts';

export const KEY_SIZE = 32;

/** A 32-byte secret. `bytes` is the live buffer: read it, do not keep it. */
abstract class SecretKey {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    if (bytes.length !== KEY_SIZE) throw new RangeError(`a key has ${KEY_SIZE} bytes, got ${bytes.length}`);
    // Own memory, never a slice of Node's shared Buffer pool.
    this.#bytes = new Uint8Array(KEY_SIZE);
    this.#bytes.set(bytes);
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  equals(other: SecretKey): boolean {
    return constantTimeEqual(this.#bytes, other.#bytes);
  }

  /** True for 32 zero bytes, which the UAPI takes for "none". */
  get isZero(): boolean {
    return isZero(this.#bytes);
  }

  /** Overwrites the secret. The garbage collector may have moved copies: see docs/SECURITY.md. */
  zero(): void {
    this.#bytes.fill(0);
  }

  /** The only ways out, for configuration files and the UAPI. */
  exposeBase64(): string {
    return toBase64(this.#bytes);
  }
  exposeHex(): string {
    return toHex(this.#bytes);
  }

  toString(): string {
    return '(hidden)';
  }
  toJSON(): string {
    return '(hidden)';
  }
  [inspect.custom](): string {
    return `${this.constructor.name}(hidden)`;
  }
}

/** An X25519 private key, clamped on import (RFC 7748 section 5; `wg` shows the clamped form). */
export class PrivateKey extends SecretKey {
  declare private readonly kind: 'private';

  constructor(bytes: Uint8Array) {
    // Not `slice`, which shares memory when the argument is a Buffer.
    const clamped = new Uint8Array(bytes);
    // An all-zero key means "no key" in the UAPI and must stay recognisable.
    if (clamped.length === KEY_SIZE && !isZero(clamped)) {
      clamped[0] = (clamped[0] as number) & 248;
      clamped[31] = ((clamped[31] as number) & 127) | 64;
    }
    super(clamped);
    clamped.fill(0);
  }

  static generate(random: Random): PrivateKey {
    const bytes = new Uint8Array(KEY_SIZE);
    random.fill(bytes);
    const key = new PrivateKey(bytes);
    bytes.fill(0);
    return key;
  }
}

export class PresharedKey extends SecretKey {
  declare private readonly kind: 'preshared';

  static readonly none: PresharedKey = new PresharedKey(new Uint8Array(KEY_SIZE));

  static generate(random: Random): PresharedKey {
    const bytes = new Uint8Array(KEY_SIZE);
    random.fill(bytes);
    const key = new PresharedKey(bytes);
    bytes.fill(0);
    return key;
  }
}

/** Not secret. `hex` serves as map key. */
export class PublicKey {
  readonly bytes: Uint8Array;
  readonly hex: string;

  constructor(bytes: Uint8Array) {
    if (bytes.length !== KEY_SIZE) throw new RangeError(`a key has ${KEY_SIZE} bytes, got ${bytes.length}`);
    this.bytes = new Uint8Array(bytes);
    this.hex = toHex(this.bytes);
  }

  get base64(): string {
    return toBase64(this.bytes);
  }

  /** `abcd…wxyz`, as in logs. */
  get short(): string {
    const text = this.base64;
    return `${text.slice(0, 4)}…${text.slice(39, 43)}`;
  }

  equals(other: PublicKey): boolean {
    return this.hex === other.hex;
  }

  toString(): string {
    return `peer(${this.short})`;
  }
  toJSON(): string {
    return this.base64;
  }
}

/** 32 bytes from base64 (44 characters) or hexadecimal (64 characters). Undefined when it is neither. */
export function parseKeyBytes(text: string): Uint8Array | undefined {
  return text.length === 2 * KEY_SIZE ? parseHex(text, KEY_SIZE) : parseBase64(text, KEY_SIZE);
}
