/** IPv4 and IPv6 packets in the arena: the header fields that a tunnel looks at, by offset (RFC 791, RFC 8200). */
import type { Arena } from '../core/arena.ts';

export const IPV4 = {
  versionAndHeaderLength: 0,
  tos: 1,
  totalLength: 2,
  identification: 4,
  fragment: 6,
  ttl: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
  headerSize: 20,
} as const;

export const IPV6 = {
  versionAndClass: 0,
  payloadLength: 4,
  nextHeader: 6,
  hopLimit: 7,
  source: 8,
  destination: 24,
  headerSize: 40,
} as const;

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

/** 4, 6 or anything else for what is no IP packet. */
export function ipVersion(arena: Arena, at: number): number {
  return (arena.u8[at] as number) >> 4;
}

/**
 * The length that the packet's own header states, or 0 when it is no IP packet or states more than the `length` bytes
 * that are there. What lies behind is padding. The kernel's wg_packet_consume_data_done makes the same checks.
 */
export function innerLength(arena: Arena, at: number, length: number): number {
  const version = ipVersion(arena, at);
  let stated = 0;
  if (version === 4 && length >= IPV4.headerSize) {
    stated = arena.view.getUint16(at + IPV4.totalLength);
    if (stated < IPV4.headerSize) return 0;
  } else if (version === 6 && length >= IPV6.headerSize) {
    stated = arena.view.getUint16(at + IPV6.payloadLength) + IPV6.headerSize;
  }
  return stated <= length ? stated : 0;
}

/** The TOS or traffic class byte. */
export function trafficClass(arena: Arena, at: number): number {
  const { u8 } = arena;
  if (ipVersion(arena, at) === 4) return u8[at + IPV4.tos] as number;
  return (((u8[at] as number) & 15) << 4) | ((u8[at + 1] as number) >> 4);
}

/** Adds up 16-bit big-endian words (RFC 1071); an odd byte counts as if a zero followed. Not folded. */
export function wordSum(arena: Arena, at: number, length: number, start = 0): number {
  const { view, u8 } = arena;
  const end = at + (length & ~1);
  let sum = start;
  for (let i = at; i < end; i += 2) sum += view.getUint16(i);
  return length & 1 ? sum + ((u8[end] as number) << 8) : sum;
}

/** Folds a word sum and complements it: the value for a checksum field. */
export function checksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}
