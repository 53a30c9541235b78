/**
 * Datagrams that travel in streams instead of UDP, between the streams, which live on the control thread, and the lane,
 * which may run in another one: two rings in the arena. This is the streams' side; the lane's is stream-port.ts.
 */
import type { Arena } from '../core/arena.ts';
import type { QueueFill } from '../core/queue.ts';
import { MESSAGE_TRANSPORT } from '../noise/messages.ts';
import { DATAGRAM, DatagramRing, RING_SIZE } from './datagram-ring.ts';

/** Where datagrams of the device with carrier GRPC_CARRIER go. */
export interface StreamSource {
  /** Takes a copy of the datagram and of what it needs of the endpoint record (endpoint.ts). */
  send(
    endpoint: Uint8Array,
    endpointAt: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    flow: number,
  ): void;
  /** Ends a batch of `send`. */
  flush(): void;
  /** There is room again after `deliver` said no. */
  pull(): void;
}

export interface StreamBridge {
  /**
   * Takes a copy of a datagram for the device. `endpoint` is the sender's record. False when there is no room; the
   * source's `pull` follows when there is.
   */
  deliver(endpoint: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean;
  /** Until then what the device sends is lost. */
  connect(source: StreamSource): void;
  /** How full the rings are, in bytes; undefined while there is no lane. */
  fill(): StreamFill | undefined;
}

export interface StreamFill {
  readonly toLane: QueueFill;
  readonly toStreams: QueueFill;
}

/** Both rings in the arena. */
export const STREAM_RINGS_SIZE: number = 2 * RING_SIZE;

export interface StreamRings {
  readonly toLane: DatagramRing;
  readonly toStreams: DatagramRing;
}

/** For each side a view of its own. */
export function streamRings(arena: Arena, at: number): StreamRings {
  return { toLane: new DatagramRing(arena, at), toStreams: new DatagramRing(arena, at + RING_SIZE) };
}

/** Of each ring, for messages other than data: a handshake finds room however many packets there are. */
const HANDSHAKE_ROOM = 65_536;

/**
 * Bytes handed to the streams in one turn of the event loop, at the end of which their sockets take what they can: so
 * that a burst waits in the ring, and not in the short queue of one stream, which drops.
 */
const TURN_BYTES = 131_072;

/** Bytes of a ring that a datagram beginning with this byte must leave free. */
export function spareFor(type: number): number {
  return type === MESSAGE_TRANSPORT ? HANDSHAKE_ROOM : 0;
}

export interface RingBridgeOptions {
  readonly arena: Arena;
  /** Runs a task once the callback under way is through: queueMicrotask. */
  readonly soon: (task: () => void) => void;
  /** Runs a task in a later turn of the event loop. */
  readonly defer: (task: () => void) => void;
  /** Makes the lane look for datagrams. */
  readonly wakeLane: () => void;
}

export class RingBridge implements StreamBridge {
  readonly #options: RingBridgeOptions;
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  /** Undefined while there is no lane. */
  #rings: StreamRings | undefined;
  #source: StreamSource | undefined;
  #isHandOverPlanned = false;
  /** A datagram found no room. */
  #isWaiting = false;

  constructor(options: RingBridgeOptions) {
    this.#options = options;
    this.#u8 = options.arena.u8;
    this.#u32 = options.arena.u32;
  }

  connect(source: StreamSource): void {
    this.#source = source;
  }

  fill(): StreamFill | undefined {
    return this.#rings && { toLane: this.#rings.toLane.fill, toStreams: this.#rings.toStreams.fill };
  }

  /**
   * A new lane has laid out rings at this arena offset, or two lanes each one pair of them, of which each uses one;
   * undefined: the lane has gone, and with it what is in them.
   */
  use(at: number | undefined, toStreamsAt?: number): void {
    const { arena } = this.#options;
    this.#rings =
      at === undefined
        ? undefined
        : {
            toLane: streamRings(arena, at).toLane,
            toStreams: streamRings(arena, toStreamsAt ?? at).toStreams,
          };
    this.turn();
  }

  deliver(endpoint: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean {
    const record = this.#claim(length, spareFor(bytes[at] as number));
    if (record === 0) return false;
    this.#u8.set(endpoint, record + DATAGRAM.endpoint);
    this.#u8.set(bytes.subarray(at, at + length), record + DATAGRAM.payload);
    // Once for all datagrams of a chunk. Not later: in one turn the event loop may read more than the ring holds.
    if (!this.#isHandOverPlanned) {
      this.#isHandOverPlanned = true;
      this.#options.soon(this.#handOver);
    }
    return true;
  }

  #claim(length: number, spare: number): number {
    const ring = this.#rings?.toLane;
    let record = ring?.claimDatagram(length, spare) ?? 0;
    if (record !== 0) return record;
    ring?.publish();
    ring?.wantRoom();
    record = ring?.claimDatagram(length, spare) ?? 0;
    this.#isWaiting ||= record === 0;
    return record;
  }

  readonly #handOver = (): void => {
    this.#isHandOverPlanned = false;
    const ring = this.#rings?.toLane;
    ring?.publish();
    if (ring?.mustWake() === true) this.#options.wakeLane();
  };

  /** To be called when the lane says that it has sent datagrams or made room. */
  readonly turn = (): void => {
    const ring = this.#rings?.toStreams;
    if (!ring) return;
    this.#drain(ring);
    // What came meanwhile has its turn after the other things on this thread.
    if (!ring.sleep()) this.#options.defer(this.turn);
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#source?.pull();
  };

  #drain(ring: DatagramRing): void {
    const source = this.#source;
    let budget = TURN_BYTES;
    for (let record = ring.next(); record !== 0; record = budget > 0 ? ring.next() : 0) {
      const length = this.#u32[(record + DATAGRAM.length) >> 2] as number;
      const flow = this.#u32[(record + DATAGRAM.flow) >> 2] as number;
      source?.send(this.#u8, record + DATAGRAM.endpoint, this.#u8, record + DATAGRAM.payload, length, flow);
      budget -= DATAGRAM.payload + length;
    }
    ring.release();
    source?.flush();
  }
}
