/**
 * The connections of a gRPC front: who may connect, who has to go when it gets crowded, who is silent. A connection is
 * known by its socket from the first moment, long before it has shaken hands.
 */
import { constants, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { type Address, parseAddress } from '../core/ip.ts';
import type { FrontCounters, FrontLimits } from './grpc-limits.ts';
import { AddressLimiter, TokenBucket } from './token-bucket.ts';

const { NGHTTP2_ENHANCE_YOUR_CALM } = constants;

/** TLS, preface, headers of the first call: all of it has to be there by then. */
const FIRST_CALL_TIMEOUT_MS = 20_000;
/** Keepalives come every 25 s from each machine; a connection this silent is asked whether it is still there. */
const PING_AFTER_MS = 60_000;
const PING_TIMEOUT_MS = 20_000;
/** Connections without any call are closed. */
const IDLE_AFTER_MS = 300_000;

export class Connection {
  /** As long as it lives: a closed socket does not know them any more. */
  readonly ends: string;
  readonly socket: Socket;
  readonly source: Address;
  readonly strikes: TokenBucket;
  session: ServerHttp2Session | undefined;
  lastReceivedAt: number;
  pingSentAt: number | undefined;
  openCalls = 0;
  tunnels = 0;
  hasCalled = false;
  /** Nothing of it is heard any more. */
  isCut = false;

  constructor(socket: Socket, source: Address, strikes: TokenBucket, now: number) {
    this.ends = endsOf(socket);
    this.socket = socket;
    this.source = source;
    this.strikes = strikes;
    this.lastReceivedAt = now;
  }
}

export class ConnectionTable {
  readonly #clock: Clock;
  readonly #limits: FrontLimits;
  readonly #counters: FrontCounters;
  readonly #limiter: AddressLimiter;
  readonly #byEnds = new Map<string, Connection>();
  readonly #bySession = new Map<ServerHttp2Session, Connection>();
  /** Those without a tunnel, the oldest first. */
  readonly #evictable = new Set<Connection>();

  constructor(clock: Clock, limits: FrontLimits, counters: FrontCounters) {
    this.#clock = clock;
    this.#limits = limits;
    this.#counters = counters;
    this.#limiter = new AddressLimiter(limits.connectionRate);
  }

  /** False: it is cut already. */
  accept(socket: Socket): boolean {
    const now = this.#clock.now();
    const { cut } = this.#counters;
    const source = parseAddress((socket.remoteAddress ?? '').replace(/%.*$/, ''));
    if (!source || !this.#limiter.allow(source, now)) {
      cut.rate_limited++;
      socket.resetAndDestroy();
      return false;
    }
    if (this.#byEnds.size >= this.#limits.maxConnections) {
      cut.evicted++;
      const [oldest] = this.#evictable;
      if (!oldest) {
        socket.resetAndDestroy();
        return false;
      }
      this.#forget(oldest);
      oldest.socket.resetAndDestroy();
    }
    this.#counters.accepted++;
    const strikes = new TokenBucket(this.#limits.strikeRate, now);
    const connection = new Connection(socket, source, strikes, now);
    this.#byEnds.set(connection.ends, connection);
    this.#evictable.add(connection);
    socket.on('close', () => this.#forget(connection));
    return true;
  }

  /** The socket has become an HTTP/2 session. */
  opened(session: ServerHttp2Session): void {
    const connection = this.#byEnds.get(endsOf(session.socket));
    if (!connection) {
      session.destroy();
      return;
    }
    connection.session = session;
    this.#bySession.set(session, connection);
    session.on('close', () => this.#bySession.delete(session));
    session.on('ping', () => this.strike(connection));
  }

  of(session: ServerHttp2Session | undefined): Connection | undefined {
    return session && this.#bySession.get(session);
  }

  get sessions(): Iterable<ServerHttp2Session> {
    return this.#bySession.keys();
  }

  /** Sockets, whatever they have become. */
  get sockets(): number {
    return this.#byEnds.size;
  }

  /** HTTP/2 sessions. */
  get size(): number {
    return this.#bySession.size;
  }

  tunnelOpened(connection: Connection): void {
    connection.tunnels++;
    this.#evictable.delete(connection);
  }

  tunnelClosed(connection: Connection): void {
    connection.tunnels--;
    if (connection.tunnels === 0 && !connection.socket.destroyed) this.#evictable.add(connection);
  }

  /** One more thing that is cheap to send and not to answer. False when the connection has been cut for it. */
  strike(connection: Connection): boolean {
    if (connection.strikes.take(1, this.#clock.now())) return true;
    if (!connection.isCut) {
      connection.isCut = true;
      this.#counters.cut.strikes++;
      // Node's memory runs full when a session is destroyed in a callback of a stream that was reset. Until then, or until
      // the next call, nothing of it is heard.
      setImmediate(() => this.cutOff(connection));
    }
    return false;
  }

  /** Ends it without waiting for anything, and with it the reading of what it has sent already. */
  cutOff({ session, socket }: Connection): void {
    if (session && !session.destroyed) {
      session.goaway(NGHTTP2_ENHANCE_YOUR_CALM);
      session.destroy();
    }
    socket.destroySoon();
  }

  check(): void {
    const now = this.#clock.now();
    for (const connection of this.#byEnds.values()) this.#check(connection, now);
  }

  /** Ends all connections without asking. */
  destroy(): void {
    for (const { socket } of this.#byEnds.values()) socket.destroy();
  }

  #check(connection: Connection, now: number): void {
    const { session, socket, lastReceivedAt, pingSentAt } = connection;
    const { cut } = this.#counters;
    if (!session || !connection.hasCalled) {
      if (now - lastReceivedAt < FIRST_CALL_TIMEOUT_MS) return;
      cut.silent++;
      socket.resetAndDestroy();
    } else if (session.destroyed) {
      return;
    } else if (pingSentAt !== undefined) {
      if (now - pingSentAt < PING_TIMEOUT_MS) return;
      cut.dead++;
      session.destroy();
    } else if (connection.openCalls === 0) {
      if (now - lastReceivedAt >= IDLE_AFTER_MS) session.close();
    } else if (now - lastReceivedAt >= PING_AFTER_MS) {
      connection.pingSentAt = now;
      session.ping(() => {
        connection.pingSentAt = undefined;
        connection.lastReceivedAt = this.#clock.now();
      });
    }
  }

  #forget(connection: Connection): void {
    this.#evictable.delete(connection);
    if (this.#byEnds.get(connection.ends) === connection) this.#byEnds.delete(connection.ends);
  }
}

type Ends = Pick<Socket, 'remoteAddress' | 'remotePort' | 'localAddress'>;

/** Sockets of HTTP/2 sessions are wrapped, in TLS twice: what they have in common are the two ends. */
function endsOf({ remoteAddress, remotePort, localAddress }: Ends): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
