/** A peer on the control plane: handshake, the three keypairs, timers. Packets and their keys are the lane's. */
import type { Clock } from '../core/clock.ts';
import { formatPrefix, type Prefix } from '../core/ip.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { REJECT_AFTER_TIME, REKEY_TIMEOUT } from '../noise/constants.ts';
import { CookieGenerator } from '../noise/cookie.ts';
import type { Crypto } from '../noise/crypto.ts';
import { Handshake } from '../noise/handshake.ts';
import type { LocalIdentity } from '../noise/identity.ts';
import type { SessionKeys } from '../noise/session-keys.ts';
import { INITIATION, RESPONSE } from '../noise/messages.ts';
import { PresharedKey, type PublicKey } from '../noise/keys.ts';
import { Timestamps } from '../noise/tai64n.ts';
import type { PeerObservation, PeerState } from './config.ts';
import type { Deadlines } from './deadlines.ts';
import { ENDPOINT, decodeEndpoint, encodeEndpoint, formatEndpoint, type Endpoint } from './endpoint.ts';
import type { HandshakeStats } from './handshake-stats.ts';
import type { IndexTable } from './index-table.ts';
import { Keypairs, type Keypair } from './keypairs.ts';
import { ACTIVITY, type LaneHost } from './lane/control.ts';
import { PeerTimers, type TimerActions } from './timers.ts';

/** What all peers of a device share. */
export interface PeerContext {
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly random: Random;
  readonly lane: LaneHost;
  readonly indices: IndexTable<Peer>;
  readonly deadlines: Deadlines;
  readonly handshakes: HandshakeStats;
  readonly logger: Logger;
}

export class Peer implements TimerActions {
  /** Names the peer to the lanes; never given out twice. */
  readonly id: number;
  readonly publicKey: PublicKey;
  readonly timers: PeerTimers;
  readonly cookies: CookieGenerator;
  readonly #context: PeerContext;
  readonly #timestamps: Timestamps;
  readonly #logger: Logger;
  readonly #allowedIps = new Map<string, Prefix>();
  #presharedKey: PresharedKey = PresharedKey.none;
  readonly handshake: Handshake;
  /** Index of the initiation in flight, 0 = none. */
  #initiationIndex = 0;
  #initiatedAtMs = 0;
  readonly #keypairs: Keypairs;
  #endpoint: Endpoint | undefined;
  #lastSentHandshakeMs = Number.NEGATIVE_INFINITY;
  #lastHandshakeWallMs = 0;
  /** By which the last handshake was made. */
  #handshakeEndpoint: Endpoint | undefined;
  /** Clock.now() of the last handshake, and of the last thing that was authentic. */
  #lastHandshakeMs = Number.NEGATIVE_INFINITY;
  #lastReceivedMs = Number.NEGATIVE_INFINITY;
  /** Handshake messages; the lane counts the transport packets. */
  #handshakeTxBytes = 0n;
  #handshakeRxBytes = 0n;

  constructor(id: number, publicKey: PublicKey, identity: LocalIdentity | undefined, context: PeerContext) {
    this.id = id;
    this.publicKey = publicKey;
    this.#context = context;
    this.#timestamps = new Timestamps(context.clock);
    this.#logger = context.logger.child({ peer: publicKey.short });
    this.timers = new PeerTimers(publicKey.toString(), context.deadlines, context.random, this);
    this.cookies = new CookieGenerator(context.crypto, publicKey);
    this.handshake = new Handshake(identity, publicKey, this.#presharedKey, context.random);
    this.#keypairs = new Keypairs(({ index }) => {
      context.lane.removeKeypair(index);
      context.indices.release(index);
    });
    context.lane.addPeer(id);
  }

  // Configuration.

  /** A new private key: running sessions may still receive, but nothing is sent before a new handshake. */
  setIdentity(identity: LocalIdentity | undefined): void {
    this.#dropInitiation();
    this.handshake.rekey(identity);
    this.#keypairs.retire();
    this.#context.lane.useKeypair(this.id, 0);
    this.#lastSentHandshakeMs = Number.NEGATIVE_INFINITY;
  }

  /** Takes effect with the next handshake. Copied. */
  setPresharedKey(key: PresharedKey): void {
    const former = this.#presharedKey;
    this.#presharedKey = new PresharedKey(key.bytes);
    this.handshake.setPresharedKey(this.#presharedKey);
    former.zero();
  }

  setEndpoint(endpoint: Endpoint): void {
    const record = new Uint8Array(ENDPOINT.size);
    encodeEndpoint(endpoint, record, 0);
    this.#useEndpoint(record);
  }

  setPersistentKeepalive(seconds: number): void {
    const wasOff = this.timers.persistentKeepaliveSeconds === 0;
    this.timers.persistentKeepaliveSeconds = seconds;
    this.timers.persistentKeepaliveChanged();
    if (wasOff && seconds > 0 && this.timers.isRunning) this.sendKeepalive();
  }

  /** The device makes sure that no other peer keeps the prefix. */
  addAllowedIp(prefix: Prefix): void {
    this.#allowedIps.set(formatPrefix(prefix), prefix);
    this.#context.lane.addAllowedIp(this.id, prefix.address, prefix.length);
  }

  /** Returns whether the peer had it. */
  removeAllowedIp(prefix: Prefix): boolean {
    if (!this.#allowedIps.delete(formatPrefix(prefix))) return false;
    this.#context.lane.removeAllowedIp(this.id, prefix.address, prefix.length);
    return true;
  }

  get allowedIps(): IterableIterator<Prefix> {
    return this.#allowedIps.values();
  }

  // Life cycle.

  /** The device is up. */
  start(): void {
    if (this.timers.isRunning) return;
    this.timers.start();
    this.#lastSentHandshakeMs = Number.NEGATIVE_INFINITY;
    if (this.timers.persistentKeepaliveSeconds > 0) this.sendKeepalive();
  }

  /** The device is down: nothing of any session survives, but the greatest timestamp of the peer does. */
  stop(): void {
    this.timers.stop();
    this.zeroKeys();
  }

  /**
   * A new lane knows nothing: it gets the peer again, and a new session at once where there was one. The other side has
   * the old one still, and would send into the void until its timers tell.
   */
  rejoin(): void {
    const { lane } = this.#context;
    const hadSession = this.#hasSession(this.#context.clock.now());
    this.zeroKeys();
    lane.addPeer(this.id);
    if (this.#endpoint) this.setEndpoint(this.#endpoint);
    for (const { address, length } of this.#allowedIps.values()) lane.addAllowedIp(this.id, address, length);
    if (hadSession) this.sendInitiation(false);
  }

  /** For good; wipes what is secret. */
  remove(): void {
    this.stop();
    this.handshake.rekey(undefined);
    this.#presharedKey.zero();
    for (const prefix of this.#allowedIps.values()) this.removeAllowedIp(prefix);
    this.#context.lane.removePeer(this.id);
  }

  // What the lane reports.

  activity(bits: number): void {
    const now = this.#context.clock.now();
    if (bits & ACTIVITY.sent) this.timers.authenticatedSent();
    if (bits & ACTIVITY.dataSent) this.timers.dataSent(now);
    if (bits & ACTIVITY.received) {
      this.#lastReceivedMs = now;
      this.timers.authenticatedReceived();
    }
    if (bits & ACTIVITY.dataReceived) this.timers.dataReceived(now);
    if (bits & (ACTIVITY.sent | ACTIVITY.received)) this.timers.traversal(now);
    if (bits & (ACTIVITY.needsSession | ACTIVITY.rekeyOnSend | ACTIVITY.rekeyOnReceive))
      this.sendInitiation(false);
  }

  /** The initiator used the session that this side made as responder: from now on this side may, too. */
  confirmed(index: number): void {
    if (!this.#keypairs.confirmed(index)) return;
    // Its answer would only make a session that the other side has not asked for.
    this.#dropInitiation();
    this.#context.handshakes.completedAsResponder++;
    this.#handshakeComplete();
    this.#context.lane.useKeypair(this.id, index);
    this.#context.lane.sendStaged(this.id);
  }

  roamed(record: Uint8Array): void {
    const before = this.#endpoint && formatEndpoint(this.#endpoint);
    this.#endpoint = decodeEndpoint(record, 0);
    const endpoint = this.#endpoint && formatEndpoint(this.#endpoint);
    // Else only the address of ours that it speaks to is another.
    if (endpoint !== before) this.#logger.log('debug', 'roamed', { endpoint });
  }

  // Handshakes.

  /** TimerActions; also whenever packets wait or the session ages. At most one in REKEY_TIMEOUT. */
  sendInitiation(isRetry: boolean): void {
    if (!isRetry) this.timers.handshakeWanted();
    if (!this.timers.isRunning || !this.#endpoint || !this.handshake.isPossible) return;
    const now = this.#context.clock.now();
    const earliest = this.#lastSentHandshakeMs + REKEY_TIMEOUT;
    if (now < earliest) {
      // With a session this was the lane's last word from before it, or something that will be asked for again.
      if (isRetry || !this.#hasSession(now)) this.timers.handshakePostponed(earliest);
      return;
    }
    this.#initiate(now);
  }

  /**
   * One initiation by way of another endpoint (a record as in endpoint.ts), with everything else left where it is: an
   * answer makes the peer's endpoint follow, and without one nothing was lost. False when the last handshake message
   * was too short a time ago, or none can be made.
   */
  probe(record: Uint8Array): boolean {
    const now = this.#context.clock.now();
    const isTooSoon = now < this.#lastSentHandshakeMs + REKEY_TIMEOUT;
    if (isTooSoon || !this.timers.isRunning || !this.handshake.isPossible) return false;
    this.timers.handshakeWanted();
    this.#initiate(now, record);
    return true;
  }

  #initiate(now: number, by?: Uint8Array): void {
    this.#lastSentHandshakeMs = now;
    this.#dropInitiation();
    this.#initiationIndex = this.#context.indices.allocate(this);
    const message = this.handshake.createInitiation(this.#initiationIndex, this.#timestamps.next());
    if (!message) return;
    this.#initiatedAtMs = now;
    this.#context.handshakes.initiationsSent++;
    this.#sendHandshake(message, now, by);
    this.timers.handshakeInitiated(now);
    this.#logger.log('debug', 'handshake_initiation_sent');
  }

  /** Whatever session there is: somebody wants to know whether the peer answers. */
  startHandshake(): void {
    const earliest = this.#lastSentHandshakeMs + REKEY_TIMEOUT;
    if (this.#context.clock.now() < earliest) this.timers.handshakePostponed(earliest);
    else this.sendInitiation(false);
  }

  /** After `handshake.acceptInitiation`: answers and derives the session, unconfirmed. */
  initiationAccepted(from: Uint8Array): void {
    const now = this.#context.clock.now();
    this.#received(INITIATION.size, from, now);
    this.#context.handshakes.initiationsReceived++;
    this.#logger.log('debug', 'handshake_initiation_received');
    const index = this.#context.indices.allocate(this);
    const message = this.handshake.createResponse(index);
    const keys = this.handshake.deriveKeypair();
    if (!message || !keys) {
      this.#context.indices.release(index);
      return;
    }
    this.#lastSentHandshakeMs = now;
    this.#keypairs.derivedAsResponder(this.#addKeypair(keys, now));
    this.#sendHandshake(message, now);
    this.#logger.log('debug', 'handshake_response_sent');
  }

  /** Returns false when the message is not the answer to the handshake in progress. */
  consumeResponse(message: Uint8Array, from: Uint8Array): boolean {
    if (!this.handshake.consumeResponse(message)) return false;
    // From here on the index names the keypair.
    this.#initiationIndex = 0;
    const now = this.#context.clock.now();
    this.#received(RESPONSE.size, from, now);
    const keys = this.handshake.deriveKeypair();
    if (!keys) return false;
    this.#keypairs.derivedAsInitiator(this.#addKeypair(keys, now));
    this.#context.lane.useKeypair(this.id, keys.localIndex);
    this.#context.handshakes.answered(now - this.#initiatedAtMs);
    this.#handshakeComplete();
    // The first transport packet confirms the keys to the responder: whatever waits, or else a keepalive.
    this.sendKeepalive();
    return true;
  }

  // TimerActions.

  sendKeepalive(): void {
    this.#context.lane.sendKeepalive(this.id);
  }

  clearSource(): void {
    this.#context.lane.clearSource(this.id);
  }

  giveUpHandshake(): void {
    this.#context.handshakes.gaveUp++;
    this.#logger.log('debug', 'handshake_gave_up');
    this.#context.lane.dropStaged(this.id);
  }

  zeroKeys(): void {
    this.#keypairs.clear();
    this.#dropInitiation();
    this.handshake.clear();
    this.#context.lane.dropStaged(this.id);
  }

  state(): PeerState {
    const counters = this.#context.lane.counters(this.id);
    return {
      publicKey: this.publicKey,
      presharedKey: this.#presharedKey,
      endpoint: this.#endpoint,
      lastHandshakeMs: this.#lastHandshakeWallMs,
      txBytes: counters.txBytes + this.#handshakeTxBytes,
      rxBytes: counters.rxBytes + this.#handshakeRxBytes,
      persistentKeepalive: this.timers.persistentKeepaliveSeconds,
      allowedIps: [...this.#allowedIps.values()],
    };
  }

  observe(): PeerObservation {
    const now = this.#context.clock.now();
    return {
      handshakeAgeMs: now - this.#lastHandshakeMs,
      receivedAgeMs: now - this.#lastReceivedMs,
      unansweredMs: Math.max(0, now - this.timers.unansweredSince),
      endpoint: this.#endpoint,
      handshakeEndpoint: this.#handshakeEndpoint,
    };
  }

  #hasSession(now: number): boolean {
    const { current } = this.#keypairs;
    return current !== undefined && now - current.createdAtMs < REJECT_AFTER_TIME;
  }

  #received(size: number, from: Uint8Array, now: number): void {
    this.#handshakeRxBytes += BigInt(size);
    this.#useEndpoint(from);
    this.#lastReceivedMs = now;
    this.timers.authenticatedReceived();
    this.timers.traversal(now);
  }

  #sendHandshake(message: Uint8Array, now: number, by?: Uint8Array): void {
    this.cookies.addMacs(message, now);
    this.#handshakeTxBytes += BigInt(message.length);
    this.timers.authenticatedSent();
    this.timers.traversal(now);
    if (by) this.#context.lane.sendTo(by, message);
    else this.#context.lane.sendHandshake(this.id, message);
  }

  #handshakeComplete(): void {
    this.timers.handshakeComplete();
    this.#lastHandshakeMs = this.#context.clock.now();
    this.#handshakeEndpoint = this.#endpoint;
    this.#lastHandshakeWallMs = this.#context.clock.wall();
    this.#logger.log('debug', 'handshake_completed');
  }

  #useEndpoint(record: Uint8Array): void {
    this.#endpoint = decodeEndpoint(record, 0);
    this.#context.lane.setEndpoint(this.id, record);
  }

  #dropInitiation(): void {
    if (this.#initiationIndex !== 0) this.#context.indices.release(this.#initiationIndex);
    this.#initiationIndex = 0;
    this.handshake.dropInitiation();
  }

  /** Hands the keys to the lane. */
  #addKeypair(keys: SessionKeys, now: number): Keypair {
    this.#context.lane.addKeypair({
      peer: this.id,
      index: keys.localIndex,
      remoteIndex: keys.remoteIndex,
      sendKey: keys.send,
      receiveKey: keys.receive,
      isInitiator: keys.isInitiator,
      createdAtMs: now,
    });
    keys.zero();
    this.timers.sessionDerived(now);
    return { index: keys.localIndex, createdAtMs: now };
  }
}
