/**
 * The gateway's gRPC port: HTTP/2 over TLS or in plain (prior knowledge). CreateStream is served here by hand, because a
 * datagram costs a tenth of what it costs through a gRPC library; everything else goes to a @grpc/grpc-js server.
 */
import type { Server as GrpcServer } from '@grpc/grpc-js';
import {
  constants,
  createSecureServer,
  createServer as createHttp2Server,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { AppError } from '../core/errors.ts';
import { type Connection, ConnectionTable } from './grpc-connections.ts';
import { GrpcHandoff } from './grpc-handoff.ts';
import {
  FRONT_LIMITS,
  type FrontCounters,
  type FrontLimits,
  MAX_HEADER_BYTES,
  newFrontCounters,
} from './grpc-limits.ts';
import { STATUS, type Status } from './grpc-status.ts';
import { Http2Carrier, type ServedStream } from './http2-carrier.ts';
import { RELAY_PATH, RELAY_TOKEN_HEADER, type RelayServer } from './relay-server.ts';
import { MAX_LANES, type StreamTable } from './stream-table.ts';
import type { TlsPair } from './tls-files.ts';
import { AddressLimiter, type RateLimit } from './token-bucket.ts';

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR } = constants;

export const CREATE_STREAM_PATH = '/sidero.link.WireGuardOverGRPCService/CreateStream';
export const PEER_HEADER = 'x-siderolink-ipv6-addr';
/** CreateStream for the machine's end of the tunnel: `grpc_peer_addr_port` of the ProvisionResponse, verbatim. */
export function createStreamCall(peerAddress: string): { path: string; metadata: Record<string, string> } {
  return { path: CREATE_STREAM_PATH, metadata: { [PEER_HEADER]: peerAddress } };
}
/** Ours: `0`, `1` …: which of the client's streams this is. Answered with the number that it may open. */
export const LANE_HEADER = 'x-culvert-lane';
export const LANES_HEADER = 'x-culvert-lanes';

/** Bytes that a client may send ahead: what 300 Mbit/s need over 100 ms. They are queued nowhere, but taken at once. */
export const STREAM_WINDOW: number = 4 * 1024 * 1024;
export const SESSION_WINDOW: number = 8 * 1024 * 1024;

const MAX_CONCURRENT_STREAMS = 256;
const TLS_HANDSHAKE_TIMEOUT_MS = 10_000;
/** A client that does not take its status within this time is cut off. */
const ENDING_TIMEOUT_MS = 5_000;

const TOO_MANY_CALLS: Status = {
  code: STATUS.RESOURCE_EXHAUSTED,
  message: 'too many calls from this address',
};

export interface GrpcFrontOptions {
  readonly clock: Clock;
  readonly streams: StreamTable;
  /** Serves `culvert relay`; absent: nobody does. */
  readonly relay?: RelayServer | undefined;
  /** Has its services, and is bound nowhere. */
  readonly services: GrpcServer;
  /** PEM; absent: plain HTTP/2. */
  readonly tls?: TlsPair | undefined;
  readonly limits?: Partial<FrontLimits> | undefined;
  /** Told of every accepted connection, to set its socket options. */
  readonly onSocket?: (socket: Socket) => void;
}

export class GrpcFront {
  readonly #clock: Clock;
  readonly #streams: StreamTable;
  readonly #relay: RelayServer | undefined;
  readonly #handoff: GrpcHandoff;
  /** Listens, and hands on what may stay. */
  readonly #listener: Server;
  readonly #http2: Http2Server | Http2SecureServer;
  readonly #connections: ConnectionTable;
  readonly #callLimiter: AddressLimiter;
  /** Streams that have been told their status, and when. */
  readonly #ending = new Map<Http2Carrier, number>();
  readonly counters: FrontCounters = newFrontCounters();

  constructor(options: GrpcFrontOptions) {
    const limits = { ...FRONT_LIMITS, ...options.limits };
    this.#clock = options.clock;
    this.#streams = options.streams;
    this.#relay = options.relay;
    this.#handoff = new GrpcHandoff(options.services, {
      clock: options.clock,
      maxCalls: limits.maxCalls,
      counters: this.counters.calls,
      end: (stream, status) => this.#end(stream, status),
    });
    this.#connections = new ConnectionTable(options.clock, limits, this.counters);
    this.#callLimiter = new AddressLimiter(limits.callRate);
    const settings = {
      initialWindowSize: STREAM_WINDOW,
      maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
      maxHeaderListSize: MAX_HEADER_BYTES,
      enablePush: false,
    };
    this.#http2 = options.tls
      ? createSecureServer({ ...options.tls, settings, handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS })
      : createHttp2Server({ settings });
    // Broken handshakes and connections are the clients' affair.
    this.#http2.on('sessionError', () => {});
    this.#http2.on('session', (session: ServerHttp2Session) => this.#opened(session));
    this.#http2.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) =>
      this.#call(stream, headers, flags),
    );
    this.#listener = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => {});
      if (!this.#connections.accept(socket)) return;
      options.onSocket?.(socket);
      this.#http2.emit('connection', socket);
    });
  }

  /** Resolves to the address it listens on. Rejects with AppError when it cannot. */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException) =>
        reject(
          new AppError(
            error.code === 'EADDRINUSE' ? 'in_use' : 'io',
            `cannot listen on ${host} port ${port}: ${error.message}`,
            { cause: error },
          ),
        );
      this.#listener.once('error', failed);
      this.#listener.listen(port, host, () => {
        this.#listener.off('error', failed);
        this.#listener.on('error', () => {});
        resolve(this.#listener.address() as AddressInfo);
      });
    });
  }

  /** New connections get the new certificate; those that are open stay. Throws when key and certificate do not match. */
  setCertificate(tls: TlsPair): void {
    if ('setSecureContext' in this.#http2) this.#http2.setSecureContext(tls);
  }

  /** Calls from one address, from now on. */
  setCallRate(limit: RateLimit): void {
    this.#callLimiter.setLimit(limit);
  }

  /** HTTP/2 sessions. */
  get connections(): number {
    return this.#connections.size;
  }

  /** All of them, also those that have not shaken hands. */
  get sockets(): number {
    return this.#connections.sockets;
  }

  /**
   * Asks silent connections for a sign of life, cuts dead ones, closes idle ones, ends calls that take too long. To be
   * called every few seconds.
   */
  checkConnections(): void {
    const now = this.#clock.now();
    this.#relay?.check();
    this.#connections.check();
    this.#handoff.check();
    for (const [carrier, since] of this.#ending) {
      if (now - since >= ENDING_TIMEOUT_MS) carrier.abort();
    }
  }

  /** Ends all streams, tells all clients to go away, and waits for them at most until `abort`. */
  async close(abort: AbortSignal): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#listener.close(() => resolve()));
    this.#streams.close();
    this.#relay?.close();
    // A session that is closing waits for its client's end of the connection; its socket does not.
    const destroy = () => this.#connections.destroy();
    for (const session of this.#connections.sessions) session.close();
    if (abort.aborted) destroy();
    else abort.addEventListener('abort', destroy, { once: true });
    await closed;
    abort.removeEventListener('abort', destroy);
    this.#handoff.close();
  }

  #opened(session: ServerHttp2Session): void {
    session.on('error', () => {});
    this.#connections.opened(session);
    if (!session.destroyed) session.setLocalWindowSize(SESSION_WINDOW);
  }

  #call(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number): void {
    const session = stream.session as ServerHttp2Session | undefined;
    const connection = this.#connections.of(session);
    if (!session || !connection || connection.isCut) {
      stream.on('error', () => {});
      if (connection) this.#connections.cutOff(connection);
      stream.close(NGHTTP2_NO_ERROR);
      return;
    }
    connection.hasCalled = true;
    connection.lastReceivedAt = this.#clock.now();
    connection.openCalls++;
    stream.on('close', () => {
      connection.openCalls--;
      connection.lastReceivedAt = this.#clock.now();
    });
    if (headers[':path'] === CREATE_STREAM_PATH && isGrpc(headers)) {
      this.#tunnel(stream, headers, flags, connection);
    } else if (this.#relay && headers[':path'] === RELAY_PATH && isGrpc(headers)) {
      const token = firstValue(headers[RELAY_TOKEN_HEADER]);
      const relay = this.#relay;
      this.#serve(stream, flags, connection, {}, (carrier) => relay.open(token, carrier));
    } else if (this.#callLimiter.allow(connection.source, this.#clock.now())) {
      // Reset before it was answered: cheap for the client, and a whole call for us (CVE-2023-44487).
      stream.on('aborted', () => this.#connections.strike(connection));
      this.#handoff.handle(stream, headers, flags, remoteAddress(session.socket));
    } else {
      this.counters.calls.rate_limited++;
      this.#refuse(stream, TOO_MANY_CALLS, connection);
    }
  }

  #refuse(stream: ServerHttp2Stream, status: Status, connection: Connection): void {
    stream.on('error', () => {});
    if (this.#connections.strike(connection)) this.#end(stream, status);
    else this.#connections.cutOff(connection);
  }

  /** Ends a call that nobody has answered. What the client still sends is thrown away for a while, then cut off. */
  #end(stream: ServerHttp2Stream, status: Status): void {
    if (stream.destroyed) return;
    const carrier = new Http2Carrier(stream);
    if (stream.headersSent) {
      carrier.abort();
      return;
    }
    this.#ending.set(carrier, this.#clock.now());
    stream.on('close', () => this.#ending.delete(carrier));
    carrier.end(status);
    stream.resume();
  }

  #tunnel(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    connection: Connection,
  ): void {
    const lane = headers[LANE_HEADER];
    const header = firstValue(headers[PEER_HEADER]);
    this.#serve(
      stream,
      flags,
      connection,
      lane === undefined ? {} : { [LANES_HEADER]: MAX_LANES },
      (carrier) => this.#streams.open({ header, lane: laneOf(lane) }, carrier),
    );
  }

  /** `headers` go out with the first answer. */
  #serve(
    stream: ServerHttp2Stream,
    flags: number,
    connection: Connection,
    headers: OutgoingHttpHeaders,
    open: (carrier: Http2Carrier) => ServedStream | Status,
  ): void {
    const carrier = new Http2Carrier(stream, headers);
    carrier.onEnding = () => this.#ending.set(carrier, this.#clock.now());
    stream.on('error', () => {});
    stream.on('close', () => this.#ending.delete(carrier));
    const opened = open(carrier);
    if ('code' in opened) {
      this.#refuse(stream, opened, connection);
      return;
    }
    this.#connections.tunnelOpened(connection);
    stream.on('close', () => this.#connections.tunnelClosed(connection));
    carrier.tunnel = opened;
    carrier.accept();
    stream.on('data', (chunk: Buffer) => {
      connection.lastReceivedAt = this.#clock.now();
      if (!carrier.isEnding) opened.receive(chunk);
    });
    stream.on('end', () => opened.closed());
    stream.on('close', () => opened.closed());
    if ((flags & NGHTTP2_FLAG_END_STREAM) !== 0) opened.closed();
  }
}

/** Repeated metadata arrives joined with commas; no valid address has one. */
function firstValue(value: string | string[] | undefined): string | undefined {
  const text = Array.isArray(value) ? value[0] : value;
  return text?.split(',')[0]?.trim();
}

/** Lanes that are no number are refused like those that are too high. */
function laneOf(value: string | string[] | undefined): number {
  if (value === undefined) return 0;
  return typeof value === 'string' && /^\d$/.test(value) ? Number(value) : MAX_LANES;
}

function isGrpc(headers: IncomingHttpHeaders): boolean {
  return headers[':method'] === 'POST' && /^application\/grpc(?:[+;]|$)/.test(headers['content-type'] ?? '');
}

function remoteAddress(socket: {
  remoteAddress?: string | undefined;
  remotePort?: number | undefined;
}): string {
  const address = socket.remoteAddress ?? '::';
  return address.includes(':')
    ? `[${address}]:${socket.remotePort ?? 0}`
    : `${address}:${socket.remotePort ?? 0}`;
}
