/** UDP sockets with everything a WireGuard device asks of them. */
import type { Address } from '../core/ip.ts';
import type { QueueFill } from '../core/queue.ts';
import { systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';
import { AF_INET, AF_INET6, readSocketPort, SOCKADDR_IN6, writeSocketAddress } from './structs.ts';

export type Family = 4 | 6;

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK_CLOEXEC = 0o2004000;

export const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SO_MARK = 36;
export const SO_RXQ_OVFL = 40;
const SO_MEMINFO = 55;

/** What SO_MEMINFO fills, u32 each (linux/sock_diag.h). */
const MEMINFO = { received: 0, receiveBuffer: 4, sent: 8, sendBuffer: 12, drops: 32, size: 36 } as const;

export const IPPROTO_IP = 0;
export const IP_TOS = 1;
export const IP_PKTINFO = 8;
const IP_RECVTOS = 13;

export const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;

export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

/** What the Linux kernel module and wireguard-go ask for: room for a burst of some 5,000 full datagrams. */
export const SOCKET_BUFFER_BYTES: number = 7 << 20;

const ANY_V4: Address = new Uint8Array(4);
const ANY_V6: Address = new Uint8Array(16);

export interface SocketFill {
  readonly receive: QueueFill;
  readonly send: QueueFill;
}

/** A non-blocking UDP socket of one family. The descriptor is used by the bind directly. */
export class UdpSocket {
  readonly fd: number;
  readonly family: Family;
  readonly #block: Block = new Block(64);

  /**
   * Opens and binds to the wildcard address. Received datagrams carry PKTINFO, the TOS byte
   * and, once there are any, the number of datagrams that found the socket full. Throws SystemError:
   * EAFNOSUPPORT when the machine lacks the family, EADDRINUSE when the port is taken.
   */
  constructor(family: Family, port: number) {
    this.family = family;
    this.fd = libc().socket(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK_CLOEXEC, 0);
    if (this.fd < 0) throw systemError(`open UDP socket for IPv${family}`, libc().errno());
    try {
      this.#configure();
      this.#bind(port);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #configure(): void {
    this.#requestBuffer(SO_SNDBUFFORCE, SO_SNDBUF);
    this.#requestBuffer(SO_RCVBUFFORCE, SO_RCVBUF);
    this.#set(SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (this.family === 4) {
      this.#set(IPPROTO_IP, IP_PKTINFO, 1);
      this.#set(IPPROTO_IP, IP_RECVTOS, 1);
    } else {
      this.#set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
      this.#set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
      this.#set(IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    }
  }

  /** The forced variant passes net.core.[rw]mem_max and needs CAP_NET_ADMIN; the other takes what it can get. */
  #requestBuffer(forced: number, plain: number): void {
    if (this.#trySet(SOL_SOCKET, forced, SOCKET_BUFFER_BYTES) < 0) {
      this.#set(SOL_SOCKET, plain, SOCKET_BUFFER_BYTES);
    }
  }

  #bind(port: number): void {
    const size = writeSocketAddress(this.#block.view, 0, this.family === 4 ? ANY_V4 : ANY_V6, port);
    if (libc().bind(this.fd, this.#block.address, size) < 0) {
      throw systemError(`bind UDP port ${port} for IPv${this.family}`, libc().errno());
    }
  }

  /** The bound port. */
  get port(): number {
    const sizeAt = 32;
    this.#block.view.setUint32(sizeAt, SOCKADDR_IN6.size, true);
    if (libc().getsockname(this.fd, this.#block.address, this.#block.address + sizeAt) < 0) {
      throw systemError('getsockname', libc().errno());
    }
    return readSocketPort(this.#block.view, 0);
  }

  /** SO_MARK; 0 = none. Throws SystemError EPERM without CAP_NET_ADMIN. */
  setMark(mark: number): void {
    if (this.#trySet(SOL_SOCKET, SO_MARK, mark) < 0) {
      throw systemError(`set fwmark ${mark}`, libc().errno(), 'a fwmark needs root or CAP_NET_ADMIN');
    }
  }

  /** Lets the kernel hand over several datagrams of one sender at once (UDP_GRO). False where it cannot. */
  enableGro(): boolean {
    return this.#trySet(SOL_UDP, UDP_GRO, 1) === 0;
  }

  /** Whether the kernel cuts a long message into datagrams (UDP_SEGMENT). */
  supportsGso(): boolean {
    // 0 is the default: nothing changes.
    return this.#trySet(SOL_UDP, UDP_SEGMENT, 0) === 0;
  }

  /** What was granted of the 7 MiB that are asked for, in the unit of net.core.[rw]mem_max. */
  buffers(): { readonly sendBytes: number; readonly receiveBytes: number } {
    // The kernel doubles what it is asked for, to have room for its own structs (socket(7)).
    return { sendBytes: this.#get(SO_SNDBUF) / 2, receiveBytes: this.#get(SO_RCVBUF) / 2 };
  }

  /**
   * Memory of what waits, in bytes as the kernel counts them: its own structs included, as in the capacity. Undefined
   * where it does not tell (before Linux 4.12, some sandboxes).
   */
  fill(): SocketFill | undefined {
    const sizeAt = 48;
    const { address, view } = this.#block;
    view.setUint32(sizeAt, MEMINFO.size, true);
    if (libc().getsockopt(this.fd, SOL_SOCKET, SO_MEMINFO, address, address + sizeAt) < 0) return undefined;
    const word = (offset: number) => view.getUint32(offset, true);
    return {
      receive: {
        depth: word(MEMINFO.received),
        capacity: word(MEMINFO.receiveBuffer),
        dropped: word(MEMINFO.drops),
      },
      send: { depth: word(MEMINFO.sent), capacity: word(MEMINFO.sendBuffer), dropped: undefined },
    };
  }

  /** Idempotence is the caller's business: the number may belong to another file afterwards. */
  close(): void {
    libc().close(this.fd);
  }

  #trySet(level: number, name: number, value: number): number {
    this.#block.view.setUint32(0, value, true);
    return libc().setsockopt(this.fd, level, name, this.#block.address, 4);
  }

  #get(name: number): number {
    const sizeAt = 32;
    this.#block.view.setUint32(sizeAt, 4, true);
    const { address } = this.#block;
    if (libc().getsockopt(this.fd, SOL_SOCKET, name, address, address + sizeAt) < 0) {
      throw systemError(`getsockopt ${name}`, libc().errno());
    }
    return this.#block.view.getUint32(0, true);
  }

  #set(level: number, name: number, value: number): void {
    if (this.#trySet(level, name, value) < 0) {
      throw systemError(`setsockopt ${level}/${name} on a UDP socket for IPv${this.family}`, libc().errno());
    }
  }
}

/** The mark of a socket known by its descriptor only; 0 when it has none, or when there is no such socket. */
export function socketMark(fd: number): number {
  const block = new Block(8);
  block.view.setUint32(4, 4, true);
  return libc().getsockopt(fd, SOL_SOCKET, SO_MARK, block.address, block.address + 4) < 0
    ? 0
    : block.view.getUint32(0, true);
}
