/** What a packet is to the coalescer. */
import type { Arena } from '../../core/arena.ts';
import { IPV4, IPV6, PROTOCOL } from '../packet.ts';
import { TCP, TCP_FLAG, UDP } from './transport.ts';

/** The kinds that are joined, as bits: two transports over two versions of IP. Headers are complete and not special. */
export const KIND = { tcp4: 0, tcp6: 1, udp4: 2, udp6: 3 } as const;
export const KIND_IS_V6 = 1;
export const KIND_IS_UDP = 2;
/** Belongs to no flow that is joined, so it may overtake all of them. */
export const UNRELATED = -1;
/** May belong to any flow (a fragment, a header with options, malformed), so it may overtake none. */
export const OPAQUE = -2;

/** IPv4 with a header of 20 bytes. */
const PLAIN_IPV4 = 0x45;
export const DONT_FRAGMENT = 0x4000;

/** One of KIND, UNRELATED or OPAQUE, for `length` bytes at `at`. Reads no further than `length` bytes. */
export function kindOf(arena: Arena, at: number, length: number): number {
  const { u8, view } = arena;
  const first = u8[at] as number;
  if (first >> 4 === 4 && length >= IPV4.headerSize) {
    const protocol = u8[at + IPV4.protocol] as number;
    if (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp) return UNRELATED;
    if (first !== PLAIN_IPV4) return OPAQUE;
    if ((view.getUint16(at + IPV4.fragment) & ~DONT_FRAGMENT) !== 0) return OPAQUE;
    if (view.getUint16(at + IPV4.totalLength) !== length) return OPAQUE;
    return kindOver(KIND.tcp4, protocol, length - IPV4.headerSize);
  }
  if (first >> 4 === 6 && length >= IPV6.headerSize) {
    const protocol = u8[at + IPV6.nextHeader] as number;
    if (protocol === PROTOCOL.icmpv6) return UNRELATED;
    if (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp) return OPAQUE;
    if (view.getUint16(at + IPV6.payloadLength) + IPV6.headerSize !== length) return OPAQUE;
    return kindOver(KIND.tcp6, protocol, length - IPV6.headerSize);
  }
  return OPAQUE;
}

function kindOver(ip: number, protocol: number, size: number): number {
  if (protocol === PROTOCOL.tcp) return size >= TCP.headerSize ? ip : OPAQUE;
  return size >= UDP.headerSize ? ip | KIND_IS_UDP : OPAQUE;
}

/** Bytes before the transport header of a packet of KIND. */
export function transportOf(kind: number): number {
  return kind & KIND_IS_V6 ? IPV6.headerSize : IPV4.headerSize;
}

/**
 * Size of the headers of a packet of KIND that others may be joined to; 0 when none may: TCP needs ACK and nothing
 * else, UDP a checksum, and both need payload.
 */
export function headersToJoin({ u8, view }: Arena, kind: number, at: number, length: number): number {
  const transport = transportOf(kind);
  const start = at + transport;
  if (kind & KIND_IS_UDP) {
    const isWhole = view.getUint16(start + UDP.length) === length - transport;
    const headerSize = transport + UDP.headerSize;
    return isWhole && view.getUint16(start + UDP.checksum) !== 0 && length > headerSize ? headerSize : 0;
  }
  const dataOffset = u8[start + TCP.dataOffset] as number;
  if ((dataOffset & 15) !== 0 || u8[start + TCP.flags] !== TCP_FLAG.ack) return 0;
  const size = (dataOffset >> 4) * 4;
  return size >= TCP.headerSize && length > transport + size ? transport + size : 0;
}
