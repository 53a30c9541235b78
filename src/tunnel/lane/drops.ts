/**
 * Why a packet went no further. The data path never throws: it counts one of these, and the same strings are the metric
 * label. Order is the index in the counters; append only.
 */
export const DROP_REASONS = [
  // Received datagrams, before any cryptography.
  'too_short',
  'unknown_type',
  'unknown_index',
  'expired_keypair',
  'counter_too_large',
  // Received transport packets.
  'bad_tag',
  'replayed',
  'bad_inner_packet',
  'source_not_allowed',
  'ecn_mismatch',
  'tun_refused',
  // Received handshake messages.
  'bad_mac1',
  'no_cookie',
  'rate_limited',
  'handshake_queue_full',
  'unknown_peer',
  'bad_handshake',
  'replayed_timestamp',
  'initiation_flood',
  'bad_cookie_reply',
  // Packets to send.
  'not_ip',
  'no_route',
  'no_endpoint',
  'staged_overflow',
  'no_session',
  // By rules beyond those of the protocol (policy.ts).
  'destination_not_allowed',
  'inbound_limited',
  'outbound_limited',
  'routing_loop',
  // What the TUN hands over contradicts itself.
  'malformed_read',
] as const;

export type DropReason = (typeof DROP_REASONS)[number];

/** What happens to packets from the TUN; all others were received. */
export const OUTBOUND_DROPS: ReadonlySet<DropReason> = new Set([
  'not_ip',
  'no_route',
  'no_endpoint',
  'staged_overflow',
  'no_session',
  'outbound_limited',
  'routing_loop',
  'malformed_read',
]);

/** Index of each reason, for counting without a lookup. */
export const DROP: { readonly [Reason in DropReason]: number } = Object.fromEntries(
  DROP_REASONS.map((reason, index) => [reason, index]),
) as { [Reason in DropReason]: number };

/** 64-bit counters as two u32 each, written by one thread, in memory that others may read. */
export class DropCounters {
  static readonly words: number = DROP_REASONS.length * 2;
  readonly #words: Uint32Array;

  constructor(words: Uint32Array = new Uint32Array(DropCounters.words)) {
    this.#words = words;
  }

  /** `packets` below 2^32. */
  count(reason: number, packets = 1): void {
    const before = this.#words[2 * reason] as number;
    const after = (before + packets) >>> 0;
    this.#words[2 * reason] = after;
    if (after < before) this.#words[2 * reason + 1] = (this.#words[2 * reason + 1] as number) + 1;
  }

  get(reason: DropReason): bigint {
    const at = 2 * DROP[reason];
    return (BigInt(this.#words[at + 1] as number) << 32n) | BigInt(this.#words[at] as number);
  }
}
