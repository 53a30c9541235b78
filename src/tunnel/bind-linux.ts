/**
 * UDP sockets of Linux: IPv4 and IPv6 on one port, sticky source, fwmark, TOS (the kernel's socket.c). This is the control
 * half; `LinuxDatagrams` moves the datagrams, here or in a lane worker.
 */
import { type AppError, SystemError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { EADDRINUSE, EAFNOSUPPORT, EADDRNOTAVAIL } from '../sys/errno.ts';
import type { FdWatcher, Watch } from '../sys/readiness.ts';
import { ROUTE_EVENTS, RouteMonitor } from '../sys/route-monitor.ts';
import { type Family, type SocketFill, UdpSocket } from '../sys/udp-socket.ts';
import type { Bind } from './bind.ts';
import type { LinuxDatagrams } from './linux-datagrams.ts';

/** Tries to find a port that is free in both families. */
const MAX_PORT_ATTEMPTS = 100;

/** Whoever moves the datagrams of the sockets. */
export interface SocketUser {
  /** From now on these descriptors (-1 = none) and no others. When it resolves the former ones may be closed. */
  useSockets(ipv4: number, ipv6: number): Promise<void>;
}

export interface LinuxBindOptions {
  readonly user: SocketUser;
  readonly watcher: FdWatcher;
  readonly gro: boolean;
  readonly logger: Logger;
  /** Routes or addresses changed while the bind was open: sticky sources may be wrong. */
  readonly onRoutesChanged: () => void;
}

interface Sockets {
  readonly port: number;
  readonly ipv4: UdpSocket | undefined;
  readonly ipv6: UdpSocket | undefined;
}

export class LinuxBind implements Bind {
  readonly kind = 'linux';
  readonly #options: LinuxBindOptions;
  #sockets: Sockets | undefined;
  #monitor: RouteMonitor | undefined;
  #mark = 0;
  #usesGro = false;

  constructor(options: LinuxBindOptions) {
    this.#options = options;
  }

  async open(port: number): Promise<number> {
    const before = this.#sockets;
    if (before !== undefined && before.port === port) return port;
    const sockets = openBoth(port);
    try {
      this.#configure(sockets);
    } catch (error) {
      close(sockets);
      throw error;
    }
    this.#followRoutes();
    this.#sockets = sockets;
    await this.#options.user.useSockets(sockets.ipv4?.fd ?? -1, sockets.ipv6?.fd ?? -1);
    if (before) close(before);
    return sockets.port;
  }

  #followRoutes(): void {
    try {
      this.#monitor ??= new RouteMonitor({
        groups: ROUTE_EVENTS,
        watcher: this.#options.watcher,
        onEvents: () => this.#options.onRoutesChanged(),
      });
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      // Some sandboxes know no netlink. A source that vanishes is still noticed by the send that fails.
      this.#options.logger.log('warn', 'routes_not_followed', { reason: error.message });
    }
  }

  setMark(mark: number): void {
    for (const socket of both(this.#sockets)) socket.setMark(mark);
    this.#mark = mark;
  }

  /** Whether the kernel joins what it has received (UDP_GRO). */
  get usesGro(): boolean {
    return this.#usesGro;
  }

  /** Of each open socket. */
  fill(): readonly (SocketFill & { readonly family: Family })[] {
    return both(this.#sockets).flatMap((socket) => {
      const fill = socket.fill();
      return fill ? [{ family: socket.family, ...fill }] : [];
    });
  }

  async close(): Promise<void> {
    const sockets = this.#sockets;
    this.#sockets = undefined;
    this.#monitor?.close();
    this.#monitor = undefined;
    if (!sockets) return;
    await this.#options.user.useSockets(-1, -1);
    close(sockets);
  }

  #configure(sockets: Sockets): void {
    for (const socket of both(sockets)) {
      if (this.#mark !== 0) socket.setMark(this.#mark);
      this.#usesGro = this.#options.gro && socket.enableGro();
      if (this.#options.gro && !this.#usesGro) this.#options.logger.log('debug', 'udp_gro_unavailable');
    }
  }
}

function both(sockets: Sockets | undefined): UdpSocket[] {
  return [sockets?.ipv4, sockets?.ipv6].filter((socket) => socket !== undefined);
}

function close(sockets: Sockets): void {
  for (const socket of both(sockets)) socket.close();
}

/** Any port for IPv4, the same for IPv6; another try when the second is taken. */
function openBoth(wanted: number): Sockets {
  for (let attempt = 1; ; attempt++) {
    const ipv4 = openFamily(4, wanted);
    let ipv6: UdpSocket | AppError;
    try {
      ipv6 = openFamily(6, ipv4 instanceof UdpSocket ? ipv4.port : wanted);
    } catch (error) {
      if (ipv4 instanceof UdpSocket) ipv4.close();
      const isTaken = error instanceof SystemError && error.errno === EADDRINUSE;
      if (wanted === 0 && isTaken && attempt < MAX_PORT_ATTEMPTS) continue;
      throw error;
    }
    if (ipv4 instanceof UdpSocket) {
      return { port: ipv4.port, ipv4, ipv6: ipv6 instanceof UdpSocket ? ipv6 : undefined };
    }
    if (!(ipv6 instanceof UdpSocket)) throw ipv4;
    return { port: ipv6.port, ipv4: undefined, ipv6 };
  }
}

/** The error instead of the socket when the machine lacks the family: the other one may do. */
function openFamily(family: Family, port: number): UdpSocket | AppError {
  try {
    return new UdpSocket(family, port);
  } catch (error) {
    const isMissing =
      error instanceof SystemError && (error.errno === EAFNOSUPPORT || error.errno === EADDRNOTAVAIL);
    if (isMissing) return error;
    throw error;
  }
}

/** Moves datagrams on this thread, in turns of the event loop. */
export class InlineSocketUser implements SocketUser {
  readonly #datagrams: LinuxDatagrams;
  readonly #watcher: FdWatcher;
  #watches: Watch[] = [];

  constructor(datagrams: LinuxDatagrams, watcher: FdWatcher) {
    this.#datagrams = datagrams;
    this.#watcher = watcher;
  }

  useSockets(ipv4: number, ipv6: number): Promise<void> {
    for (const watch of this.#watches) watch.close();
    this.#datagrams.use(ipv4, ipv6);
    const ready = () => this.#datagrams.readable();
    this.#watches = [ipv4, ipv6].filter((fd) => fd >= 0).map((fd) => this.#watcher.watch(fd, ready));
    return Promise.resolve();
  }
}
