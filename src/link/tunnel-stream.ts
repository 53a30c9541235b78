/** One client's streams: framing in, framing out, and how they end. */
import type { SocketAddress } from '../core/ip.ts';
import { FrameParser } from './grpc-frame.ts';
import { STATUS, type Status } from './grpc-status.ts';
import { isWireGuard, PacketQueue, type QueuedDatagram } from './packet-queue.ts';
import { MAX_PEER_PACKET_SIZE, readPeerPacket, type Slice } from './peer-packet.ts';
import type { DatagramSink, StreamTable } from './stream-table.ts';
import { type StreamPools, type StreamSender, StreamWriter } from './stream-writer.ts';

// Clients compare code and text; these two end their relay for good.
export const PEER_NOT_ALLOWED: Status = { code: STATUS.PERMISSION_DENIED, message: 'peer not allowed' };
export const PEER_REPLACED: Status = { code: STATUS.ABORTED, message: 'peer replaced' };

/** A client that goes away, or merely half-closes: there is no one-way tunnel. */
export const CLIENT_CLOSED: Status = { code: STATUS.CANCELLED, message: 'context canceled' };

/** A stream as its transport shows it. */
export interface StreamCarrier extends StreamSender {
  /** Sends the status and closes. Idempotent; nothing is called back afterwards. */
  end(status: Status): void;
}

export class TunnelStream {
  readonly #table: StreamTable;
  readonly #peer: TunnelPeer;
  readonly lane: number;
  readonly carrier: StreamCarrier;
  readonly #parser: FrameParser;
  readonly #slice: Slice = { at: 0, length: 0 };
  #isMalformed = false;

  constructor(table: StreamTable, peer: TunnelPeer, lane: number, carrier: StreamCarrier) {
    this.#table = table;
    this.#peer = peer;
    this.lane = lane;
    this.carrier = carrier;
    this.#parser = new FrameParser(MAX_PEER_PACKET_SIZE, (bytes, at, length) =>
      this.#message(bytes, at, length),
    );
  }

  /** Bytes from the client, split anywhere; they are not kept. */
  receive(chunk: Uint8Array): void {
    const error = this.#parser.push(chunk);
    if (error === undefined && !this.#isMalformed) return;
    this.#table.ended(this.#peer, this, 'protocol_error');
    this.end(
      error === 'too_large'
        ? {
            code: STATUS.RESOURCE_EXHAUSTED,
            message: `a message is larger than ${MAX_PEER_PACKET_SIZE} bytes`,
          }
        : error === 'compressed'
          ? { code: STATUS.UNIMPLEMENTED, message: 'compressed messages are not supported' }
          : { code: STATUS.INTERNAL, message: 'a message is not a PeerPacket' },
    );
  }

  /** The oldest chunk given to the carrier has left. */
  written(): void {
    this.#peer.written(this);
  }

  /** The client closed its side, or the connection broke. */
  closed(): void {
    this.#table.ended(this.#peer, this, 'closed');
    this.end(CLIENT_CLOSED);
  }

  end(status: Status): void {
    this.carrier.end(status);
  }

  #message(bytes: Uint8Array, at: number, length: number): void {
    const slice = this.#slice;
    if (!readPeerPacket(bytes, at, length, slice)) {
      this.#isMalformed = true;
      return;
    }
    // A replaced stream has no say any more.
    if (!this.#peer.has(this)) return;
    if (isWireGuard(bytes, slice.at, slice.length))
      this.#table.receive(this.#peer, bytes, slice.at, slice.length);
    else this.#table.counters.drops.not_wireguard++;
  }
}

interface Lane {
  readonly writer: StreamWriter;
  stream: TunnelStream | undefined;
}

/** A client under one virtual endpoint. */
export class TunnelPeer {
  readonly address: SocketAddress;
  /** `[address]:port`. */
  readonly name: string;
  readonly publicKey: string;
  /** Endpoint record, see tunnel/endpoint.ts. */
  readonly endpoint: Uint8Array;
  /** Datagrams that the device had no room for. */
  readonly inbound: PacketQueue;
  /** Next peer in the same slot of the table. */
  chained: TunnelPeer | undefined;
  isMarkedDirty = false;
  readonly #pools: StreamPools;
  readonly #lanes: (Lane | undefined)[] = [];
  #open: Lane[] = [];
  readonly #next: QueuedDatagram = { bytes: new Uint8Array(0), at: 0, length: 0 };
  #isPaused = false;

  constructor(
    address: SocketAddress,
    name: string,
    publicKey: string,
    endpoint: Uint8Array,
    pools: StreamPools,
  ) {
    this.address = address;
    this.name = name;
    this.publicKey = publicKey;
    this.endpoint = endpoint;
    this.#pools = pools;
    this.inbound = new PacketQueue(pools.blocks);
  }

  is(address: Uint8Array, at: number, port: number): boolean {
    const own = this.address.address;
    if (this.address.port !== port) return false;
    for (let i = 0; i < own.length; i++) if (own[i] !== address[at + i]) return false;
    return true;
  }

  get openLanes(): number {
    return this.#open.length;
  }

  streams(): TunnelStream[] {
    return this.#open.flatMap(({ stream }) => stream ?? []);
  }

  has(stream: TunnelStream): boolean {
    return this.#lanes[stream.lane]?.stream === stream;
  }

  /** Returns the stream whose place the new one takes, with everything that one had not sent. */
  attach(stream: TunnelStream): TunnelStream | undefined {
    const lane = (this.#lanes[stream.lane] ??= { writer: new StreamWriter(this.#pools), stream: undefined });
    const replaced = lane.stream;
    if (replaced) lane.writer.detach();
    lane.stream = stream;
    this.#open = this.#lanes.filter((other) => other?.stream !== undefined) as Lane[];
    lane.writer.attach(stream.carrier);
    if (this.#isPaused) stream.carrier.setPaused(true);
    return replaced;
  }

  /** False when another stream has its place already. */
  detach(stream: TunnelStream): boolean {
    const lane = this.#lanes[stream.lane];
    if (lane?.stream !== stream) return false;
    lane.stream = undefined;
    lane.writer.detach();
    lane.writer.queue.clear();
    this.#open = this.#open.filter((other) => other !== lane);
    return true;
  }

  send(bytes: Uint8Array, at: number, length: number, flow: number): boolean {
    const lane = this.#open[this.#open.length === 1 ? 0 : flow % this.#open.length];
    return lane !== undefined && lane.writer.send(bytes, at, length);
  }

  flush(): void {
    for (const lane of this.#open) lane.writer.flush();
  }

  written(stream: TunnelStream): void {
    const lane = this.#lanes[stream.lane];
    if (lane?.stream === stream) lane.writer.written();
  }

  /** Of all its streams. */
  setPaused(isPaused: boolean): void {
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    for (const { stream } of this.#open) stream?.carrier.setPaused(isPaused);
  }

  /** Hands the next waiting datagram on; false when the sink has no room. */
  deliverNext(sink: DatagramSink): boolean {
    const next = this.#next;
    if (!this.inbound.peek(next)) return true;
    if (!sink.deliver(this.endpoint, next.bytes, next.at, next.length)) return false;
    this.inbound.drop();
    return true;
  }
}
