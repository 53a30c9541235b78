/**
 * The gateway's end of `culvert relay`: WireGuard datagrams of any client, out of a stream of our own and to one server
 * behind the gateway. Who has the token gets a UDP socket of its own; the server sees a client like any other.
 */
import { createHash } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { constantTimeEqual } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { AppError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { FrameParser } from './grpc-frame.ts';
import { STATUS, type Status } from './grpc-status.ts';
import type { ServedStream } from './http2-carrier.ts';
import { isWireGuard, PacketQueue, type QueuedDatagram } from './packet-queue.ts';
import { MAX_PEER_PACKET_SIZE, readPeerPacket, type Slice } from './peer-packet.ts';
import { createStreamPools, type StreamPools, StreamWriter } from './stream-writer.ts';
import { CLIENT_CLOSED, type StreamCarrier } from './tunnel-stream.ts';

export const RELAY_PATH = '/culvert.relay.v1.RelayService/Relay';
export const RELAY_TOKEN_HEADER = 'x-culvert-relay-token';

/** Shorter ones can be guessed. */
export const MIN_RELAY_TOKEN_LENGTH = 16;
const MAX_STREAMS = 1_024;
/** WireGuard that has something to say does so at least every 25 s, if it was told to; sessions end after 180 s. */
const IDLE_AFTER_MS = 300_000;
/** Bytes in the UDP socket beyond which datagrams are dropped. */
const MAX_UDP_QUEUED: number = 1 << 20;

const REFUSED: Status = { code: STATUS.UNAUTHENTICATED, message: 'the relay token is not the right one' };
const FULL: Status = { code: STATUS.RESOURCE_EXHAUSTED, message: 'too many relayed clients' };
const CLOSING: Status = { code: STATUS.UNAVAILABLE, message: 'gateway is shutting down' };
const IDLE: Status = { code: STATUS.CANCELLED, message: 'nothing was relayed for a while' };

export interface RelayTarget {
  /** A name or an address, IPv6 without brackets. Names are looked up for every stream. */
  readonly host: string;
  readonly port: number;
}

export interface RelayServerOptions {
  /** At least MIN_RELAY_TOKEN_LENGTH characters. Secret. */
  readonly token: string;
  readonly target: RelayTarget;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RelayServerCounters {
  opened: number;
  /** Wrong token, or too many streams. */
  refused: number;
  rxDatagrams: number;
  txDatagrams: number;
  /** To the server: its socket is full, or it cannot be reached. */
  udpDropped: number;
  /** To the client: it takes datagrams too slowly. */
  outboundFull: number;
  notWireguard: number;
}

/** `udp://host:port`. Throws AppError `usage`. */
export function parseRelayTarget(text: string, place: string): RelayTarget {
  const match = /^udp:\/\/(?:\[([0-9A-Fa-f:.]+)\]|([^:/?#[\]@\s]+)):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port < 1 || port > 65_535)
    throw new AppError('usage', `${place} ${text}: expected udp://HOST:PORT`, {
      hint: 'for example udp://10.0.0.1:51820 or udp://[fd00::1]:51820',
    });
  return { host: (match[1] ?? match[2]) as string, port };
}

export class RelayServer {
  readonly #options: RelayServerOptions;
  readonly #tokenHash: Uint8Array;
  readonly #streams = new Set<RelayStream>();
  readonly #pools: StreamPools;
  readonly counters: RelayServerCounters = {
    opened: 0,
    refused: 0,
    rxDatagrams: 0,
    txDatagrams: 0,
    udpDropped: 0,
    outboundFull: 0,
    notWireguard: 0,
  };

  /** Throws AppError `config` for a token that is too short. */
  constructor(options: RelayServerOptions) {
    if (options.token.length < MIN_RELAY_TOKEN_LENGTH)
      throw new AppError('config', `the relay token has fewer than ${MIN_RELAY_TOKEN_LENGTH} characters`);
    this.#options = options;
    this.#pools = createStreamPools(options.clock);
    this.#tokenHash = hashOf(options.token);
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  /** Admits a stream, or says why not. */
  open(token: string | undefined, carrier: StreamCarrier): RelayStream | Status {
    // Of equal length whatever the caller sent.
    const refusal = !constantTimeEqual(hashOf(token ?? ''), this.#tokenHash)
      ? REFUSED
      : this.#streams.size >= MAX_STREAMS
        ? FULL
        : undefined;
    if (refusal) {
      this.counters.refused++;
      return refusal;
    }
    const { target, clock, logger } = this.#options;
    const stream = new RelayStream({
      carrier,
      target,
      clock,
      logger,
      pools: this.#pools,
      counters: this.counters,
      onEnd: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    this.counters.opened++;
    return stream;
  }

  /** Ends streams over which nothing has passed for long. To be called every few seconds. */
  check(): void {
    const now = this.#options.clock.now();
    for (const stream of this.#streams) if (now - stream.usedAt >= IDLE_AFTER_MS) stream.end(IDLE);
  }

  close(): void {
    for (const stream of this.#streams) stream.end(CLOSING);
  }
}

function hashOf(token: string): Uint8Array {
  return createHash('sha256').update(token, 'utf8').digest();
}

interface RelayStreamOptions {
  readonly carrier: StreamCarrier;
  readonly target: RelayTarget;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly pools: StreamPools;
  readonly counters: RelayServerCounters;
  readonly onEnd: () => void;
}

/** One client. */
export class RelayStream implements ServedStream {
  readonly #options: RelayStreamOptions;
  readonly #parser: FrameParser;
  readonly #writer: StreamWriter;
  readonly #slice: Slice = { at: 0, length: 0 };
  readonly #socket: Socket;
  /** Until the server's address is known. */
  readonly #waiting: PacketQueue;
  #isConnected = false;
  #isOver = false;
  #isFlushDue = false;
  usedAt: number;

  constructor(options: RelayStreamOptions) {
    this.#options = options;
    this.usedAt = options.clock.now();
    this.#parser = new FrameParser(MAX_PEER_PACKET_SIZE, (bytes, at, length) =>
      this.#message(bytes, at, length),
    );
    this.#writer = new StreamWriter(options.pools);
    this.#writer.attach(options.carrier);
    this.#waiting = new PacketQueue(options.pools.blocks);
    const { host, port } = options.target;
    this.#socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    // Unreachable now is no reason to give up: the server may be restarting.
    this.#socket.on('error', () => options.counters.udpDropped++);
    this.#socket.on('message', (bytes) => this.#answer(bytes));
    this.#socket.on('connect', () => this.#connected());
    this.#socket.connect(port, host, (error?: Error) => {
      if (error) this.#unreachable(error);
    });
  }

  receive(chunk: Uint8Array): void {
    if (this.#isOver || this.#parser.push(chunk) === undefined) return;
    this.end({ code: STATUS.INTERNAL, message: 'a message is not a PeerPacket' });
  }

  written(): void {
    this.#writer.written();
  }

  closed(): void {
    this.end(CLIENT_CLOSED);
  }

  /** Idempotent. */
  end(status: Status): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.close();
    this.#writer.detach();
    this.#writer.queue.clear();
    this.#waiting.clear();
    this.#options.onEnd();
    this.#options.carrier.end(status);
  }

  #unreachable(error: Error): void {
    if (this.#isOver) return;
    const { target, logger } = this.#options;
    logger.log('warn', 'relay_target_unreachable', { host: target.host, reason: error.message });
    this.end({ code: STATUS.UNAVAILABLE, message: 'the server behind the gateway cannot be reached' });
  }

  #connected(): void {
    if (this.#isOver) return;
    this.#isConnected = true;
    const next: QueuedDatagram = { bytes: new Uint8Array(0), at: 0, length: 0 };
    for (; this.#waiting.peek(next); this.#waiting.drop()) this.#send(next.bytes, next.at, next.length);
  }

  #message(bytes: Uint8Array, at: number, length: number): void {
    const slice = this.#slice;
    const { counters, clock } = this.#options;
    if (!readPeerPacket(bytes, at, length, slice) || !isWireGuard(bytes, slice.at, slice.length)) {
      counters.notWireguard++;
      return;
    }
    this.usedAt = clock.now();
    counters.rxDatagrams++;
    if (this.#isConnected) this.#send(bytes, slice.at, slice.length);
    else if (this.#waiting.push(bytes, slice.at, slice.length)) counters.udpDropped++;
  }

  #send(bytes: Uint8Array, at: number, length: number): void {
    if (this.#socket.getSendQueueSize() + length > MAX_UDP_QUEUED) {
      this.#options.counters.udpDropped++;
      return;
    }
    // The parser reuses its memory before the socket has sent this.
    this.#socket.send(Uint8Array.from(bytes.subarray(at, at + length)), (error) => {
      if (error) this.#options.counters.udpDropped++;
    });
  }

  #answer(bytes: Uint8Array): void {
    const { counters, clock } = this.#options;
    if (this.#isOver) return;
    if (!isWireGuard(bytes, 0, bytes.length)) {
      counters.notWireguard++;
      return;
    }
    this.usedAt = clock.now();
    counters.txDatagrams++;
    if (!this.#writer.send(bytes, 0, bytes.length)) counters.outboundFull++;
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    // What else came in this turn of the event loop shares a frame.
    setImmediate(() => {
      this.#isFlushDue = false;
      this.#writer.flush();
    });
  }
}
