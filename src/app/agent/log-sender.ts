/** Sends kernel log lines to a receiver, over TCP or UDP, for as long as the link is up. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { AppError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import { Backoff } from '../../link/backoff.ts';

/** Where lines come from: a KernelLogReader and its formatting. */
export interface LineSource {
  resume(): void;
  pause(): void;
  close(): void;
}

export interface LogTarget {
  readonly protocol: 'tcp' | 'udp';
  readonly host: string;
  readonly port: number;
}

export interface LogSenderOptions {
  readonly target: LogTarget;
  readonly random: Random;
  readonly logger: Logger;
  /** `take` returns false when the sender cannot take more now. */
  readonly openSource: (take: (line: string) => boolean) => LineSource;
}

/** Bytes in the socket's buffer beyond which reading the kernel log waits. */
const MAX_BUFFERED = 256 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
const KEEPALIVE_DELAY_MS = 30_000;
const RECONNECT = { firstMs: 1_000, maxMs: 30_000 };

/** `tcp://[fd00::1]:8092`, `udp://logs.example:514`. Throws AppError `internal` for what was not checked before. */
export function parseLogTarget(url: string): LogTarget {
  const match = /^(tcp|udp):\/\/(?:\[([^\]]+)\]|([^:/[\]]+)):(\d{1,5})\/?$/.exec(url);
  if (!match) throw new AppError('internal', `${url} is no log target`);
  return {
    protocol: match[1] as 'tcp' | 'udp',
    host: (match[2] ?? match[3]) as string,
    port: Number(match[4]),
  };
}

export class LogSender {
  readonly #options: LogSenderOptions;
  readonly #source: LineSource;
  readonly #backoff: Backoff;
  #socket: Socket | undefined;
  #udp: UdpSocket | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isOnline = false;
  #isReady = false;

  /** Throws when the source cannot be opened. Sends nothing before `setOnline(true)`. */
  constructor(options: LogSenderOptions) {
    this.#options = options;
    this.#backoff = new Backoff(RECONNECT, options.random);
    this.#source = options.openSource((line) => this.#take(line));
  }

  /** Whether the receiver can be reached at all. */
  setOnline(isOnline: boolean): void {
    if (isOnline === this.#isOnline) return;
    this.#isOnline = isOnline;
    if (isOnline) this.#connect();
    else this.#disconnect();
  }

  close(): void {
    this.#isOnline = false;
    this.#disconnect();
    this.#source.close();
  }

  #connect(): void {
    const { host, port, protocol } = this.#options.target;
    if (protocol === 'udp') {
      this.#udp = createSocket(host.includes(':') ? 'udp6' : 'udp4');
      // Nobody listening is no reason to stop.
      this.#udp.on('error', () => {});
      this.#ready();
      return;
    }
    const socket = connect({ host, port, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_DELAY_MS });
    this.#socket = socket;
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(new Error('connecting takes too long')));
    socket.on('connect', () => {
      socket.setTimeout(0);
      this.#backoff.reset();
      this.#options.logger.log('debug', 'log_receiver_connected', { host, port });
      this.#ready();
    });
    socket.on('drain', () => this.#ready());
    // The receiver never says anything; reading is how its end is noticed.
    socket.resume();
    let reason = 'closed by the receiver';
    socket.on('error', (error) => (reason = error.message));
    socket.on('close', () => {
      if (this.#socket === socket) this.#lost(reason);
    });
  }

  #ready(): void {
    this.#isReady = true;
    this.#source.resume();
  }

  #take(line: string): boolean {
    if (!this.#isReady) return false;
    const { host, port } = this.#options.target;
    if (this.#udp) {
      this.#udp.send(line, port, host, () => {});
      return true;
    }
    const socket = this.#socket as Socket;
    socket.write(`${line}\n`);
    this.#isReady = socket.writableLength < MAX_BUFFERED;
    return this.#isReady;
  }

  #lost(reason: string): void {
    this.#socket = undefined;
    this.#isReady = false;
    this.#source.pause();
    const delayMs = this.#backoff.next();
    this.#options.logger.log('debug', 'log_receiver_lost', { reason, retryMs: Math.round(delayMs) });
    this.#retry = setTimeout(() => this.#connect(), delayMs);
  }

  #disconnect(): void {
    clearTimeout(this.#retry);
    this.#isReady = false;
    this.#source.pause();
    const socket = this.#socket;
    this.#socket = undefined;
    // What is on its way may still arrive.
    socket?.end();
    socket?.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy());
    socket?.unref();
    this.#udp?.close();
    this.#udp = undefined;
  }
}
