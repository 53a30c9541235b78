/** The lane's side of datagrams that travel in streams, and the port that carries them beside those of UDP. */
import type { Arena } from '../core/arena.ts';
import { DatagramBatch, type DatagramPort, type SendErrors } from './bind.ts';
import { DATAGRAM } from './datagram-ring.ts';
import { ENDPOINT, GRPC_CARRIER } from './endpoint.ts';
import { spareFor, STREAM_RINGS_SIZE, type StreamRings, streamRings } from './stream-bridge.ts';

const MAX_DATAGRAM = 65_535;

export interface StreamPortOptions {
  readonly arena: Arena;
  /** Shared with the port for UDP, which counts the same things. */
  readonly sendErrors: SendErrors;
  /** Makes the streams' side look at the rings. */
  readonly wakeStreams: () => void;
}

export class StreamPort implements DatagramPort {
  readonly batchSize = 512;
  readonly sendErrors: SendErrors;
  /** Arena offset of the rings, for `RingBridge.use`. */
  readonly ringsAt: number;
  readonly #arena: Arena;
  readonly #rings: StreamRings;
  readonly #wakeStreams: () => void;
  #ready: (() => void) | undefined;

  constructor({ arena, sendErrors, wakeStreams }: StreamPortOptions) {
    this.sendErrors = sendErrors;
    this.ringsAt = arena.alloc(STREAM_RINGS_SIZE);
    this.#arena = arena;
    this.#rings = streamRings(arena, this.ringsAt);
    this.#wakeStreams = wakeStreams;
    // The first datagram wakes a lane that has not looked for any yet.
    this.#rings.toLane.sleep();
  }

  onReadable(ready: () => void): void {
    this.#ready = ready;
  }

  /** Where the lane does not poll. */
  readable(): void {
    this.#ready?.();
  }

  receive(batch: DatagramBatch): number {
    batch.clear();
    const { u32 } = this.#arena;
    const ring = this.#rings.toLane;
    ring.release();
    if (ring.mustTellRoom()) this.#wakeStreams();
    const limit = Math.min(batch.capacity, this.batchSize);
    while (batch.count < limit) {
      const record = ring.next();
      if (record !== 0) {
        const length = u32[(record + DATAGRAM.length) >> 2] as number;
        batch.push(record + DATAGRAM.payload, length, record + DATAGRAM.endpoint, 0);
      } else if (batch.count > 0 || ring.sleep()) {
        break;
      }
    }
    return batch.count;
  }

  send(batch: DatagramBatch): void {
    for (let i = 0; i < batch.count; i++) this.append(batch, i);
    this.flush();
  }

  /** Datagram `i` goes out with the next `flush`. */
  append(batch: DatagramBatch, i: number): void {
    const { u8, u32 } = this.#arena;
    const endpoint = batch.endpoint[i] as number;
    if (this.#arena.u16[(endpoint + ENDPOINT.family) >> 1] === 0) {
      this.#count('unreachable');
      return;
    }
    const at = batch.at[i] as number;
    const length = batch.length[i] as number;
    if (length > MAX_DATAGRAM) {
      this.#count('tooLarge');
      return;
    }
    const record = this.#rings.toStreams.claimDatagram(length, spareFor(u8[at] as number));
    if (record === 0) {
      this.#count('full');
      return;
    }
    u32[(record + DATAGRAM.flow) >> 2] = batch.flow[i] as number;
    u32.copyWithin((record + DATAGRAM.endpoint) >> 2, endpoint >> 2, (endpoint + ENDPOINT.size) >> 2);
    u8.copyWithin(record + DATAGRAM.payload, at, at + length);
  }

  flush(): void {
    this.#rings.toStreams.publish();
    if (this.#rings.toStreams.mustWake()) this.#wakeStreams();
  }

  #count(cause: keyof SendErrors): void {
    this.sendErrors[cause] = (this.sendErrors[cause] + 1) >>> 0;
  }
}

/** Both carriers in one port: each datagram goes by the carrier that its endpoint names, and both take turns. */
export class CarrierPort implements DatagramPort {
  readonly batchSize: number;
  readonly sendErrors: SendErrors;
  readonly #arena: Arena;
  readonly #udp: DatagramPort;
  readonly #streams: StreamPort;
  /** Those of a mixed batch that go by UDP. */
  readonly #plain: DatagramBatch;
  #streamsFirst = false;

  constructor(arena: Arena, udp: DatagramPort, streams: StreamPort) {
    this.batchSize = udp.batchSize;
    this.sendErrors = udp.sendErrors;
    this.#arena = arena;
    this.#udp = udp;
    this.#streams = streams;
    this.#plain = new DatagramBatch(udp.batchSize);
  }

  get receiveOverflow(): number {
    return this.#udp.receiveOverflow ?? 0;
  }

  get usesGso(): boolean | undefined {
    return this.#udp.usesGso;
  }

  get lostSources(): number {
    return this.#udp.lostSources ?? 0;
  }

  routesChanged(): void {
    this.#udp.routesChanged?.();
  }

  onReadable(ready: () => void): void {
    this.#udp.onReadable(ready);
    this.#streams.onReadable(ready);
  }

  receive(batch: DatagramBatch): number {
    this.#streamsFirst = !this.#streamsFirst;
    if (this.#streamsFirst) return this.#streams.receive(batch) || this.#udp.receive(batch);
    return this.#udp.receive(batch) || this.#streams.receive(batch);
  }

  send(batch: DatagramBatch): void {
    const plain = this.#plain;
    plain.clear();
    for (let i = 0; i < batch.count; i++) {
      if (this.#isStream(batch.endpoint[i] as number)) this.#streams.append(batch, i);
      else plain.copy(batch, i);
    }
    if (plain.count < batch.count) this.#streams.flush();
    if (plain.count > 0) this.#udp.send(plain);
  }

  #isStream(endpoint: number): boolean {
    return this.#arena.u32[(endpoint + ENDPOINT.carrier) >> 2] === GRPC_CARRIER;
  }
}
