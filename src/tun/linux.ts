/** A TUN device of Linux: /dev/net/tun, made here or inherited. */
import type { Arena } from '../core/arena.ts';
import { type Checksums, PortableChecksums } from '../core/checksums.ts';
import { AppError, usageError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { QueueFill } from '../core/queue.ts';
import { EACCES, EBUSY, EINVAL, ENODEV, ENOENT, ENXIO, EPERM, systemError } from '../sys/errno.ts';
import { libc } from '../sys/libc.ts';
import { Block } from '../sys/memory.ts';
import type { FdWatcher } from '../sys/readiness.ts';
import { LINK_EVENTS, RouteMonitor } from '../sys/route-monitor.ts';
import { IFREQ, writeInterfaceName } from '../sys/structs.ts';
import { describeTun, type LinkState, TunLink } from './linux-link.ts';
import { LinuxOffloadPort } from './linux-offload-port.ts';
import { LinuxPacketPort } from './linux-port.ts';
import type { PacketPort, Tun, TunEvents } from './tun.ts';

const DEVICE = '/dev/net/tun';
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const TUNSETIFF = 0x4004_54ca;

const IFF_TUN = 1;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_FLAGS = IFF_TUN | IFF_NO_PI;

const TUNSETOFFLOAD = 0x4004_54d0;
const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const TUN_F_TSO6 = 4;
const TUN_F_TSO_ECN = 8;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;
const TCP_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
const UDP_OFFLOADS = TUN_F_USO4 | TUN_F_USO6;

export const DEFAULT_MTU = 1420;
/** The largest datagram of 65,535 bytes less 32 of transport message. */
export const MAX_MTU = 65_503;

/** What notifications cannot tell (no rights to hear of another namespace) is found out by asking. */
const LINK_POLL_MS = 1_000;

export interface LinuxTunOptions {
  /** 1 to 15 bytes. Of an inherited device the kernel says the name. */
  readonly name: string;
  /** For a device made here 1420 when absent; an inherited one keeps its own. */
  readonly mtu?: number;
  /** Make it with IFF_VNET_HDR, so that reads and writes carry many segments. An inherited one is as it is. */
  readonly offload?: boolean;
  /** A descriptor of a TUN device that somebody else made (WG_TUN_FD). Ours from then on. */
  readonly fd?: number;
  readonly arena: Arena;
  /** For offloads on this thread; plain JavaScript when absent. */
  readonly checksums?: (arena: Arena) => Checksums;
  readonly watcher: FdWatcher;
  /** Calls `task` every `ms` milliseconds until the returned function is called. */
  readonly every: (ms: number, task: () => void) => () => void;
  readonly logger: Logger;
}

/** Throws AppError or SystemError that say what is missing: the device node, rights, or a free name. */
export function openTun(options: LinuxTunOptions): LinuxTun {
  const fd = options.fd === undefined ? create(options.name, options.offload ?? false) : adopt(options.fd);
  try {
    return new LinuxTun(fd, options);
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** What a TUN descriptor carries: single packets, or a virtio header and up to 64 KiB of TCP or also UDP segments. */
export type TunFormat = 'plain' | 'tcp' | 'tcp_and_udp';

export interface ClosablePacketPort extends PacketPort {
  close(): void;
}

/** The data half for a descriptor. */
export function openPacketPort(
  fd: number,
  format: TunFormat,
  arena: Arena,
  checksums: Checksums,
  watcher: FdWatcher,
  onGone: () => void,
): ClosablePacketPort {
  if (format === 'plain') return new LinuxPacketPort(fd, arena, watcher, onGone);
  return new LinuxOffloadPort({ fd, arena, checksums, udp: format === 'tcp_and_udp', watcher, onGone });
}

/** Asks the kernel for super-packets; older ones (before 6.2) have none for UDP. */
function negotiate(fd: number): TunFormat {
  if ((describeTun(fd).flags & IFF_VNET_HDR) === 0) return 'plain';
  if (libc().ioctl(fd, TUNSETOFFLOAD, TCP_OFFLOADS | UDP_OFFLOADS) >= 0) return 'tcp_and_udp';
  if (libc().ioctl(fd, TUNSETOFFLOAD, TCP_OFFLOADS) >= 0) return 'tcp';
  throw systemError('TUNSETOFFLOAD', libc().errno());
}

export class LinuxTun implements Tun {
  readonly name: string;
  readonly format: TunFormat;
  /** For handing the device to a child process. */
  readonly fd: number;
  readonly #options: LinuxTunOptions;
  readonly #link: TunLink;
  #port: ClosablePacketPort | undefined;
  #events: TunEvents | undefined;
  #stop: (() => void) | undefined;
  #isUp: boolean | undefined;
  #mtu: number = DEFAULT_MTU;
  #isClosed = false;

  /** Use `openTun`. */
  constructor(fd: number, options: LinuxTunOptions) {
    this.fd = fd;
    this.#options = options;
    this.name = describeTun(fd).name;
    this.#link = new TunLink(fd);
    try {
      const mtu = options.mtu ?? (options.fd === undefined ? DEFAULT_MTU : undefined);
      if (mtu !== undefined) this.#link.setMtu(mtu);
      const state = this.#link.read();
      if (state.kind === 'present') this.#mtu = this.#capped(state.mtu);
    } catch (error) {
      this.#link.close();
      throw error;
    }
    this.format = negotiate(fd);
  }

  /** The data half on this thread, made on first use; a lane in a worker opens its own. */
  get packets(): PacketPort {
    const { arena, checksums = portableChecksums, watcher } = this.#options;
    this.#port ??= openPacketPort(this.fd, this.format, arena, checksums(arena), watcher, () => {
      // Not within the lane that noticed it.
      queueMicrotask(() => this.#refresh());
    });
    return this.#port;
  }

  get mtu(): number {
    return this.#mtu;
  }

  /** The kernel's queue in front of it: packets that wait to be read. Undefined when nobody can say. */
  fill(): QueueFill | undefined {
    return this.#isClosed ? undefined : this.#link.fill();
  }

  watch(events: TunEvents): void {
    if (this.#isClosed) return;
    this.#events = events;
    const monitor = new RouteMonitor({
      groups: LINK_EVENTS,
      allNamespaces: true,
      watcher: this.#options.watcher,
      onEvents: () => this.#refresh(),
    });
    const cancel = this.#options.every(LINK_POLL_MS, () => this.#refresh());
    this.#stop = () => {
      cancel();
      monitor.close();
    };
    this.#refresh();
  }

  #refresh(): void {
    const events = this.#events;
    if (!events) return;
    const state = this.#link.read();
    if (state.kind === 'gone') {
      this.#events = undefined;
      this.#stop?.();
      this.#port?.close();
      events.onGone(state.reason);
      return;
    }
    this.#apply(state, events);
  }

  #apply(state: LinkState & { kind: 'present' }, events: TunEvents): void {
    const mtu = this.#capped(state.mtu);
    if (mtu !== this.#mtu) {
      this.#mtu = mtu;
      events.onMtu(mtu);
    }
    // The listener may have closed the device.
    if (state.up !== this.#isUp && this.#events) {
      this.#isUp = state.up;
      events.onLink(state.up);
    }
  }

  #capped(mtu: number): number {
    if (mtu <= MAX_MTU) return mtu;
    if (this.#mtu !== MAX_MTU) this.#options.logger.log('warn', 'mtu_capped', { asked: mtu, used: MAX_MTU });
    return MAX_MTU;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#events = undefined;
    this.#stop?.();
    this.#port?.close();
    this.#link.close();
    libc().close(this.fd);
  }
}

function portableChecksums(arena: Arena): Checksums {
  return new PortableChecksums(arena);
}

function checkName(name: string): void {
  const problem =
    name === '' || Buffer.byteLength(name) >= IFREQ.nameSize
      ? 'must have 1 to 15 bytes'
      : name === '.' || name === '..' || /[/:%\s]/.test(name)
        ? 'must not be "." or ".." or contain "/", ":", "%" or white space'
        : undefined;
  if (problem !== undefined) throw usageError(`interface name "${name}": ${problem}`, 'for example wg0');
}

function create(name: string, offload: boolean): number {
  checkName(name);
  const fd = libc().open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) throw openError(libc().errno());
  const request = new Block(IFREQ.size);
  writeInterfaceName(request.view, IFREQ.name, name);
  request.view.setUint16(IFREQ.flags, offload ? TUN_FLAGS | IFF_VNET_HDR : TUN_FLAGS, true);
  if (libc().ioctl(fd, TUNSETIFF, request.address) < 0) {
    const errno = libc().errno();
    libc().close(fd);
    throw createError(name, errno);
  }
  return fd;
}

function openError(errno: number): AppError {
  if (errno === ENOENT || errno === ENODEV || errno === ENXIO) {
    return new AppError('unavailable', `${DEVICE} is missing`, {
      cause: systemError(`open ${DEVICE}`, errno),
      hint: 'load the module (modprobe tun); in a container, pass the device (--device /dev/net/tun)',
    });
  }
  const denied = errno === EACCES || errno === EPERM;
  const hint = 'run as root; in a container, allow the device (--device /dev/net/tun)';
  return systemError(`open ${DEVICE}`, errno, denied ? hint : undefined);
}

function createError(name: string, errno: number): AppError {
  const hints = new Map([
    [EPERM, 'run as root or with CAP_NET_ADMIN (in a container: --cap-add NET_ADMIN)'],
    [EBUSY, 'another process has this interface; choose another name or end that process'],
    [EINVAL, 'an interface of another kind has this name; choose another one'],
  ]);
  return systemError(`create interface ${name}`, errno, hints.get(errno));
}

function adopt(fd: number): number {
  let flags: number;
  try {
    ({ flags } = describeTun(fd));
  } catch (cause) {
    throw new AppError('usage', `descriptor ${fd} is no TUN device`, {
      cause,
      hint: 'WG_TUN_FD must name an inherited descriptor of /dev/net/tun with an interface attached',
    });
  }
  if ((flags & IFF_TAP) !== 0 || (flags & IFF_NO_PI) === 0) {
    throw new AppError('usage', `descriptor ${fd} is a TUN device of another format`, {
      hint: 'it must be made with IFF_TUN | IFF_NO_PI',
    });
  }
  const status = libc().fcntl(fd, F_GETFL, 0);
  if (
    status < 0 ||
    libc().fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0 ||
    libc().fcntl(fd, F_SETFD, FD_CLOEXEC) < 0
  ) {
    throw systemError(`fcntl on descriptor ${fd}`, libc().errno());
  }
  return fd;
}
