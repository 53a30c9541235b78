/** The application on one side: it lives in the network namespace of its side and knows nothing of the tunnel. */
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { systemClock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import { type Address, formatAddress } from '../../core/ip.ts';
import { PingSocket } from '../../sys/ping-socket.ts';
import { answerCalls } from './calls.ts';
import type { Amount } from './stage.ts';

export interface TrafficCalls {
  ping(options: { readonly to: Address; readonly timeoutMs: number }): number | undefined;
  /** Serves zeros to the next who connects, for `durationMs`; returns the TCP port. */
  offer(options: { readonly address: Address; readonly durationMs: number }): Promise<number>;
  /** Reads to the end. */
  fetch(from: { readonly address: Address; readonly port: number }): Promise<Amount>;
  /** What `fetch` has read so far. */
  fetched(): Amount;
  counters(): TrafficCounters;
}

/** What the kernel counts in this namespace. */
export interface TrafficCounters {
  /** TCP segments (RFC 4022: tcpOutSegs, tcpRetransSegs). */
  readonly sent: number;
  readonly resent: number;
  /** Packets that found the queue of the interface full. */
  readonly overflowed: number;
}

/** One write, and one read at most. */
const CHUNK_BYTES = 256 << 10;

/** By address. */
const pingers = new Map<string, PingSocket>();
let closeServer: () => void = () => {};
let reading: Reading | undefined;

class Reading {
  readonly ended: Promise<Amount>;
  #bytes = 0;
  #firstMs = 0;
  #lastMs = 0;

  constructor(host: string, port: number) {
    // One buffer for all reads; Node would make one for each.
    const onread = { buffer: Buffer.allocUnsafe(CHUNK_BYTES), callback: (size: number) => this.#read(size) };
    const socket = connect({ host, port, onread });
    this.ended = new Promise((resolve, reject) => {
      socket.once('end', () => resolve(this.amount));
      socket.once('error', (cause) =>
        reject(new AppError('io', `TCP through the tunnel: ${cause.message}`, { cause })),
      );
    });
  }

  get amount(): Amount {
    return { bytes: this.#bytes, ms: this.#lastMs - this.#firstMs };
  }

  #read(size: number): boolean {
    this.#lastMs = systemClock.now();
    if (this.#bytes === 0) this.#firstMs = this.#lastMs;
    this.#bytes += size;
    return true;
  }
}

function serve(socket: Socket, durationMs: number): void {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const end = systemClock.now() + durationMs;
  const write = () => {
    while (systemClock.now() < end) if (!socket.write(chunk)) return;
    socket.end();
  };
  socket.on('drain', write);
  // The reader reports it.
  socket.on('error', () => {});
  write();
}

function offer({ address, durationMs }: { address: Address; durationMs: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    const server: Server = createServer((socket) => {
      server.close();
      serve(socket, durationMs);
    });
    closeServer = () => server.close();
    server.once('error', (cause) => reject(new AppError('io', `TCP: ${cause.message}`, { cause })));
    server.listen(0, formatAddress(address), () => resolve((server.address() as AddressInfo).port));
  });
}

answerCalls<TrafficCalls>(
  {
    ping: ({ to, timeoutMs }) => {
      const name = formatAddress(to);
      const pinger = pingers.get(name) ?? new PingSocket(to, systemClock);
      pingers.set(name, pinger);
      return pinger.ping(timeoutMs);
    },
    offer,
    fetch: ({ address, port }) => {
      reading = new Reading(formatAddress(address), port);
      return reading.ended;
    },
    fetched: () => reading?.amount ?? { bytes: 0, ms: 0 },
    counters: () => ({ ...parseSegments(read('snmp')), overflowed: parseOverflowed(read('dev')) }),
  },
  async () => {
    for (const pinger of pingers.values()) pinger.close();
    closeServer();
  },
);

function read(name: string): string {
  return readFileSync(`/proc/thread-self/net/${name}`, 'utf8');
}

/** Two lines for each protocol: names, values. */
function parseSegments(snmp: string): Omit<TrafficCounters, 'overflowed'> {
  const [names = [], values = []] = snmp
    .split('\n')
    .filter((line) => line.startsWith('Tcp: '))
    .map((line) => line.split(' '));
  const value = (name: string) => Number(values[names.indexOf(name)]);
  return { sent: value('OutSegs'), resent: value('RetransSegs') };
}

/** proc_net_dev(5): behind the name eight counters of reception, then bytes, packets, errs, drop of transmission. */
function parseOverflowed(dev: string): number {
  return [...dev.matchAll(/^\s*[^:\s]+:(.*)$/gm)]
    .map((match) => Number((match[1] ?? '').trim().split(/\s+/)[11]))
    .reduce((sum, drops) => sum + drops, 0);
}
