/**
 * A TCP service of this machine, published on the overlay address and nowhere else. Linux answers on any interface for
 * any of its addresses, so callers are held against the gateway's address as well: nobody else's answers leave through
 * the tunnel, and nobody else is let in.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { AppError } from '../../core/errors.ts';
import { type Address, addressesEqual, formatAddress, parseAddress } from '../../core/ip.ts';
import type { Logger } from '../../core/log.ts';
import type { ExposedService } from './join-settings.ts';

export const MAX_CONNECTIONS = 256;
const CONNECT_TIMEOUT_MS = 10_000;
/** A caller that vanished is noticed by keepalives. */
const KEEPALIVE_DELAY_MS = 60_000;

export interface PublisherOptions {
  readonly service: ExposedService;
  /** Of the gateway: the only one that may connect. */
  readonly caller: Address;
  readonly logger: Logger;
}

export interface PublisherCounters {
  accepted: number;
  /** Not the gateway, or too many at once. */
  refused: number;
  /** The service did not answer. */
  failed: number;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly counters: PublisherCounters = { accepted: 0, refused: 0, failed: 0 };

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#server = createServer({
      allowHalfOpen: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_DELAY_MS,
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (socket: Socket) => this.#accept(socket));
    this.#server.on('drop', () => this.counters.refused++);
  }

  /** `address` is the overlay's. Resolves to the port. Rejects with AppError when it cannot. */
  listen(address: string): Promise<number> {
    const { port } = this.#options.service;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          new AppError(
            error.code === 'EADDRINUSE' ? 'in_use' : 'io',
            `--expose: cannot listen on ${address} port ${port}: ${error.code ?? error.message}`,
            { cause: error },
          ),
        ),
      );
      this.#server.listen({ host: address, port, ipv6Only: true }, () => {
        const bound = this.#server.address();
        resolve(bound !== null && typeof bound === 'object' ? bound.port : port);
      });
    });
  }

  /** Cuts all connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  #accept(near: Socket): void {
    const from = parseAddress(near.remoteAddress ?? '');
    if (!from || !addressesEqual(from, this.#options.caller)) {
      this.counters.refused++;
      near.resetAndDestroy();
      return;
    }
    this.counters.accepted++;
    const { targetHost, targetPort } = this.#options.service;
    const far = connect({ host: targetHost, port: targetPort, allowHalfOpen: true, keepAlive: true });
    far.setTimeout(CONNECT_TIMEOUT_MS, () => far.destroy(new Error('connecting takes too long')));
    let isConnected = false;
    far.once('connect', () => {
      isConnected = true;
      far.setTimeout(0);
    });
    far.on('error', (error: Error) => {
      if (isConnected) return;
      this.counters.failed++;
      this.#options.logger.log('warn', 'exposed_service_unreachable', {
        target: `${targetHost} port ${targetPort}`,
        caller: formatAddress(from),
        reason: error.message,
      });
    });
    join(near, far, this.#sockets);
    join(far, near, this.#sockets);
  }
}

/** Bytes and the end of `from` go to `to`; when one is gone the other one is cut off too. */
function join(from: Socket, to: Socket, sockets: Set<Socket>): void {
  sockets.add(from);
  from.pipe(to);
  // Its end is told by close.
  from.on('error', () => {});
  from.on('close', (hadError) => {
    sockets.delete(from);
    if (hadError || !from.readableEnded) to.resetAndDestroy();
  });
}
