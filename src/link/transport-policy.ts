/**
 * UDP or the tunnel: what to ask the gateway for. `auto` begins with UDP, takes the tunnel when UDP does not answer, and
 * looks now and then whether UDP does again; the more often that went wrong, the more rarely.
 */
import type { Random } from '../core/random.ts';

export type Transport = 'auto' | 'udp' | 'grpc';

/** Time in the tunnel before the first look, and the most between two. */
export const FIRST_PROBE_AFTER = 60_000;
export const MAX_PROBE_AFTER: number = 30 * 60_000;
/** UDP that lasted this long was no accident: the next failure counts as a first one. */
const GOOD_UDP_AFTER: number = 10 * 60_000;

export class TransportPolicy {
  readonly #transport: Transport;
  readonly #random: Random;
  #isTunnelWanted: boolean;
  #probeAfter = FIRST_PROBE_AFTER;
  #udpSince: number | undefined;

  constructor(transport: Transport, random: Random) {
    this.#transport = transport;
    this.#random = random;
    this.#isTunnelWanted = transport === 'grpc';
  }

  /** The hint of the next Provision. */
  get wantsTunnel(): boolean {
    return this.#isTunnelWanted;
  }

  get isAutomatic(): boolean {
    return this.#transport === 'auto';
  }

  /** UDP works: a handshake came through. */
  udpWorks(now: number): void {
    this.#udpSince ??= now;
    this.#isTunnelWanted = this.#transport === 'grpc';
  }

  /** UDP does not answer on any endpoint. True when the tunnel is to be tried instead. */
  udpFailed(now: number): boolean {
    if (!this.isAutomatic) return false;
    if (this.#udpSince !== undefined) {
      const wasGood = now - this.#udpSince >= GOOD_UDP_AFTER;
      this.#probeAfter = wasGood ? FIRST_PROBE_AFTER : Math.min(MAX_PROBE_AFTER, 2 * this.#probeAfter);
    }
    this.#udpSince = undefined;
    this.#isTunnelWanted = true;
    return true;
  }

  /** The tunnel cannot be had or does not answer: perhaps UDP does. */
  tunnelFailed(): void {
    if (this.isAutomatic) this.#isTunnelWanted = false;
  }

  /** UDP still does not answer. */
  probeFailed(): void {
    this.#probeAfter = Math.min(MAX_PROBE_AFTER, 2 * this.#probeAfter);
  }

  /** Another network: what was learned about UDP is worth nothing. */
  forget(): void {
    this.#probeAfter = FIRST_PROBE_AFTER;
  }

  /** Milliseconds until UDP is looked at again, up to a fifth more or less, so that many machines do not do it as one. */
  probeDelay(): number {
    return this.#probeAfter * (0.8 + (0.4 * this.#random.u32()) / 2 ** 32);
  }
}
