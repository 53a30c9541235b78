/** Datagrams in a ring of the arena: what their records hold. */
import type { Arena } from '../core/arena.ts';
import { RECORD_HEAD, RecordRing, ringSize } from '../core/ring.ts';
import { ENDPOINT } from './endpoint.ts';

export const DATAGRAM = {
  /** u32, of the payload. */
  length: RECORD_HEAD,
  /** u32: datagrams of different flows may overtake each other. */
  flow: 8,
  endpoint: 16,
  payload: 16 + ENDPOINT.size,
} as const;

const CAPACITY: number = 1 << 21;

/** Bytes in the arena. */
export const RING_SIZE: number = ringSize(CAPACITY);

export class DatagramRing extends RecordRing {
  readonly #lengths: Uint32Array;

  /** `at` is a multiple of 64. */
  constructor(arena: Arena, at: number) {
    super(arena.u32, at, CAPACITY);
    this.#lengths = arena.u32;
  }

  /**
   * Room for a datagram of so many bytes: the arena offset of its record, 0 when there is none. `spare` bytes remain
   * free. Endpoint, flow and payload are the caller's to write.
   */
  claimDatagram(length: number, spare: number): number {
    const record = this.claim(DATAGRAM.payload + length, spare);
    if (record !== 0) this.#lengths[(record + DATAGRAM.length) >> 2] = length;
    return record;
  }
}
