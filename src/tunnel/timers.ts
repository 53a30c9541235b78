/**
 * The five timers of one peer (whitepaper section 6). The rest of the code only announces facts; what a fact means for
 * the timers is written here and nowhere else.
 */
import { uniform, type Random } from '../core/random.ts';
import {
  KEEPALIVE_TIMEOUT,
  MAX_TIMER_HANDSHAKES,
  NEW_HANDSHAKE_TIMEOUT,
  REKEY_TIMEOUT,
  REKEY_TIMEOUT_JITTER_MAX,
  ZERO_KEYS_AFTER_TIME,
} from '../noise/constants.ts';
import type { Deadline, Deadlines } from './deadlines.ts';

/** What the timers make the peer do. */
export interface TimerActions {
  /** `isRetry` keeps the count of attempts. */
  sendInitiation(isRetry: boolean): void;
  sendKeepalive(): void;
  /** The session or the way to the peer is in doubt: stop insisting on the source address. */
  clearSource(): void;
  /** Nobody answered for REKEY_ATTEMPT_TIME. */
  giveUpHandshake(): void;
  zeroKeys(): void;
}

export class PeerTimers {
  readonly #random: Random;
  readonly #actions: TimerActions;
  readonly #retransmitHandshake: Deadline;
  readonly #sendKeepalive: Deadline;
  readonly #newHandshake: Deadline;
  readonly #zeroKeys: Deadline;
  readonly #persistentKeepalive: Deadline;
  #attempts = 0;
  #needAnotherKeepalive = false;
  #unansweredSince: number = Infinity;
  #isRunning = false;
  /** Seconds; 0 = off. */
  persistentKeepaliveSeconds = 0;

  constructor(name: string, deadlines: Deadlines, random: Random, actions: TimerActions) {
    this.#random = random;
    this.#actions = actions;
    this.#retransmitHandshake = deadlines.create(`${name} retransmit-handshake`, (now) =>
      this.#expireRetransmit(now),
    );
    this.#sendKeepalive = deadlines.create(`${name} send-keepalive`, (now) => this.#expireKeepalive(now));
    this.#newHandshake = deadlines.create(`${name} new-handshake`, () => {
      this.#actions.clearSource();
      this.#actions.sendInitiation(false);
    });
    this.#zeroKeys = deadlines.create(`${name} zero-key-material`, () => this.#actions.zeroKeys());
    this.#persistentKeepalive = deadlines.create(`${name} persistent-keepalive`, (now) => {
      // Armed anew before it can fail to send anything, so that a time without key or endpoint does not end it.
      this.traversal(now);
      this.#actions.sendKeepalive();
    });
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  start(): void {
    this.#isRunning = true;
    this.#attempts = 0;
    this.#needAnotherKeepalive = false;
  }

  /** Clock.now() of the first data packet or initiation that nothing authentic has come after; Infinity: there is none. */
  get unansweredSince(): number {
    return this.#unansweredSince;
  }

  /** Cancels everything; until `start` facts are ignored. */
  stop(): void {
    this.#isRunning = false;
    this.#unansweredSince = Infinity;
    for (const deadline of this.#all()) deadline.remove();
  }

  /** A data packet (not a keepalive) was sent. */
  dataSent(now: number): void {
    if (!this.#isRunning) return;
    this.#unansweredSince = Math.min(this.#unansweredSince, now);
    if (!this.#newHandshake.isArmed) this.#newHandshake.arm(now + NEW_HANDSHAKE_TIMEOUT + this.#jitter());
  }

  /** An authenticated data packet (not a keepalive) was received. */
  dataReceived(now: number): void {
    if (!this.#isRunning) return;
    if (this.#sendKeepalive.isArmed) this.#needAnotherKeepalive = true;
    else this.#sendKeepalive.arm(now + KEEPALIVE_TIMEOUT);
  }

  /** Anything authenticated was sent: data, keepalive or handshake. */
  authenticatedSent(): void {
    this.#sendKeepalive.cancel();
  }

  /** Anything authenticated was received: data, keepalive or handshake. */
  authenticatedReceived(): void {
    this.#unansweredSince = Infinity;
    this.#newHandshake.cancel();
  }

  /** Either of the two above, in either direction: NAT mappings were refreshed. */
  traversal(now: number): void {
    if (this.#isRunning && this.persistentKeepaliveSeconds > 0) {
      this.#persistentKeepalive.arm(now + this.persistentKeepaliveSeconds * 1000);
    }
  }

  /** Somebody wants a handshake who is not the retransmit timer: the full REKEY_ATTEMPT_TIME starts anew. */
  handshakeWanted(): void {
    this.#attempts = 0;
  }

  /** A handshake initiation was sent. */
  handshakeInitiated(now: number): void {
    if (!this.#isRunning) return;
    this.#unansweredSince = Math.min(this.#unansweredSince, now);
    this.#retransmitHandshake.arm(now + REKEY_TIMEOUT + this.#jitter());
  }

  /**
   * The spacing forbids an initiation before `earliest`. Unlike in the kernel it is not forgotten: what waits may be the
   * only packet that there will ever be.
   */
  handshakePostponed(earliest: number): void {
    if (this.#isRunning && !this.#retransmitHandshake.isArmed)
      this.#retransmitHandshake.arm(earliest + this.#jitter());
  }

  /** The response came (initiator), or the first packet on a new session (responder). */
  handshakeComplete(): void {
    this.#retransmitHandshake.cancel();
    this.#attempts = 0;
  }

  /** New session keys exist. */
  sessionDerived(now: number): void {
    if (this.#isRunning) this.#zeroKeys.arm(now + ZERO_KEYS_AFTER_TIME);
  }

  persistentKeepaliveChanged(): void {
    if (this.persistentKeepaliveSeconds === 0) this.#persistentKeepalive.cancel();
  }

  #expireRetransmit(now: number): void {
    if (this.#attempts > MAX_TIMER_HANDSHAKES) {
      this.#sendKeepalive.cancel();
      this.#actions.giveUpHandshake();
      if (!this.#zeroKeys.isArmed) this.#zeroKeys.arm(now + ZERO_KEYS_AFTER_TIME);
      return;
    }
    this.#attempts++;
    this.#actions.clearSource();
    this.#actions.sendInitiation(true);
  }

  #expireKeepalive(now: number): void {
    this.#actions.sendKeepalive();
    if (!this.#needAnotherKeepalive) return;
    this.#needAnotherKeepalive = false;
    this.#sendKeepalive.arm(now + KEEPALIVE_TIMEOUT);
  }

  #jitter(): number {
    return uniform(this.#random, REKEY_TIMEOUT_JITTER_MAX + 1);
  }

  #all(): Deadline[] {
    return [
      this.#retransmitHandshake,
      this.#sendKeepalive,
      this.#newHandshake,
      this.#zeroKeys,
      this.#persistentKeepalive,
    ];
  }
}
