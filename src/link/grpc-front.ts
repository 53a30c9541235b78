/**
 * The gateway's gRPC port: HTTP/2 over TLS or in plain (prior knowledge). CreateStream is served here by hand, because a
 * datagram costs a tenth of what it costs through a gRPC library; everything else goes to a @grpc/grpc-js server.
 */
import type { Server as GrpcServer } from '@grpc/grpc-js';
import {
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { AppError } from '../core/errors.ts';
import { GrpcHandoff } from './grpc-handoff.ts';
import type { Status } from './grpc-status.ts';
import { Http2Carrier, type ServedStream } from './http2-carrier.ts';
import { RELAY_PATH, RELAY_TOKEN_HEADER, type RelayServer } from './relay-server.ts';
import { MAX_LANES, type StreamTable } from './stream-table.ts';
import type { TlsPair } from './tls-files.ts';

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
const MAX_CONNECTIONS = 16_384;
const TLS_HANDSHAKE_TIMEOUT_MS = 10_000;

/** Keepalives come every 25 s from each machine; a connection this silent is asked whether it is still there. */
const PING_AFTER_MS = 60_000;
const PING_TIMEOUT_MS = 20_000;
/** Connections without any call are closed. */
const IDLE_AFTER_MS = 300_000;
/** A client that does not take its status within this time is cut off. */
const ENDING_TIMEOUT_MS = 5_000;

export interface GrpcFrontOptions {
  readonly clock: Clock;
  readonly streams: StreamTable;
  /** Serves `culvert relay`; absent: nobody does. */
  readonly relay?: RelayServer | undefined;
  /** Has its services, and is bound nowhere. */
  readonly services: GrpcServer;
  /** PEM; absent: plain HTTP/2. */
  readonly tls?: TlsPair | undefined;
  /** Told of every accepted connection, to set its socket options. */
  readonly onSocket?: (socket: Socket) => void;
}

interface Connection {
  readonly session: ServerHttp2Session;
  lastReceivedAt: number;
  pingSentAt: number | undefined;
  openCalls: number;
}

export class GrpcFront {
  readonly #clock: Clock;
  readonly #streams: StreamTable;
  readonly #relay: RelayServer | undefined;
  readonly #handoff: GrpcHandoff;
  readonly #server: Http2Server | Http2SecureServer;
  readonly #connections = new Map<ServerHttp2Session, Connection>();
  readonly #sockets = new Set<Socket>();
  /** Streams that have been told their status, and when. */
  readonly #ending = new Map<Http2Carrier, number>();

  constructor(options: GrpcFrontOptions) {
    this.#clock = options.clock;
    this.#streams = options.streams;
    this.#relay = options.relay;
    this.#handoff = new GrpcHandoff(options.services);
    const settings = {
      initialWindowSize: STREAM_WINDOW,
      maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
      enablePush: false,
    };
    this.#server = options.tls
      ? createSecureServer({ ...options.tls, settings, handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS })
      : createServer({ settings });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      options.onSocket?.(socket);
    });
    // Broken handshakes and connections are the clients' affair.
    this.#server.on('sessionError', () => {});
    this.#server.on('session', (session: ServerHttp2Session) => this.#opened(session));
    this.#server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) =>
      this.#call(stream, headers, flags),
    );
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
      this.#server.once('error', failed);
      this.#server.listen(port, host, () => {
        this.#server.off('error', failed);
        this.#server.on('error', () => {});
        resolve(this.#server.address() as AddressInfo);
      });
    });
  }

  /** New connections get the new certificate; those that are open stay. Throws when key and certificate do not match. */
  setCertificate(tls: TlsPair): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(tls);
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Asks silent connections for a sign of life, cuts dead ones, closes idle ones. To be called every few seconds. */
  checkConnections(): void {
    const now = this.#clock.now();
    this.#relay?.check();
    for (const connection of this.#connections.values()) this.#check(connection, now);
    for (const [carrier, since] of this.#ending) {
      if (now - since >= ENDING_TIMEOUT_MS) carrier.abort();
    }
  }

  /** Ends all streams, tells all clients to go away, and waits for them at most until `abort`. */
  async close(abort: AbortSignal): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#streams.close();
    this.#relay?.close();
    // A session that is closing waits for its client's end of the connection; its socket does not.
    const destroy = () => {
      for (const socket of this.#sockets) socket.destroy();
    };
    for (const session of this.#connections.keys()) session.close();
    if (abort.aborted) destroy();
    else abort.addEventListener('abort', destroy, { once: true });
    await closed;
    abort.removeEventListener('abort', destroy);
    this.#handoff.close();
  }

  #opened(session: ServerHttp2Session): void {
    const connection: Connection = {
      session,
      lastReceivedAt: this.#clock.now(),
      pingSentAt: undefined,
      openCalls: 0,
    };
    this.#connections.set(session, connection);
    session.setLocalWindowSize(SESSION_WINDOW);
    session.on('close', () => this.#connections.delete(session));
    session.on('error', () => {});
  }

  #check(connection: Connection, now: number): void {
    const { session, lastReceivedAt, pingSentAt } = connection;
    if (session.destroyed) return;
    if (pingSentAt !== undefined) {
      if (now - pingSentAt >= PING_TIMEOUT_MS) session.destroy();
      return;
    }
    if (connection.openCalls === 0) {
      if (now - lastReceivedAt >= IDLE_AFTER_MS) session.close();
      return;
    }
    if (now - lastReceivedAt < PING_AFTER_MS) return;
    connection.pingSentAt = now;
    session.ping(() => {
      connection.pingSentAt = undefined;
      connection.lastReceivedAt = this.#clock.now();
    });
  }

  #call(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number): void {
    const session = stream.session as ServerHttp2Session | undefined;
    const connection = session && this.#connections.get(session);
    if (!session || !connection) {
      stream.close(NGHTTP2_NO_ERROR);
      return;
    }
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
    } else {
      this.#handoff.handle(stream, headers, flags, remoteAddress(session.socket));
    }
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
      carrier.end(opened);
      stream.resume();
      return;
    }
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
