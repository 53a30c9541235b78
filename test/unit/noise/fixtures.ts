import assert from 'node:assert/strict';
import { systemRandom } from '../../../src/core/random.ts';
import type { Random } from '../../../src/core/random.ts';
import type { Crypto } from '../../../src/noise/crypto.ts';
import { nobleAead, nobleBlake2s } from '../../../src/noise/crypto-noble.ts';
import { nodeCrypto } from '../../../src/noise/crypto-node.ts';
import { type AcceptResult, Handshake, openInitiation } from '../../../src/noise/handshake.ts';
import { LocalIdentity } from '../../../src/noise/identity.ts';
import { PresharedKey, PrivateKey, type PublicKey } from '../../../src/noise/keys.ts';
import type { SessionKeys } from '../../../src/noise/session-keys.ts';
import { Timestamps } from '../../../src/noise/tai64n.ts';
import { nobleX25519 } from '../../../src/noise/x25519-noble.ts';

/** The fast backend, for tests that are not about backends. */
export const crypto: Crypto = nodeCrypto();

export const BACKENDS: readonly (readonly [string, Crypto])[] = [
  ['noble', { x25519: nobleX25519, aead: nobleAead, blake2s: nobleBlake2s }],
  ['node', crypto],
];

/** A key of 32 equal bytes, clamped on import. */
export function privateKey(fill: number): PrivateKey {
  return new PrivateKey(new Uint8Array(32).fill(fill));
}

const timestamps = new Timestamps({ now: () => 0, wall: () => 1_700_000_000_000 });

/** A stamp greater than all before in this process. */
export function nextTimestamp(): Uint8Array {
  return timestamps.next();
}

export interface PairOptions {
  readonly initiatorCrypto?: Crypto;
  readonly responderCrypto?: Crypto;
  readonly presharedKey?: PresharedKey;
  readonly responderPresharedKey?: PresharedKey;
  readonly random?: Random;
}

export class Pair {
  readonly initiatorIdentity: LocalIdentity;
  readonly responderIdentity: LocalIdentity;
  readonly initiator: Handshake;
  readonly responder: Handshake;

  constructor(options: PairOptions = {}) {
    const presharedKey = options.presharedKey ?? PresharedKey.none;
    const random = options.random ?? systemRandom;
    this.initiatorIdentity = new LocalIdentity(options.initiatorCrypto ?? crypto, privateKey(1));
    this.responderIdentity = new LocalIdentity(options.responderCrypto ?? crypto, privateKey(2));
    const remote = this.responderIdentity.publicKey;
    this.initiator = new Handshake(this.initiatorIdentity, remote, presharedKey, random);
    this.responder = new Handshake(
      this.responderIdentity,
      this.initiatorIdentity.publicKey,
      options.responderPresharedKey ?? presharedKey,
      random,
    );
  }

  initiate(localIndex = 1): Uint8Array {
    return some(this.initiator.createInitiation(localIndex, nextTimestamp()));
  }

  /** What a device does with an initiation behind its mac1 check. */
  accept(initiation: Uint8Array, nowMs = 0): AcceptResult | 'not_opened' | 'unknown_peer' {
    const opened = openInitiation(this.responderIdentity, initiation);
    if (opened === undefined) return 'not_opened';
    if (!opened.remoteStatic.equals(this.initiatorIdentity.publicKey)) return 'unknown_peer';
    return this.responder.acceptInitiation(opened, nowMs);
  }

  /** Everything from the initiation to both key pairs. */
  complete(initiation: Uint8Array = this.initiate(), nowMs = 0): [SessionKeys, SessionKeys] {
    assert.equal(this.accept(initiation, nowMs), 'ok');
    const response = some(this.responder.createResponse(2));
    assert.equal(this.initiator.consumeResponse(response), true);
    return [some(this.initiator.deriveKeypair()), some(this.responder.deriveKeypair())];
  }
}

export function assertMatch(initiator: SessionKeys, responder: SessionKeys): void {
  assert.deepEqual(initiator.send, responder.receive);
  assert.deepEqual(initiator.receive, responder.send);
  assert.notDeepEqual(initiator.send, initiator.receive);
  assert.equal(initiator.remoteIndex, responder.localIndex);
  assert.equal(initiator.localIndex, responder.remoteIndex);
  assert.deepEqual([initiator.isInitiator, responder.isInitiator], [true, false]);
}

export function some<T>(value: T | undefined): T {
  assert.notEqual(value, undefined);
  return value as T;
}

/** `bytes` with one bit changed. */
export function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice();
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}

export function peerOf(identity: LocalIdentity, remote: PublicKey): Handshake {
  return new Handshake(identity, remote, PresharedKey.none, systemRandom);
}
