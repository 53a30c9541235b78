/**
 * `culvert relay` apart from its command line: a UDP socket that stock WireGuard clients take for their server. Each
 * address that sends there gets a stream to the gateway of its own.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Clock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import { parseAddress } from '../../core/ip.ts';
import type { Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import { statusName } from '../../link/grpc-status.ts';
import { isWireGuard } from '../../link/packet-queue.ts';
import type { StreamDialer } from '../../link/relay-lane.ts';
import { Relay, type RelayCounters } from '../../link/relay.ts';
import { Alarm } from '../alarm.ts';

/** A phone and its friends, not a whole site: each has a connection. */
export const MAX_CLIENTS = 64;
/** The gateway forgets them after as long. */
const IDLE_AFTER_MS = 300_000;
const CHECK_INTERVAL_MS = 10_000;
/** Bytes towards the clients beyond which datagrams are dropped. */
const MAX_UDP_QUEUED: number = 1 << 20;

export interface RelayClientOptions {
  /** IPv6 without brackets. */
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly dialer: StreamDialer;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface RelayClientCounters {
  /** Datagrams that are not WireGuard's, or of one client too many. */
  refused: number;
  /** To clients, whose socket is full. */
  udpDropped: number;
}

interface Client {
  readonly relay: Relay;
  readonly alarm: Alarm;
  usedAt: number;
}

export class RelayClient {
  readonly #options: RelayClientOptions;
  readonly #socket: Socket;
  readonly #clients = new Map<string, Client>();
  /** With datagrams that wait for the end of this turn of the event loop. */
  readonly #dirty = new Set<Client>();
  readonly #sweep: NodeJS.Timeout;
  #problem: string | undefined;
  readonly counters: RelayClientCounters = { refused: 0, udpDropped: 0 };

  private constructor(options: RelayClientOptions, socket: Socket) {
    this.#options = options;
    this.#socket = socket;
    socket.on('message', (bytes, from) => this.#take(bytes, from));
    socket.on('error', () => this.counters.udpDropped++);
    this.#sweep = setInterval(() => this.#forgetIdle(), CHECK_INTERVAL_MS);
  }

  /** Rejects with AppError when the address is taken or not ours. */
  static async open(options: RelayClientOptions): Promise<RelayClient> {
    const { host, port } = options;
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          new AppError(
            error.code === 'EADDRINUSE' ? 'in_use' : 'io',
            `--listen ${host} port ${port}: ${error.code}`,
            {
              cause: error,
            },
          ),
        ),
      );
      socket.bind(port, host, resolve);
    });
    socket.removeAllListeners('error');
    return new RelayClient(options, socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  get clients(): readonly Readonly<RelayCounters>[] {
    return Array.from(this.#clients.values(), ({ relay }) => relay.counters);
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep);
    for (const name of this.#clients.keys()) this.#forget(name);
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  #take(bytes: Uint8Array, from: RemoteInfo): void {
    if (!isWireGuard(bytes, 0, bytes.length)) {
      this.counters.refused++;
      return;
    }
    const name = `${from.address} ${from.port}`;
    const client = this.#clients.get(name) ?? this.#admit(name, from);
    if (!client) {
      this.counters.refused++;
      return;
    }
    client.usedAt = this.#options.clock.now();
    client.relay.send(bytes, 0, bytes.length, 0);
    if (this.#dirty.size === 0) setImmediate(() => this.#flush());
    this.#dirty.add(client);
  }

  #flush(): void {
    for (const { relay } of this.#dirty) relay.flush();
    this.#dirty.clear();
  }

  #admit(name: string, { address, port }: RemoteInfo): Client | undefined {
    const { dialer, clock, random, logger } = this.#options;
    const bytes = parseAddress(address.replace(/%.*$/, ''));
    if (this.#clients.size >= MAX_CLIENTS || !bytes) return undefined;
    const relay = new Relay({
      dialer,
      sink: {
        deliver: (_endpoint, from, at, length) => {
          this.#give(Uint8Array.from(from.subarray(at, at + length)), address, port);
          return true;
        },
      },
      clock,
      random,
      endpoint: { address: bytes, port },
      lanes: 1,
      onEarlierDeadline: (at) => alarm.set(at),
      onBroken: ({ code, message }) => this.#broken(`${statusName(code)}: ${message}`),
      onEnd: () => this.#forget(name),
    });
    const alarm = new Alarm((now) => relay.advance(now));
    const client: Client = { relay, alarm, usedAt: clock.now() };
    this.#clients.set(name, client);
    logger.log('info', 'relay_client', { client: `${address} port ${port}`, clients: this.#clients.size });
    relay.start();
    return client;
  }

  /** The same trouble again is not told again. */
  #broken(problem: string): void {
    this.#options.logger.log(problem === this.#problem ? 'debug' : 'warn', 'stream_broken', {
      reason: problem,
    });
    this.#problem = problem;
  }

  #give(datagram: Uint8Array, address: string, port: number): void {
    this.#problem = undefined;
    if (this.#socket.getSendQueueSize() > MAX_UDP_QUEUED) {
      this.counters.udpDropped++;
      return;
    }
    this.#socket.send(datagram, port, address, (error) => {
      if (error) this.counters.udpDropped++;
    });
  }

  #forgetIdle(): void {
    const now = this.#options.clock.now();
    for (const [name, { usedAt }] of this.#clients) if (now - usedAt >= IDLE_AFTER_MS) this.#forget(name);
  }

  #forget(name: string): void {
    const client = this.#clients.get(name);
    if (!client) return;
    this.#clients.delete(name);
    this.#dirty.delete(client);
    client.relay.close();
    client.alarm.cancel();
  }
}
