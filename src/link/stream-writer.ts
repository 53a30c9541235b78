/** Datagrams into one stream: coalesced while the stream takes them, queued while it does not. */
import type { Clock } from '../core/clock.ts';
import { InFlight, type InFlightBudget, MAX_EXTRA_IN_FLIGHT } from './in-flight.ts';
import { BlockPool, PacketQueue, type QueuedDatagram } from './packet-queue.ts';
import { FrameParser } from './grpc-frame.ts';
import {
  MAX_PEER_PACKET_OVERHEAD,
  MAX_PEER_PACKET_SIZE,
  peerPacketOverhead,
  readPeerPacket,
  type Slice,
  writePeerPacketHeader,
} from './peer-packet.ts';

/** The sending side of a stream, whatever transports it. */
export interface StreamSender {
  /** Sends the bytes and calls `StreamWriter.written` once they have left; until then they must not change. */
  write(chunk: Uint8Array): void;
  /** While paused nothing is read, and the other side has to wait once HTTP/2's window is used up. */
  setPaused(isPaused: boolean): void;
}

/** What HTTP/2 puts into one DATA frame unless told otherwise. */
const CHUNK_SIZE = 16_384;

/** Chunks that have been written and can be filled again. */
export class ChunkPool {
  readonly #free: Uint8Array[] = [];
  readonly #maxFree: number;

  constructor(maxFree = 256) {
    this.#maxFree = maxFree;
  }

  take(size: number): Uint8Array {
    if (size > CHUNK_SIZE) return new Uint8Array(size);
    return this.#free.pop() ?? new Uint8Array(CHUNK_SIZE);
  }

  give(chunk: Uint8Array): void {
    const whole = chunk.byteOffset === 0 ? new Uint8Array(chunk.buffer) : chunk;
    if (whole.length === CHUNK_SIZE && this.#free.length < this.#maxFree) this.#free.push(whole);
  }
}

export interface StreamPools {
  readonly blocks: BlockPool;
  readonly chunks: ChunkPool;
  readonly clock: Clock;
  readonly inFlight: InFlightBudget;
}

export function createStreamPools(clock: Clock): StreamPools {
  return {
    blocks: new BlockPool(),
    chunks: new ChunkPool(),
    clock,
    inFlight: { extra: MAX_EXTRA_IN_FLIGHT },
  };
}

export class StreamWriter {
  readonly #chunks: ChunkPool;
  /** Outlives the stream: a stream that takes another one's place sends on what that had left. */
  readonly queue: PacketQueue;
  #sender: StreamSender | undefined;
  #chunk: Uint8Array | undefined;
  #used = 0;
  readonly #inFlight: InFlight;
  readonly #next: QueuedDatagram = { bytes: new Uint8Array(0), at: 0, length: 0 };

  constructor(pools: StreamPools) {
    this.#chunks = pools.chunks;
    this.#inFlight = new InFlight(pools.clock, pools.inFlight);
    this.queue = new PacketQueue(pools.blocks);
  }

  /** Sends through `sender` from now on, first of all what waits in the queue. */
  attach(sender: StreamSender): void {
    this.#forget();
    this.#sender = sender;
    this.#drain();
    this.flush();
  }

  /**
   * The stream is gone: what it had not sent for certain waits for the next one, in front of what waits already. It may
   * arrive twice, which the receiver's replay window sorts out.
   */
  detach(): void {
    const gathered = this.#chunk?.subarray(0, this.#used);
    const chunks = this.#forget();
    if (gathered) chunks.push(gathered);
    this.#sender = undefined;
    if (chunks.length === 0) return;
    const waiting: Uint8Array[] = [];
    const next = this.#next;
    for (; this.queue.peek(next); this.queue.drop()) {
      waiting.push(Uint8Array.from(next.bytes.subarray(next.at, next.at + next.length)));
    }
    const slice: Slice = { at: 0, length: 0 };
    const unsent = new FrameParser(MAX_PEER_PACKET_SIZE, (bytes, at, length) => {
      if (readPeerPacket(bytes, at, length, slice)) this.queue.push(bytes, slice.at, slice.length);
    });
    for (const chunk of chunks) unsent.push(chunk);
    for (const datagram of waiting) this.queue.push(datagram, 0, datagram.length);
  }

  /** Chunks under way may still be read by the old stream, so they do not go back to the pool. */
  #forget(): Uint8Array[] {
    this.#chunk = undefined;
    this.#used = 0;
    return this.#inFlight.clear();
  }

  /** Copies the datagram. False when an older one had to go for it. */
  send(bytes: Uint8Array, at: number, length: number): boolean {
    if (!this.#sender || !this.queue.isEmpty || this.#inFlight.isFull(this.#used))
      return !this.queue.push(bytes, at, length);
    this.#append(bytes, at, length);
    return true;
  }

  /** Hands on what `send` gathered. */
  flush(): void {
    if (!this.#chunk || this.#used === 0) return;
    const chunk = this.#chunk.subarray(0, this.#used);
    this.#chunk = undefined;
    this.#used = 0;
    this.#inFlight.push(chunk);
    this.#sender?.write(chunk);
  }

  /** The oldest chunk has left. */
  written(): void {
    const chunk = this.#inFlight.shift();
    if (!chunk) return;
    this.#chunks.give(chunk);
    if (this.queue.isEmpty) return;
    this.#drain();
    this.flush();
  }

  #drain(): void {
    while (!this.#inFlight.isFull(this.#used) && this.queue.peek(this.#next)) {
      this.#append(this.#next.bytes, this.#next.at, this.#next.length);
      this.queue.drop();
    }
  }

  #append(bytes: Uint8Array, at: number, length: number): void {
    const need = peerPacketOverhead(length) + length;
    if (this.#chunk && this.#used + need > this.#chunk.length) this.flush();
    this.#chunk ??= this.#chunks.take(length + MAX_PEER_PACKET_OVERHEAD);
    const start = writePeerPacketHeader(this.#chunk, this.#used, length);
    this.#chunk.set(bytes.subarray(at, at + length), start);
    this.#used = start + length;
  }
}
