/**
 * The gateway's end of WireGuard over gRPC: which streams are open, whose they are, and the datagrams between them and
 * the device. Knows nothing of HTTP/2.
 */
import { type Clock, systemClock } from '../core/clock.ts';
import { type Address, formatSocketAddress, parseSocketAddress, type SocketAddress } from '../core/ip.ts';
import { encodeEndpoint, ENDPOINT, GRPC_CARRIER } from '../tunnel/endpoint.ts';
import { AllowList } from './allow-list.ts';
import { STATUS, type Status } from './grpc-status.ts';
import { createStreamPools, type StreamPools } from './stream-writer.ts';
import {
  PEER_NOT_ALLOWED,
  PEER_REPLACED,
  TunnelPeer,
  TunnelStream,
  type StreamCarrier,
} from './tunnel-stream.ts';

/** Where datagrams from streams go: the device's bind. */
export interface DatagramSink {
  /**
   * Takes a copy of the datagram. `endpoint` is the sender's record as in tunnel/endpoint.ts. False when there is no
   * room: the datagram then waits, and the sink calls `StreamTable.pull` once there is.
   */
  deliver(endpoint: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean;
}

export type StreamDrop =
  /** No stream of that endpoint is open. */
  | 'no_stream'
  /** The client takes datagrams too slowly: its oldest one was dropped. */
  | 'outbound_full'
  /** The device takes datagrams too slowly: the client's oldest one was dropped. */
  | 'inbound_full'
  | 'not_wireguard';

export type StreamEnd = 'closed' | 'replaced' | 'revoked' | 'protocol_error' | 'shutdown';

export interface StreamCounters {
  opened: number;
  refused: number;
  rxDatagrams: number;
  rxBytes: number;
  txDatagrams: number;
  txBytes: number;
  readonly drops: Record<StreamDrop, number>;
  readonly ends: Record<StreamEnd, number>;
}

/** Streams of one client over which flows are spread. */
export const MAX_LANES = 4;
/** Endpoints with one virtual address and different ports that a peer may use at the same time. */
const MAX_ENDPOINTS_PER_PEER = 4;

const STARTING: Status = { code: STATUS.UNAVAILABLE, message: 'gateway is starting' };
const GONE: Status = { code: STATUS.UNAVAILABLE, message: 'virtual address is no longer in use' };

export interface OpenRequest {
  /** Value of `x-siderolink-ipv6-addr`; the first one if there are several. */
  readonly header: string | undefined;
  /** Which of a client's streams this is, 0 for all clients but our own. */
  readonly lane: number;
}

export class StreamTable {
  readonly #sink: DatagramSink;
  readonly #pools: StreamPools;
  readonly #allowList = new AllowList();
  /** By part of the address; peers that share it are chained. */
  readonly #peers = new Map<number, TunnelPeer>();
  readonly #peersByOwner = new Map<string, Set<TunnelPeer>>();
  /** Peers whose datagrams wait for the sink, the next in turn first. */
  readonly #waiting = new Set<TunnelPeer>();
  #dirty: TunnelPeer[] = [];
  #isStarted = false;
  /** Told of each peer that has a stream again, before anything comes from it. */
  onConnected: (publicKey: string) => void = () => {};
  readonly counters: StreamCounters = {
    opened: 0,
    refused: 0,
    rxDatagrams: 0,
    rxBytes: 0,
    txDatagrams: 0,
    txBytes: 0,
    drops: { no_stream: 0, outbound_full: 0, inbound_full: 0, not_wireguard: 0 },
    ends: { closed: 0, replaced: 0, revoked: 0, protocol_error: 0, shutdown: 0 },
  };

  constructor(sink: DatagramSink, clock: Clock = systemClock) {
    this.#sink = sink;
    this.#pools = createStreamPools(clock);
  }

  /** All known peers have been allowed: from here on an unknown address is refused for good. */
  start(): void {
    this.#isStarted = true;
  }

  /** The peer may open streams under this virtual endpoint and no other; undefined: under none. */
  allow(publicKey: string, virtualEndpoint: string | undefined): void {
    this.#allowList.set(publicKey, virtualEndpoint);
    const peers = this.#peersByOwner.get(publicKey);
    if (!peers) return;
    for (const peer of peers) {
      if (this.#allowList.ownerOf(peer.address) !== publicKey) {
        this.#end(peer, virtualEndpoint === undefined ? PEER_NOT_ALLOWED : GONE, 'revoked');
      }
    }
  }

  /** Admits a stream, or says why not. */
  open(request: OpenRequest, carrier: StreamCarrier): TunnelStream | Status {
    const admitted = this.#admit(request);
    if (!('publicKey' in admitted)) {
      this.counters.refused++;
      return admitted;
    }
    const { endpoint, publicKey } = admitted;
    const known = this.#find(endpoint.address, 0, endpoint.port);
    const peer = known ?? this.#create(endpoint, publicKey);
    const stream = new TunnelStream(this, peer, request.lane, carrier);
    this.counters.opened++;
    if (!known) this.onConnected(publicKey);
    const replaced = peer.attach(stream);
    if (replaced) {
      this.counters.ends.replaced++;
      replaced.end(PEER_REPLACED);
    }
    return stream;
  }

  #admit({ header, lane }: OpenRequest): Status | { endpoint: SocketAddress; publicKey: string } {
    const unknown = (message: string): Status => ({ code: STATUS.UNKNOWN, message });
    if (header === undefined) return unknown('failed to get peer address from context');
    const endpoint = parseSocketAddress(header);
    if (!endpoint) return unknown(`incorrect header value "${header}": not an ip:port`);
    const publicKey = this.#allowList.ownerOf(endpoint);
    if (publicKey === undefined) return this.#isStarted ? PEER_NOT_ALLOWED : STARTING;
    const others = this.#peersByOwner.get(publicKey)?.size ?? 0;
    const isKnown = this.#find(endpoint.address, 0, endpoint.port) !== undefined;
    if (lane >= MAX_LANES || (!isKnown && others >= MAX_ENDPOINTS_PER_PEER)) {
      return { code: STATUS.RESOURCE_EXHAUSTED, message: 'too many streams of one peer' };
    }
    return { endpoint, publicKey };
  }

  /** True while the peer has a stream. */
  isOpen(publicKey: string): boolean {
    return this.#peersByOwner.has(publicKey);
  }

  get openStreams(): number {
    let count = 0;
    for (const peers of this.#peersByOwner.values()) for (const peer of peers) count += peer.openLanes;
    return count;
  }

  /**
   * A datagram for the virtual endpoint; a copy is taken. `flow` spreads flows over the client's streams. Goes out with
   * the next `flush`.
   */
  send(
    address: Uint8Array,
    addressAt: number,
    port: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    flow: number,
  ): void {
    const peer = this.#find(address, addressAt, port);
    if (!peer) {
      this.counters.drops.no_stream++;
      return;
    }
    this.counters.txDatagrams++;
    this.counters.txBytes += length;
    if (!peer.send(bytes, at, length, flow)) this.counters.drops.outbound_full++;
    if (!peer.isMarkedDirty) {
      peer.isMarkedDirty = true;
      this.#dirty.push(peer);
    }
  }

  /** To be called at the end of every batch of `send`. */
  flush(): void {
    const dirty = this.#dirty;
    if (dirty.length === 0) return;
    this.#dirty = [];
    for (const peer of dirty) {
      peer.isMarkedDirty = false;
      peer.flush();
    }
  }

  /** Delivers what waits, one datagram of each client in turn, until nothing does or the sink is full again. */
  pull(): void {
    for (;;) {
      const [peer] = this.#waiting;
      if (!peer || !peer.deliverNext(this.#sink)) return;
      this.#waiting.delete(peer);
      if (peer.inbound.isEmpty) peer.setPaused(false);
      else this.#waiting.add(peer);
    }
  }

  /** Ends every stream; clients come back when the gateway does. */
  close(): void {
    const status: Status = { code: STATUS.UNAVAILABLE, message: 'gateway is shutting down' };
    for (const peers of this.#peersByOwner.values())
      for (const peer of peers) this.#end(peer, status, 'shutdown');
  }

  // For TunnelStream.

  get pools(): StreamPools {
    return this.#pools;
  }

  /** A datagram from a client. Nobody overtakes those that wait. */
  receive(peer: TunnelPeer, bytes: Uint8Array, at: number, length: number): void {
    this.counters.rxDatagrams++;
    this.counters.rxBytes += length;
    if (this.#waiting.size === 0 && this.#sink.deliver(peer.endpoint, bytes, at, length)) return;
    if (peer.inbound.push(bytes, at, length)) this.counters.drops.inbound_full++;
    this.#waiting.add(peer);
    // What has been read already still comes, and waits for its turn.
    peer.setPaused(true);
  }

  /** The stream is over. One that was replaced does not take its successor along. */
  ended(peer: TunnelPeer, stream: TunnelStream, reason: StreamEnd): void {
    if (!peer.detach(stream)) return;
    this.counters.ends[reason]++;
    if (peer.openLanes === 0) this.#remove(peer);
  }

  #end(peer: TunnelPeer, status: Status, reason: StreamEnd): void {
    for (const stream of peer.streams()) {
      this.ended(peer, stream, reason);
      stream.end(status);
    }
  }

  #create(endpoint: SocketAddress, publicKey: string): TunnelPeer {
    const record = new Uint8Array(ENDPOINT.size);
    encodeEndpoint(
      { address: endpoint.address, port: endpoint.port, scope: 0, carrier: GRPC_CARRIER },
      record,
      0,
    );
    const peer = new TunnelPeer(endpoint, formatSocketAddress(endpoint), publicKey, record, this.#pools);
    const slot = slotOf(endpoint.address, 0);
    peer.chained = this.#peers.get(slot);
    this.#peers.set(slot, peer);
    const owned = this.#peersByOwner.get(publicKey);
    if (owned) owned.add(peer);
    else this.#peersByOwner.set(publicKey, new Set([peer]));
    return peer;
  }

  #find(address: Uint8Array, at: number, port: number): TunnelPeer | undefined {
    let peer = this.#peers.get(slotOf(address, at));
    while (peer && !peer.is(address, at, port)) peer = peer.chained;
    return peer;
  }

  #remove(peer: TunnelPeer): void {
    const slot = slotOf(peer.address.address, 0);
    const chain: TunnelPeer[] = [];
    for (let other = this.#peers.get(slot); other; other = other.chained)
      if (other !== peer) chain.push(other);
    let head: TunnelPeer | undefined;
    for (const other of chain) {
      other.chained = head;
      head = other;
    }
    if (head) this.#peers.set(slot, head);
    else this.#peers.delete(slot);
    const owned = this.#peersByOwner.get(peer.publicKey);
    owned?.delete(peer);
    if (owned?.size === 0) this.#peersByOwner.delete(peer.publicKey);
    this.#waiting.delete(peer);
    peer.inbound.clear();
  }
}

/** 30 bits of the low half, which is random: a small integer as map key. */
function slotOf(address: Address, at: number): number {
  return (
    ((address[at + 12] as number) & 0x3f) * 0x100_0000 +
    (address[at + 13] as number) * 0x1_0000 +
    (address[at + 14] as number) * 0x100 +
    (address[at + 15] as number)
  );
}
