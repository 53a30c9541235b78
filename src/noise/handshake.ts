/**
 * The WireGuard handshake, Noise_IKpsk2, whitepaper sections 5.4.2, 5.4.3 and 5.4.5: one state machine per peer.
 * Pure: no timers, no sockets, no index table. Every step works on copies and commits only when it has succeeded, so a
 * forged message changes nothing. Steps that fail return undefined, false or a reason; none throws on network input.
 */
import { readU32le, writeU32le } from '../core/bytes.ts';
import type { Random } from '../core/random.ts';
import { INITIATION_GAP, TIMESTAMP_SIZE } from './constants.ts';
import type { DhPrivateKey, DhPublicKey } from './crypto.ts';
import { type LocalIdentity, initialState } from './identity.ts';
import { INITIATION, MESSAGE_INITIATION, MESSAGE_RESPONSE, RESPONSE } from './messages.ts';
import { type PresharedKey, PublicKey } from './keys.ts';
import { SessionKeys } from './session-keys.ts';
import type { SymmetricState } from './symmetric-state.ts';
import { compareTimestamps } from './tai64n.ts';

const EMPTY = new Uint8Array(0);

/** An initiation in flight. */
interface Initiation {
  readonly symmetric: SymmetricState;
  readonly ephemeral: DhPrivateKey;
  readonly localIndex: number;
}

/** The handshake that is being answered or finished. */
type State =
  | { readonly kind: 'zeroed' }
  | {
      readonly kind: 'initiation_consumed';
      readonly symmetric: SymmetricState;
      readonly remoteEphemeral: DhPublicKey;
      readonly remoteIndex: number;
    }
  | {
      readonly kind: 'response_created' | 'response_consumed';
      readonly symmetric: SymmetricState;
      readonly localIndex: number;
      readonly remoteIndex: number;
    };

export type HandshakeState = State['kind'] | 'initiation_created';

/** Why an initiation was accepted or not. */
export type AcceptResult =
  | 'ok'
  /** This side has no private key, or the peer's static key has low order. */
  | 'impossible'
  /** The sealed timestamp is forged. */
  | 'bad_tag'
  /** The timestamp is not later than the greatest one accepted: a replay. */
  | 'replayed_timestamp'
  /** Less than INITIATION_GAP after the last accepted initiation. */
  | 'flood';

/** An initiation whose sender has named itself, but has not proved yet that it is who it says. */
export interface OpenedInitiation {
  readonly remoteStatic: PublicKey;
  /** The sender's index. */
  readonly remoteIndex: number;
  readonly remoteEphemeral: DhPublicKey;
  readonly sealedTimestamp: Uint8Array;
  /** `acceptInitiation` takes it over or wipes it. Whoever does not get there wipes it with `zero`. */
  readonly symmetric: SymmetricState;
}

/**
 * Decrypts the sender's static key of an initiation of 148 bytes, whose mac1 the caller has checked. The caller looks
 * the peer up and goes on with `acceptInitiation`. Undefined when it is forged or its ephemeral key has low order.
 */
export function openInitiation(identity: LocalIdentity, message: Uint8Array): OpenedInitiation | undefined {
  if (message.length !== INITIATION.size) return undefined;
  const remoteEphemeral = identity.crypto.x25519.importPublicKey(
    message.subarray(INITIATION.ephemeral, INITIATION.static),
  );
  const secret = identity.dh.diffieHellman(remoteEphemeral);
  if (secret === undefined) return undefined;
  const symmetric = identity.startAsResponder();
  symmetric.mixHash(remoteEphemeral.bytes);
  symmetric.mixChainingKey(remoteEphemeral.bytes);
  symmetric.mixKey(secret);
  secret.fill(0);
  const remoteStatic = symmetric.decryptAndHash(message.subarray(INITIATION.static, INITIATION.timestamp));
  if (remoteStatic === undefined) {
    symmetric.zero();
    return undefined;
  }
  return {
    remoteStatic: new PublicKey(remoteStatic),
    remoteIndex: readU32le(message, INITIATION.sender),
    remoteEphemeral,
    sealedTimestamp: new Uint8Array(message.subarray(INITIATION.timestamp, INITIATION.mac1)),
    symmetric,
  };
}

export class Handshake {
  readonly #remote: PublicKey;
  readonly #random: Random;
  #identity: LocalIdentity | undefined;
  /** What depends on the identity alone, computed once: the peer's key, DH(static, static), the first state. */
  #precomputed:
    | {
        readonly remoteStatic: DhPublicKey;
        readonly staticStatic: Uint8Array;
        readonly initial: SymmetricState;
      }
    | undefined;
  #presharedKey: PresharedKey;
  /**
   * Apart from `#state`, so that it stays in flight while an initiation of the peer is answered. Were it given up, as in
   * the kernel, two that cross would leave two responders and no initiator, until the first timer retries.
   */
  #initiation: Initiation | undefined;
  #state: State = { kind: 'zeroed' };
  /** The greatest timestamp accepted. Outlives `clear` and `rekey`: only forgetting the peer forgets it. */
  readonly #latestTimestamp: Uint8Array = new Uint8Array(TIMESTAMP_SIZE);
  #lastAcceptedMs = Number.NEGATIVE_INFINITY;

  /** Without an identity (no private key yet) nothing is possible until `rekey`. */
  constructor(
    identity: LocalIdentity | undefined,
    remote: PublicKey,
    presharedKey: PresharedKey,
    random: Random,
  ) {
    this.#remote = remote;
    this.#presharedKey = presharedKey;
    this.#random = random;
    this.rekey(identity);
  }

  /** False without an identity, or when the peer's static key has low order: then no message is ever made or taken. */
  get isPossible(): boolean {
    return this.#precomputed !== undefined;
  }

  get state(): HandshakeState {
    if (this.#state.kind !== 'zeroed') return this.#state.kind;
    return this.#initiation ? 'initiation_created' : 'zeroed';
  }

  /** All zero = none. Takes effect with the next message. The key stays the caller's. */
  setPresharedKey(presharedKey: PresharedKey): void {
    this.#presharedKey = presharedKey;
  }

  /** Takes a new private key, or none. Drops what is under way; keeps the timestamp. */
  rekey(identity: LocalIdentity | undefined): void {
    this.clear();
    this.#precomputed?.staticStatic.fill(0);
    this.#precomputed = undefined;
    this.#identity = identity;
    if (identity === undefined) return;
    const remoteStatic = identity.crypto.x25519.importPublicKey(this.#remote.bytes);
    const staticStatic = identity.dh.diffieHellman(remoteStatic);
    if (staticStatic === undefined) return;
    this.#precomputed = {
      remoteStatic,
      staticStatic,
      initial: initialState(identity.crypto, this.#remote),
    };
  }

  /**
   * Starts as initiator: 148 bytes with zero macs. `timestamp` is a TAI64N stamp. Replaces an initiation in flight.
   * Undefined when impossible.
   */
  createInitiation(localIndex: number, timestamp: Uint8Array): Uint8Array | undefined {
    const identity = this.#identity;
    const precomputed = this.#precomputed;
    if (identity === undefined || precomputed === undefined) return undefined;
    const ephemeral = identity.crypto.x25519.generate(this.#random);
    const secret = ephemeral.diffieHellman(precomputed.remoteStatic);
    if (secret === undefined) return undefined;
    const message = new Uint8Array(INITIATION.size);
    writeU32le(message, INITIATION.type, MESSAGE_INITIATION);
    writeU32le(message, INITIATION.sender, localIndex);
    message.set(ephemeral.publicKey, INITIATION.ephemeral);
    const symmetric = precomputed.initial.clone();
    symmetric.mixHash(ephemeral.publicKey);
    symmetric.mixChainingKey(ephemeral.publicKey);
    symmetric.mixKey(secret);
    secret.fill(0);
    message.set(symmetric.encryptAndHash(identity.publicKey.bytes), INITIATION.static);
    symmetric.mixKey(precomputed.staticStatic);
    message.set(symmetric.encryptAndHash(timestamp), INITIATION.timestamp);
    this.dropInitiation();
    this.#initiation = { symmetric, ephemeral, localIndex };
    return message;
  }

  /**
   * Proves and takes an initiation that names this peer. Only on 'ok' is anything changed. `nowMs` is monotonic. Consumes
   * `opened` in any case.
   */
  acceptInitiation(opened: OpenedInitiation, nowMs: number): AcceptResult {
    const result = this.#checkInitiation(opened, nowMs);
    if (result !== 'ok') opened.symmetric.zero();
    return result;
  }

  #checkInitiation(opened: OpenedInitiation, nowMs: number): AcceptResult {
    if (this.#precomputed === undefined) return 'impossible';
    const { symmetric, remoteEphemeral, remoteIndex } = opened;
    symmetric.mixKey(this.#precomputed.staticStatic);
    const timestamp = symmetric.decryptAndHash(opened.sealedTimestamp);
    if (timestamp === undefined) return 'bad_tag';
    if (compareTimestamps(timestamp, this.#latestTimestamp) <= 0) return 'replayed_timestamp';
    if (nowMs - this.#lastAcceptedMs < INITIATION_GAP) return 'flood';
    this.#latestTimestamp.set(timestamp);
    this.#lastAcceptedMs = nowMs;
    this.#enter({ kind: 'initiation_consumed', symmetric, remoteEphemeral, remoteIndex });
    return 'ok';
  }

  /** Answers the initiation just accepted: 92 bytes with zero macs. Undefined in any other state. */
  createResponse(localIndex: number): Uint8Array | undefined {
    const state = this.#state;
    const identity = this.#identity;
    const precomputed = this.#precomputed;
    if (state.kind !== 'initiation_consumed' || identity === undefined || precomputed === undefined) {
      return undefined;
    }
    const ephemeral = identity.crypto.x25519.generate(this.#random);
    const symmetric = state.symmetric.clone();
    symmetric.mixHash(ephemeral.publicKey);
    symmetric.mixChainingKey(ephemeral.publicKey);
    const mixed =
      mixSecret(symmetric, ephemeral.diffieHellman(state.remoteEphemeral)) &&
      mixSecret(symmetric, ephemeral.diffieHellman(precomputed.remoteStatic));
    ephemeral.zero();
    if (!mixed) {
      symmetric.zero();
      return undefined;
    }
    symmetric.mixKeyAndHash(this.#presharedKey.bytes);
    const { remoteIndex } = state;
    const message = new Uint8Array(RESPONSE.size);
    writeU32le(message, RESPONSE.type, MESSAGE_RESPONSE);
    writeU32le(message, RESPONSE.sender, localIndex);
    writeU32le(message, RESPONSE.receiver, remoteIndex);
    message.set(ephemeral.publicKey, RESPONSE.ephemeral);
    message.set(symmetric.encryptAndHash(EMPTY), RESPONSE.empty);
    this.#enter({ kind: 'response_created', symmetric, localIndex, remoteIndex });
    return message;
  }

  /** Takes the answer to the initiation in flight. False, and nothing changed, when it is not exactly that. */
  consumeResponse(message: Uint8Array): boolean {
    const initiation = this.#initiation;
    const identity = this.#identity;
    if (initiation === undefined || identity === undefined) return false;
    const { localIndex, ephemeral } = initiation;
    if (message.length !== RESPONSE.size || readU32le(message, RESPONSE.receiver) !== localIndex) {
      return false;
    }
    const remoteEphemeral = identity.crypto.x25519.importPublicKey(
      message.subarray(RESPONSE.ephemeral, RESPONSE.empty),
    );
    const symmetric = initiation.symmetric.clone();
    symmetric.mixHash(remoteEphemeral.bytes);
    symmetric.mixChainingKey(remoteEphemeral.bytes);
    const mixed =
      mixSecret(symmetric, ephemeral.diffieHellman(remoteEphemeral)) &&
      mixSecret(symmetric, identity.dh.diffieHellman(remoteEphemeral));
    if (mixed) symmetric.mixKeyAndHash(this.#presharedKey.bytes);
    if (!mixed || symmetric.decryptAndHash(message.subarray(RESPONSE.empty, RESPONSE.mac1)) === undefined) {
      symmetric.zero();
      return false;
    }
    const remoteIndex = readU32le(message, RESPONSE.sender);
    this.dropInitiation();
    this.#enter({ kind: 'response_consumed', symmetric, localIndex, remoteIndex });
    return true;
  }

  /** The keys of the finished handshake, once. Undefined when none is finished. */
  deriveKeypair(): SessionKeys | undefined {
    const state = this.#state;
    if (state.kind !== 'response_created' && state.kind !== 'response_consumed') return undefined;
    const isInitiator = state.kind === 'response_consumed';
    const [first, second] = state.symmetric.split();
    const keys = new SessionKeys({
      send: isInitiator ? first : second,
      receive: isInitiator ? second : first,
      localIndex: state.localIndex,
      remoteIndex: state.remoteIndex,
      isInitiator,
    });
    this.#enter({ kind: 'zeroed' });
    return keys;
  }

  /** Gives up waiting for the answer to the initiation in flight and wipes its secrets. */
  dropInitiation(): void {
    this.#initiation?.symmetric.zero();
    this.#initiation?.ephemeral.zero();
    this.#initiation = undefined;
  }

  /** Drops all that is under way and wipes its secrets. Keeps the timestamp and time of the last initiation taken. */
  clear(): void {
    this.dropInitiation();
    this.#enter({ kind: 'zeroed' });
  }

  #enter(next: State): void {
    const last = this.#state;
    if (last.kind !== 'zeroed') last.symmetric.zero();
    this.#state = next;
  }
}

/** Mixes a DH result in and wipes it. False when there is none. */
function mixSecret(symmetric: SymmetricState, secret: Uint8Array | undefined): boolean {
  if (secret === undefined) return false;
  symmetric.mixChainingKey(secret);
  secret.fill(0);
  return true;
}
