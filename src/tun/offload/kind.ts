/** What a packet is to the coalescer. */
import type { Arena } from '../../core/arena.ts';
import { IPV4, IPV6, PROTOCOL } from '../packet.ts';
import { TCP, UDP } from './transport.ts';

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
