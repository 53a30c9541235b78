/**
 * The receiver of kernel logs on the gateway's overlay address: JSON objects, one a line over TCP or one a datagram.
 * They are kept as they came; a line that is no JSON is kept too.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { AppError } from '../core/errors.ts';
import type { Followers, Journal } from './journal.ts';
import { LineFramer } from './line-framer.ts';
import type { SourceResolver } from './source.ts';
import { type RateLimit, TokenBucket } from './token-bucket.ts';

/** Longest line that is kept. */
export const MAX_LINE_LENGTH: number = 64 * 1024;
/** A machine that reconnects leaves its old connections behind. */
const MAX_CONNECTIONS_PER_MACHINE = 4;

export interface LogReceiverOptions {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly followers: Followers;
  readonly resolve: SourceResolver;
  /** Bytes for each machine; undefined: no limit. */
  readonly rateLimit?: RateLimit | undefined;
}

export interface LogCounters {
  ingestedBytes: number;
  readonly droppedBytes: { rate_limit: number; oversize: number };
  /** Connections and datagrams of sources that are no machine, or one that still waits. */
  refused: number;
}

export class LogReceiver {
  readonly #options: LogReceiverOptions;
  readonly #buckets = new Map<string, TokenBucket>();
  readonly counters: LogCounters = {
    ingestedBytes: 0,
    droppedBytes: { rate_limit: 0, oversize: 0 },
    refused: 0,
  };

  constructor(options: LogReceiverOptions) {
    this.#options = options;
  }

  /** The machine's id and where its bytes go; undefined: close the connection. */
  connect(source: string): { machine: string; framer: LineFramer } | undefined {
    const machine = this.#machineAt(source);
    if (machine === undefined) return undefined;
    const framer = new LineFramer(MAX_LINE_LENGTH, {
      line: (bytes) => this.#line(machine, bytes),
      tooLong: (size) => (this.counters.droppedBytes.oversize += size),
    });
    return { machine, framer };
  }

  datagram(source: string, bytes: Uint8Array): void {
    const machine = this.#machineAt(source);
    if (machine === undefined) return;
    if (bytes.length > MAX_LINE_LENGTH) this.counters.droppedBytes.oversize += bytes.length;
    else this.#line(machine, bytes);
  }

  /** The machine is gone for good. */
  forget(machine: string): void {
    this.#buckets.delete(machine);
  }

  #machineAt(source: string): string | undefined {
    const owner = this.#options.resolve(source);
    if (owner?.kind === 'machine') return owner.id;
    this.counters.refused++;
    return undefined;
  }

  #line(machine: string, bytes: Uint8Array): void {
    if (!this.#isWithinLimit(machine, bytes.length)) return;
    const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8').trim();
    if (body === '') return;
    this.counters.ingestedBytes += bytes.length;
    const { clock, journal, followers } = this.#options;
    journal.append({ machine, kind: 'log', atMs: clock.wall(), body });
    followers.tell(machine, 'log');
  }

  #isWithinLimit(machine: string, size: number): boolean {
    const { rateLimit, clock } = this.#options;
    if (!rateLimit) return true;
    let bucket = this.#buckets.get(machine);
    if (!bucket) this.#buckets.set(machine, (bucket = new TokenBucket(rateLimit, clock.now())));
    if (bucket.take(size, clock.now())) return true;
    this.counters.droppedBytes[size > rateLimit.burst ? 'oversize' : 'rate_limit'] += size;
    return false;
  }
}

/** The TCP port of a LogReceiver. */
export class LogServer {
  readonly #receiver: LogReceiver;
  readonly #server: Server;
  readonly #sockets = new Map<string, Socket[]>();

  constructor(receiver: LogReceiver) {
    this.#receiver = receiver;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Rejects with AppError when it cannot. */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          new AppError(
            error.code === 'EADDRINUSE' ? 'in_use' : 'io',
            `log receiver: cannot listen on ${host} port ${port}: ${error.message}`,
            { cause: error },
          ),
        ),
      );
      this.#server.listen(port, host, () => resolve(this.#server.address() as AddressInfo));
    });
  }

  get connections(): number {
    let count = 0;
    for (const sockets of this.#sockets.values()) count += sockets.length;
    return count;
  }

  /** Senders never read, so a reset is what tells them. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const sockets of this.#sockets.values()) for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    const connection = this.#receiver.connect(socket.remoteAddress ?? '');
    if (!connection) {
      socket.resetAndDestroy();
      return;
    }
    const { machine, framer } = connection;
    const sockets = this.#sockets.get(machine) ?? [];
    this.#sockets.set(machine, sockets);
    sockets.push(socket);
    // Out of the list at once: many may come before the first one is told that it is closed.
    if (sockets.length > MAX_CONNECTIONS_PER_MACHINE) sockets.shift()?.resetAndDestroy();
    socket.on('data', (chunk: Buffer) => framer.push(chunk));
    socket.on('close', () => {
      framer.end();
      const index = sockets.indexOf(socket);
      if (index >= 0) sockets.splice(index, 1);
      if (sockets.length === 0 && this.#sockets.get(machine) === sockets) this.#sockets.delete(machine);
    });
  }
}
