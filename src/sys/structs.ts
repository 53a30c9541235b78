/**
 * Kernel structs as tables of byte offsets, and the functions that write and read them. Everything goes through a
 * DataView, which refuses to leave its buffer. 64-bit little endian, from the headers named at each struct.
 */
import type { Address } from '../core/ip.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;

/** struct sockaddr_in (linux/in.h). The port is big endian. */
export const SOCKADDR_IN = { family: 0, port: 2, address: 4, size: 16 } as const;
/** struct sockaddr_in6 (linux/in6.h). The port is big endian, the scope native. */
export const SOCKADDR_IN6 = { family: 0, port: 2, flowInfo: 4, address: 8, scope: 24, size: 28 } as const;
/** struct sockaddr_nl (linux/netlink.h). */
export const SOCKADDR_NL = { family: 0, portId: 4, groups: 8, size: 12 } as const;
/** struct iovec (bits/types/struct_iovec.h): pointer, size. */
export const IOVEC = { base: 0, length: 8, size: 16 } as const;
/** struct mmsghdr (bits/socket.h): struct msghdr of 56 bytes, then the received length. */
export const MMSGHDR = {
  name: 0,
  nameLength: 8,
  iov: 16,
  iovLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
  size: 64,
} as const;
/** struct cmsghdr (bits/socket.h); the data follows, the next header is aligned to 8. */
export const CMSGHDR = { length: 0, level: 8, type: 12, size: 16 } as const;
/** struct in_pktinfo (linux/in.h). */
export const IN_PKTINFO = { interfaceIndex: 0, specificDestination: 4, address: 8, size: 12 } as const;
/** struct in6_pktinfo (linux/ipv6.h). */
export const IN6_PKTINFO = { address: 0, interfaceIndex: 16, size: 20 } as const;
/** struct ifreq (linux/if.h): the name, then a union. */
export const IFREQ = { name: 0, nameSize: 16, flags: 16, size: 40 } as const;
/** struct pollfd (bits/poll.h). */
export const POLLFD = { fd: 0, events: 4, revents: 6, size: 8 } as const;

/** Bytes one control message takes in the control buffer, as the C macro CMSG_SPACE. */
export function controlSpace(dataSize: number): number {
  return CMSGHDR.size + ((dataSize + 7) & ~7);
}

/** Writes a 64-bit pointer or size; below 2^53, as all user addresses are. */
export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Writes the header of a control message and returns the offset of its data. */
export function writeControlHeader(
  view: DataView,
  at: number,
  level: number,
  type: number,
  dataSize: number,
): number {
  writeU64(view, at + CMSGHDR.length, CMSGHDR.size + dataSize);
  view.setInt32(at + CMSGHDR.level, level, true);
  view.setInt32(at + CMSGHDR.type, type, true);
  return at + CMSGHDR.size;
}

/** Writes a socket address of either family and returns its size. */
export function writeSocketAddress(
  view: DataView,
  at: number,
  address: Address,
  port: number,
  scope = 0,
): number {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  if (address.length === 4) {
    bytes.fill(0, at, at + SOCKADDR_IN.size);
    view.setUint16(at + SOCKADDR_IN.family, AF_INET, true);
    view.setUint16(at + SOCKADDR_IN.port, port);
    bytes.set(address, at + SOCKADDR_IN.address);
    return SOCKADDR_IN.size;
  }
  bytes.fill(0, at, at + SOCKADDR_IN6.size);
  view.setUint16(at + SOCKADDR_IN6.family, AF_INET6, true);
  view.setUint16(at + SOCKADDR_IN6.port, port);
  bytes.set(address, at + SOCKADDR_IN6.address);
  view.setUint32(at + SOCKADDR_IN6.scope, scope, true);
  return SOCKADDR_IN6.size;
}

/** The port of a socket address; it lies at the same place in both families. */
export function readSocketPort(view: DataView, at: number): number {
  return view.getUint16(at + SOCKADDR_IN.port);
}

/** Writes an interface name with its terminating zero. Throws RangeError when it does not fit into 15 bytes. */
export function writeInterfaceName(view: DataView, at: number, name: string): void {
  const text = Buffer.from(name, 'utf8');
  if (text.length >= IFREQ.nameSize) throw new RangeError(`interface name "${name}" is longer than 15 bytes`);
  const field = new Uint8Array(view.buffer, view.byteOffset + at, IFREQ.nameSize);
  field.fill(0);
  field.set(text);
}

/** Reads a zero-terminated name from a field of `size` bytes. */
export function readName(bytes: Uint8Array, at: number, size: number): string {
  const field = bytes.subarray(at, at + size);
  const end = field.indexOf(0);
  return Buffer.from(field.subarray(0, end < 0 ? field.length : end)).toString('utf8');
}
