/**
 * Handshake messages from the network, in order, a few per turn of the event loop: MAC and cookie checks, the rate limit
 * under load, then the peer concerned (whitepaper sections 5.3 and 5.4; order of checks as in the kernel's receive.c).
 * A flood fills a bounded queue and turns cookies on; it never holds up the loop.
 */
import { readU32le } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { UNDER_LOAD_AFTER_TIME } from '../noise/constants.ts';
import type { CookieChecker } from '../noise/cookie.ts';
import { openInitiation } from '../noise/handshake.ts';
import type { LocalIdentity } from '../noise/identity.ts';
import type { PublicKey } from '../noise/keys.ts';
import {
  COOKIE_REPLY,
  MESSAGE_COOKIE_REPLY,
  MESSAGE_INITIATION,
  RESPONSE,
  classify,
} from '../noise/messages.ts';
import { decodeEndpoint, type Endpoint } from './endpoint.ts';
import type { IndexTable } from './index-table.ts';
import type { LaneCommands } from './lane/control.ts';
import { DROP, type DropCounters } from './lane/drops.ts';
import type { Peer } from './peer.ts';
import { RateLimiter } from './rate-limiter.ts';

export const MAX_QUEUED_HANDSHAKES = 1024;
const UNDER_LOAD_QUEUE: number = MAX_QUEUED_HANDSHAKES / 8;
/**
 * About 2 ms, so that packets and timers get their turn, in units of a MAC check: 8 key exchanges, or as much garbage as a
 * fast flood brings meanwhile, which must not hold the queue against those who have business here.
 */
const WORK_PER_TURN = 256;
const KEY_EXCHANGE_WORK = 32;
const REFUSAL_WORK = 1;

export interface HandshakeContext {
  readonly clock: Clock;
  readonly lane: LaneCommands;
  readonly indices: IndexTable<Peer>;
  readonly drops: DropCounters;
  readonly logger: Logger;
  readonly defer: (task: () => void) => void;
  /** Undefined while the device has no private key. */
  readonly identity: () => LocalIdentity | undefined;
  readonly cookies: () => CookieChecker | undefined;
  readonly findPeer: (publicKey: PublicKey) => Peer | undefined;
}

interface QueuedMessage {
  readonly datagram: Uint8Array;
  readonly endpoint: Uint8Array;
}

export class HandshakeQueue {
  readonly #context: HandshakeContext;
  readonly #rateLimiter = new RateLimiter();
  /**
   * A cookie reply is the dearest answer to a message that proved nothing, and one that a source asks for again and again
   * it does not listen to. Without room for all sources, each gets its reply: addresses that are made up fill the table.
   */
  readonly #replyLimiter = new RateLimiter(true);
  #queue: QueuedMessage[] = [];
  #head = 0;
  #scheduled = false;
  #loadedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(context: HandshakeContext) {
    this.#context = context;
  }

  push(datagram: Uint8Array, endpoint: Uint8Array): void {
    if (this.length >= MAX_QUEUED_HANDSHAKES) {
      this.#context.drops.count(DROP.handshake_queue_full);
      return;
    }
    this.#queue.push({ datagram, endpoint });
    this.#schedule();
  }

  /** Forgets everything queued. */
  clear(): void {
    this.#queue = [];
    this.#head = 0;
  }

  get length(): number {
    return this.#queue.length - this.#head;
  }

  /** True from the moment the queue is an eighth full until one second after the last such moment. */
  isUnderLoad(now: number): boolean {
    if (this.length >= UNDER_LOAD_QUEUE) this.#loadedUntilMs = now + UNDER_LOAD_AFTER_TIME;
    return now < this.#loadedUntilMs;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#context.defer(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    for (let work = 0; work < WORK_PER_TURN && this.length > 0;) {
      const now = this.#context.clock.now();
      const underLoad = this.isUnderLoad(now);
      const message = this.#queue[this.#head++] as QueuedMessage;
      work += this.#process(message, underLoad, now);
    }
    if (this.#head > MAX_QUEUED_HANDSHAKES) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    if (this.length > 0) this.#schedule();
    else this.clear();
  }

  /** Returns the work that it was. */
  #process({ datagram, endpoint }: QueuedMessage, underLoad: boolean, now: number): number {
    const type = classify(datagram, 0, datagram.length);
    if (type === MESSAGE_COOKIE_REPLY) {
      this.#consumeCookieReply(datagram);
      return REFUSAL_WORK;
    }
    const from = decodeEndpoint(endpoint, 0);
    if (!from || !this.#admit(datagram, from, endpoint, underLoad, now)) return REFUSAL_WORK;
    if (type === MESSAGE_INITIATION) this.#consumeInitiation(datagram, endpoint, now);
    else this.#consumeResponse(datagram, endpoint);
    return KEY_EXCHANGE_WORK;
  }

  /** MAC1 always; under load also a cookie and the rate limit. */
  #admit(datagram: Uint8Array, from: Endpoint, record: Uint8Array, underLoad: boolean, now: number): boolean {
    const { drops, lane } = this.#context;
    const cookies = this.#context.cookies();
    // A device without private key has no mac1 that could be right.
    if (!cookies?.checkMac1(datagram)) {
      drops.count(DROP.bad_mac1);
      return false;
    }
    if (!underLoad) return true;
    const source = sourceBytes(from);
    if (!cookies.checkMac2(datagram, source, now)) {
      drops.count(DROP.no_cookie);
      if (this.#replyLimiter.allow(from.address, now))
        lane.sendTo(record, cookies.createReply(datagram, source, now));
      return false;
    }
    if (!this.#rateLimiter.allow(from.address, now)) {
      drops.count(DROP.rate_limited);
      return false;
    }
    return true;
  }

  #consumeInitiation(datagram: Uint8Array, endpoint: Uint8Array, now: number): void {
    const { drops } = this.#context;
    const identity = this.#context.identity();
    if (!identity) return;
    const opened = openInitiation(identity, datagram);
    if (!opened) {
      drops.count(DROP.bad_handshake);
      return;
    }
    const peer = this.#context.findPeer(opened.remoteStatic);
    if (!peer) {
      opened.symmetric.zero();
      drops.count(DROP.unknown_peer);
      return;
    }
    const result = peer.handshake.acceptInitiation(opened, now);
    switch (result) {
      case 'ok':
        peer.initiationAccepted(endpoint);
        return;
      case 'replayed_timestamp':
        drops.count(DROP.replayed_timestamp);
        return;
      case 'flood':
        drops.count(DROP.initiation_flood);
        return;
      case 'bad_tag':
      case 'impossible':
        drops.count(DROP.bad_handshake);
        return;
      default:
        result satisfies never;
    }
  }

  #consumeResponse(datagram: Uint8Array, endpoint: Uint8Array): void {
    const peer = this.#context.indices.get(readU32le(datagram, RESPONSE.receiver));
    if (!peer) this.#context.drops.count(DROP.unknown_index);
    else if (!peer.consumeResponse(datagram, endpoint)) this.#context.drops.count(DROP.bad_handshake);
  }

  /** Only remembered: the next retry carries the cookie. It proves nothing about who sent it, so nothing roams. */
  #consumeCookieReply(datagram: Uint8Array): void {
    const peer = this.#context.indices.get(readU32le(datagram, COOKIE_REPLY.receiver));
    if (!peer) this.#context.drops.count(DROP.unknown_index);
    else if (!peer.cookies.consumeReply(datagram, this.#context.clock.now())) {
      this.#context.drops.count(DROP.bad_cookie_reply);
    }
  }
}

/** What a cookie is bound to: address and port (leaving the port out was a bug in other implementations). */
function sourceBytes(from: Endpoint): Uint8Array {
  const source = new Uint8Array(from.address.length + 2);
  source.set(from.address);
  source[from.address.length] = from.port >> 8;
  source[from.address.length + 1] = from.port;
  return source;
}
