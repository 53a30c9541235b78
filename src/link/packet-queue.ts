/**
 * Datagrams that wait for a stream or for the device: a short queue that drops its oldest data when it is full, so that
 * what runs inside the tunnel sees loss early instead of ever longer delays. Handshake messages have places of their
 * own in front.
 */
import type { Slice } from './peer-packet.ts';

/** As the original has it; about 130 kB of full-sized packets. */
export const DATA_PLACES = 100;
const HANDSHAKE_PLACES = 8;

/** Holds what the overlay's MTU makes; larger datagrams are kept in memory of their own. */
const SLOT_SIZE = 2048;
const BLOCK_SIZE: number = (DATA_PLACES + HANDSHAKE_PLACES) * SLOT_SIZE;

/** First byte of a transport data message (whitepaper section 5.4.6). */
const TRANSPORT_DATA = 4;

/** Least bytes of a message of each type 1 to 4, whitepaper section 5.4; data: header and tag. */
const LEAST_SIZES = [0, 148, 92, 64, 32] as const;

/** False for what cannot be a WireGuard message: not worth a place in a queue. */
export function isWireGuard(bytes: Uint8Array, at: number, length: number): boolean {
  const type = bytes[at] as number;
  if (type < 1 || type > TRANSPORT_DATA || length < (LEAST_SIZES[type] as number)) return false;
  return bytes[at + 1] === 0 && bytes[at + 2] === 0 && bytes[at + 3] === 0;
}

/** Memory of queues that are not empty; most never need any. */
export class BlockPool {
  readonly #free: Uint8Array[] = [];
  readonly #maxFree: number;

  constructor(maxFree = 64) {
    this.#maxFree = maxFree;
  }

  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(BLOCK_SIZE);
  }

  give(block: Uint8Array): void {
    if (this.#free.length < this.#maxFree) this.#free.push(block);
  }
}

/** Where a queued datagram lies, until the queue is touched again. */
export interface QueuedDatagram extends Slice {
  bytes: Uint8Array;
}

export class PacketQueue {
  readonly #pool: BlockPool;
  readonly #handshakes = new Ring(HANDSHAKE_PLACES);
  readonly #data = new Ring(DATA_PLACES);
  #block: Uint8Array | undefined;

  constructor(pool: BlockPool) {
    this.#pool = pool;
  }

  get isEmpty(): boolean {
    return this.#handshakes.size === 0 && this.#data.size === 0;
  }

  /** Copies the datagram. True when an older one had to go. */
  push(bytes: Uint8Array, at: number, length: number): boolean {
    this.#block ??= this.#pool.take();
    return bytes[at] === TRANSPORT_DATA
      ? this.#data.push(this.#block, HANDSHAKE_PLACES, bytes, at, length)
      : this.#handshakes.push(this.#block, 0, bytes, at, length);
  }

  /** Where the next datagram lies, handshakes first; it stays in the queue. False when there is none. */
  peek(out: QueuedDatagram): boolean {
    if (!this.#block) return false;
    return this.#handshakes.peek(this.#block, 0, out) || this.#data.peek(this.#block, HANDSHAKE_PLACES, out);
  }

  /** Removes what `peek` showed. */
  drop(): void {
    if (!this.#handshakes.drop()) this.#data.drop();
    if (this.isEmpty) this.clear();
  }

  clear(): void {
    this.#handshakes.clear();
    this.#data.clear();
    if (this.#block) this.#pool.give(this.#block);
    this.#block = undefined;
  }
}

/** A circle of slots in a block. */
class Ring {
  readonly #places: number;
  readonly #lengths: Uint32Array;
  /** Datagrams that no slot holds. */
  readonly #large = new Map<number, Uint8Array>();
  #head = 0;
  size = 0;

  constructor(places: number) {
    this.#places = places;
    this.#lengths = new Uint32Array(places);
  }

  push(block: Uint8Array, firstSlot: number, bytes: Uint8Array, at: number, length: number): boolean {
    const isFull = this.size === this.#places;
    if (isFull) this.drop();
    const place = (this.#head + this.size) % this.#places;
    const datagram = bytes.subarray(at, at + length);
    if (length <= SLOT_SIZE) block.set(datagram, (firstSlot + place) * SLOT_SIZE);
    else this.#large.set(place, Uint8Array.from(datagram));
    this.#lengths[place] = length;
    this.size++;
    return isFull;
  }

  peek(block: Uint8Array, firstSlot: number, out: QueuedDatagram): boolean {
    if (this.size === 0) return false;
    out.length = this.#lengths[this.#head] as number;
    const isLarge = out.length > SLOT_SIZE;
    out.bytes = isLarge ? (this.#large.get(this.#head) as Uint8Array) : block;
    out.at = isLarge ? 0 : (firstSlot + this.#head) * SLOT_SIZE;
    return true;
  }

  drop(): boolean {
    if (this.size === 0) return false;
    if ((this.#lengths[this.#head] as number) > SLOT_SIZE) this.#large.delete(this.#head);
    this.#head = (this.#head + 1) % this.#places;
    this.size--;
    return true;
  }

  clear(): void {
    this.size = 0;
    this.#large.clear();
  }
}
