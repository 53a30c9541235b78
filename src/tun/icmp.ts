/**
 * Destination Unreachable for a packet that no peer takes: what the kernel's wg_xmit answers through icmp_ndo_send.
 * IPv4: host unreachable (RFC 792 type 3 code 1). IPv6: address unreachable (RFC 4443 type 1 code 3).
 */
import type { Arena } from '../core/arena.ts';
import { IPV4, IPV6, PROTOCOL, checksum, ipVersion, wordSum } from './packet.ts';

const ICMP_HEADER = 8;
/** RFC 1812 section 4.3.2.3: as much of the original as fits, at most 576 bytes in total. */
const MAX_IPV4 = 576;
/** RFC 4443 section 3.1: as much as fits the minimum MTU. */
const MAX_IPV6 = 1280;

const FRAGMENT_HEADER = 44;
/** Hop-by-hop options, routing, fragment, destination options (RFC 8200 section 4.1). */
const EXTENSION_HEADERS: ReadonlySet<number> = new Set([0, 43, FRAGMENT_HEADER, 60]);

/** Room that `writeUnreachable` may use. */
export const MAX_UNREACHABLE_SIZE: number = MAX_IPV6;

/**
 * Writes the ICMP error about the packet at `at` to `to` and returns its length; 0 when none may be sent: about ICMP
 * errors, fragments behind the first, or packets from or to addresses that are not one host (RFC 1122 section 3.2.2,
 * RFC 4443 section 2.4). Its source is the address that was not reached: the lane does not know the addresses of this
 * host, and Linux drops IPv4 packets that come from outside with one of them (the packet's own source, say) as martian.
 */
export function writeUnreachable(arena: Arena, at: number, length: number, to: number): number {
  if (ipVersion(arena, at) === 4)
    return mayAnswer4(arena, at, length) ? unreachable4(arena, at, length, to) : 0;
  return mayAnswer6(arena, at, length) ? unreachable6(arena, at, length, to) : 0;
}

function mayAnswer4(arena: Arena, at: number, length: number): boolean {
  const { u8, view } = arena;
  const header = ((u8[at] as number) & 15) * 4;
  if (header < IPV4.headerSize || length < header) return false;
  if ((view.getUint16(at + IPV4.fragment) & 0x1fff) !== 0) return false;
  const source = u8[at + IPV4.source] as number;
  const destination = u8[at + IPV4.destination] as number;
  // 0/8 is no host; 224/4 is multicast, 240/4 reserved or broadcast.
  if (source === 0 || source >= 224 || destination >= 224) return false;
  if (u8[at + IPV4.protocol] !== PROTOCOL.icmp) return true;
  const type = length > header ? (u8[at + header] as number) : 3;
  return type === 0 || type === 8 || type >= 13;
}

function unreachable4(arena: Arena, at: number, length: number, to: number): number {
  const { u8, view } = arena;
  const quoted = Math.min(length, MAX_IPV4 - IPV4.headerSize - ICMP_HEADER);
  const size = IPV4.headerSize + ICMP_HEADER + quoted;
  u8.fill(0, to, to + IPV4.headerSize + ICMP_HEADER);
  u8[to] = 0x45;
  // Precedence "internetwork control", as routers mark ICMP errors (RFC 1812 section 4.3.2.5).
  u8[to + IPV4.tos] = 0xc0;
  view.setUint16(to + IPV4.totalLength, size);
  u8[to + IPV4.ttl] = 64;
  u8[to + IPV4.protocol] = PROTOCOL.icmp;
  u8.copyWithin(to + IPV4.source, at + IPV4.destination, at + IPV4.destination + 4);
  u8.copyWithin(to + IPV4.destination, at + IPV4.source, at + IPV4.source + 4);
  view.setUint16(to + IPV4.checksum, checksum(wordSum(arena, to, IPV4.headerSize)));
  const icmp = to + IPV4.headerSize;
  u8[icmp] = 3;
  u8[icmp + 1] = 1;
  u8.copyWithin(icmp + ICMP_HEADER, at, at + quoted);
  view.setUint16(icmp + 2, checksum(wordSum(arena, icmp, ICMP_HEADER + quoted)));
  return size;
}

function mayAnswer6(arena: Arena, at: number, length: number): boolean {
  const { u8, view } = arena;
  if (length < IPV6.headerSize) return false;
  if (u8[at + IPV6.source] === 0xff || u8[at + IPV6.destination] === 0xff) return false;
  let any = 0;
  for (let i = 0; i < 16; i += 4) any |= view.getUint32(at + IPV6.source + i);
  if (any === 0) return false;
  return !isError6(arena, at, length);
}

/** True for ICMPv6 errors (types below 128), and for fragments behind the first, which may belong to one. */
function isError6(arena: Arena, at: number, length: number): boolean {
  const { u8, view } = arena;
  const end = at + length;
  let header = u8[at + IPV6.nextHeader] as number;
  let next = at + IPV6.headerSize;
  while (EXTENSION_HEADERS.has(header)) {
    if (next + 8 > end) return true;
    if (header === FRAGMENT_HEADER && (view.getUint16(next + 2) & 0xfff8) !== 0) return true;
    // RFC 8200 section 4: in units of 8 bytes, the first not counted; in a fragment header the field is reserved.
    const size = header === FRAGMENT_HEADER ? 8 : 8 + 8 * (u8[next + 1] as number);
    header = u8[next] as number;
    next += size;
  }
  return header === PROTOCOL.icmpv6 && (next >= end || (u8[next] as number) < 128);
}

function unreachable6(arena: Arena, at: number, length: number, to: number): number {
  const { u8, view } = arena;
  const quoted = Math.min(length, MAX_IPV6 - IPV6.headerSize - ICMP_HEADER);
  u8.fill(0, to, to + IPV6.headerSize + ICMP_HEADER);
  u8[to] = 0x60;
  view.setUint16(to + IPV6.payloadLength, ICMP_HEADER + quoted);
  u8[to + IPV6.nextHeader] = PROTOCOL.icmpv6;
  u8[to + IPV6.hopLimit] = 64;
  u8.copyWithin(to + IPV6.source, at + IPV6.destination, at + IPV6.destination + 16);
  u8.copyWithin(to + IPV6.destination, at + IPV6.source, at + IPV6.source + 16);
  const icmp = to + IPV6.headerSize;
  u8[icmp] = 1;
  u8[icmp + 1] = 3;
  u8.copyWithin(icmp + ICMP_HEADER, at, at + quoted);
  // Pseudo-header, RFC 8200 section 8.1: addresses, length, next header.
  const pseudo = wordSum(arena, to + IPV6.source, 32, ICMP_HEADER + quoted + PROTOCOL.icmpv6);
  view.setUint16(icmp + 2, checksum(wordSum(arena, icmp, ICMP_HEADER + quoted, pseudo)));
  return IPV6.headerSize + ICMP_HEADER + quoted;
}
