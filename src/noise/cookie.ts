/** The macs and cookies that keep a loaded responder from doing work for spoofed senders, whitepaper section 5.3. */
import { constantTimeEqual, isZero, readU32le, writeU32le } from '../core/bytes.ts';
import type { Random } from '../core/random.ts';
import {
  COOKIE_SECRET_LATENCY,
  COOKIE_SECRET_MAX_AGE,
  COOKIE_SIZE,
  MAC_SIZE,
  XAEAD_NONCE_SIZE,
} from './constants.ts';
import type { Crypto } from './crypto.ts';
import { type LocalIdentity, cookieKey, mac1Key } from './identity.ts';
import { KEY_SIZE, type PublicKey } from './keys.ts';
import { COOKIE_REPLY, INITIATION, MESSAGE_COOKIE_REPLY } from './messages.ts';

// Both handshake messages end with mac1 and mac2, and have the sender's index at one place.
const MACS_SIZE = 2 * MAC_SIZE;
const SENDER = INITIATION.sender;

function beforeMac1(message: Uint8Array): Uint8Array {
  return message.subarray(0, message.length - MACS_SIZE);
}
function beforeMac2(message: Uint8Array): Uint8Array {
  return message.subarray(0, message.length - MAC_SIZE);
}
function mac1Of(message: Uint8Array): Uint8Array {
  return message.subarray(message.length - MACS_SIZE, message.length - MAC_SIZE);
}
function mac2Of(message: Uint8Array): Uint8Array {
  return message.subarray(message.length - MAC_SIZE);
}

/** The receiving side: one per device, made anew when the private key changes. Takes initiations and responses. */
export class CookieChecker {
  readonly #crypto: Crypto;
  readonly #random: Random;
  readonly #mac1Key: Uint8Array;
  readonly #cookieKey: Uint8Array;
  readonly #secret: Uint8Array = new Uint8Array(KEY_SIZE);
  #secretSinceMs = Number.NEGATIVE_INFINITY;

  constructor(identity: LocalIdentity, random: Random) {
    this.#crypto = identity.crypto;
    this.#random = random;
    this.#mac1Key = mac1Key(identity.crypto, identity.publicKey);
    this.#cookieKey = cookieKey(identity.crypto, identity.publicKey);
  }

  /** Whether the sender knows this device's public key. */
  checkMac1(message: Uint8Array): boolean {
    return constantTimeEqual(this.#crypto.blake2s.mac(this.#mac1Key, beforeMac1(message)), mac1Of(message));
  }

  /**
   * Whether the sender has shown that it receives at `source`: address bytes, then the port as 2 bytes big endian.
   * `nowMs` is monotonic.
   */
  checkMac2(message: Uint8Array, source: Uint8Array, nowMs: number): boolean {
    if (nowMs - this.#secretSinceMs >= COOKIE_SECRET_MAX_AGE) return false;
    // No cookie at all, as most of a flood has.
    if (isZero(mac2Of(message))) return false;
    const expected = this.#crypto.blake2s.mac(this.#cookieFor(source), beforeMac2(message));
    return constantTimeEqual(expected, mac2Of(message));
  }

  /** The cookie reply (64 bytes) to a message whose mac1 is right. */
  createReply(message: Uint8Array, source: Uint8Array, nowMs: number): Uint8Array {
    if (nowMs - this.#secretSinceMs >= COOKIE_SECRET_MAX_AGE) {
      this.#random.fill(this.#secret);
      this.#secretSinceMs = nowMs;
    }
    const reply = new Uint8Array(COOKIE_REPLY.size);
    writeU32le(reply, COOKIE_REPLY.type, MESSAGE_COOKIE_REPLY);
    writeU32le(reply, COOKIE_REPLY.receiver, readU32le(message, SENDER));
    const nonce = reply.subarray(COOKIE_REPLY.nonce, COOKIE_REPLY.nonce + XAEAD_NONCE_SIZE);
    this.#random.fill(nonce);
    const cookie = this.#cookieFor(source);
    reply.set(this.#crypto.aead.xseal(this.#cookieKey, nonce, cookie, mac1Of(message)), COOKIE_REPLY.cookie);
    return reply;
  }

  /** Wipes the secret; cookies given out are void. */
  zero(): void {
    this.#secret.fill(0);
    this.#secretSinceMs = Number.NEGATIVE_INFINITY;
  }

  #cookieFor(source: Uint8Array): Uint8Array {
    return this.#crypto.blake2s.mac(this.#secret, source);
  }
}

/** The sending side: one per peer. */
export class CookieGenerator {
  readonly #crypto: Crypto;
  readonly #mac1Key: Uint8Array;
  readonly #cookieKey: Uint8Array;
  readonly #cookie: Uint8Array = new Uint8Array(COOKIE_SIZE);
  #cookieSinceMs = Number.NEGATIVE_INFINITY;
  /** The mac1 of the last message sent, until a reply to it has been taken. */
  #lastMac1: Uint8Array | undefined;

  constructor(crypto: Crypto, remote: PublicKey) {
    this.#crypto = crypto;
    this.#mac1Key = mac1Key(crypto, remote);
    this.#cookieKey = cookieKey(crypto, remote);
  }

  /** Fills mac1 and mac2 of a finished initiation or response, in place. mac2 stays zero without a fresh cookie. */
  addMacs(message: Uint8Array, nowMs: number): void {
    const mac1 = this.#crypto.blake2s.mac(this.#mac1Key, beforeMac1(message));
    mac1Of(message).set(mac1);
    this.#lastMac1 = mac1;
    if (nowMs - this.#cookieSinceMs >= COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY) {
      mac2Of(message).fill(0);
      return;
    }
    mac2Of(message).set(this.#crypto.blake2s.mac(this.#cookie, beforeMac2(message)));
  }

  /**
   * Takes a cookie reply of 64 bytes. False when it does not answer the last message sent, or that has been answered
   * already. Never a reason to send anything: the next retry carries the cookie.
   */
  consumeReply(reply: Uint8Array, nowMs: number): boolean {
    if (this.#lastMac1 === undefined || reply.length !== COOKIE_REPLY.size) return false;
    const nonce = reply.subarray(COOKIE_REPLY.nonce, COOKIE_REPLY.cookie);
    const sealed = reply.subarray(COOKIE_REPLY.cookie);
    const cookie = this.#crypto.aead.xopen(this.#cookieKey, nonce, sealed, this.#lastMac1);
    if (cookie === undefined) return false;
    this.#cookie.set(cookie);
    this.#cookieSinceMs = nowMs;
    this.#lastMac1 = undefined;
    return true;
  }

  /** Forgets the cookie and the last message. */
  clear(): void {
    this.#cookie.fill(0);
    this.#cookieSinceMs = Number.NEGATIVE_INFINITY;
    this.#lastMac1 = undefined;
  }
}
