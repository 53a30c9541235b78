/**
 * Endpoint records to and from what the socket calls of Linux use: a socket address, and control messages for the local
 * side (PKTINFO), the TOS byte and the segment size. Every field lies on a multiple of four and moves as 32-bit words.
 */
import type { Arena } from '../core/arena.ts';
import type { MessageTable } from '../sys/messages.ts';
import {
  AF_INET,
  AF_INET6,
  CMSGHDR,
  IN6_PKTINFO,
  IN_PKTINFO,
  SOCKADDR_IN,
  SOCKADDR_IN6,
  controlSpace,
  writeControlHeader,
} from '../sys/structs.ts';
import {
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  IP_PKTINFO,
  IP_TOS,
  SOL_SOCKET,
  SOL_UDP,
  SO_RXQ_OVFL,
  UDP_GRO,
  UDP_SEGMENT,
} from '../sys/udp-socket.ts';
import { ENDPOINT, hasSource } from './endpoint.ts';

/** Room for PKTINFO and three messages of four bytes: TOS, segment size, overflow counter. */
export const CONTROL_SIZE: number = controlSpace(IN6_PKTINFO.size) + 3 * controlSpace(4);

// Words of an endpoint record.
const SCOPE = ENDPOINT.scope / 4;
const ADDRESS = ENDPOINT.address / 4;
const SOURCE = ENDPOINT.source / 4;
const SOURCE_INTERFACE = ENDPOINT.sourceInterface / 4;
const WORDS = ENDPOINT.size / 4;

// Words of a control message.
const LEVEL = CMSGHDR.level / 4;
const TYPE = CMSGHDR.type / 4;
const DATA = CMSGHDR.size / 4;

const swap16 = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);

/** What control messages say about one received message, besides its endpoint. */
export interface ReceivedInfo {
  /** The TOS or traffic class byte. */
  tos: number;
  /** Size of the datagrams that were joined; 0 when it is one. */
  segment: number;
  /** Datagrams that found the socket full, since it exists; stays as it was when the kernel says nothing. */
  overflow: number;
}

/** Writes the record of received message `i`, with the local side as sticky source, and fills `info`. */
export function readReceived(
  arena: Arena,
  table: MessageTable,
  i: number,
  record: number,
  info: ReceivedInfo,
): void {
  const { u32 } = arena;
  const to = record / 4;
  const name = table.name(i) / 4;
  const familyAndPort = u32[name] as number;
  const isIpv4 = (familyAndPort & 0xffff) === AF_INET;
  u32.fill(0, to, to + WORDS);
  u32[to] = (isIpv4 ? 4 : 6) | (swap16(familyAndPort >>> 16) << 16);
  if (isIpv4) {
    u32[to + ADDRESS] = u32[name + SOCKADDR_IN.address / 4] as number;
  } else {
    const address = name + SOCKADDR_IN6.address / 4;
    u32.copyWithin(to + ADDRESS, address, address + 4);
    u32[to + SCOPE] = u32[name + SOCKADDR_IN6.scope / 4] as number;
  }
  info.tos = 0;
  info.segment = 0;
  const control = table.control(i);
  readControls(arena, control, control + Math.min(table.controlLength(i), CONTROL_SIZE), to, info);
}

function readControls(arena: Arena, start: number, end: number, to: number, info: ReceivedInfo): void {
  const { u32 } = arena;
  for (let at = start; at + CMSGHDR.size <= end;) {
    const word = at / 4;
    const size = u32[word] as number;
    if (size < CMSGHDR.size || at + size > end) return;
    const level = u32[word + LEVEL];
    const type = u32[word + TYPE];
    const data = word + DATA;
    if (level === IPPROTO_IP && type === IP_PKTINFO) {
      // For a broadcast, the specific destination is the address to answer from.
      u32[to + SOURCE] = u32[data + IN_PKTINFO.specificDestination / 4] as number;
      u32[to + SOURCE_INTERFACE] = u32[data + IN_PKTINFO.interfaceIndex / 4] as number;
    } else if (level === IPPROTO_IPV6 && type === IPV6_PKTINFO) {
      u32.copyWithin(to + SOURCE, data, data + 4);
      u32[to + SOURCE_INTERFACE] = u32[data + IN6_PKTINFO.interfaceIndex / 4] as number;
    } else if (
      (level === IPPROTO_IP && type === IP_TOS) ||
      (level === IPPROTO_IPV6 && type === IPV6_TCLASS)
    ) {
      info.tos = (u32[data] as number) & 0xff;
    } else if (level === SOL_UDP && type === UDP_GRO) {
      info.segment = (u32[data] as number) & 0xffff;
    } else if (level === SOL_SOCKET && type === SO_RXQ_OVFL) {
      info.overflow = u32[data] as number;
    }
    at += (size + 7) & ~7;
  }
}

/** Writes the remote side of a record as the address of message `i`. */
export function writeName(
  arena: Arena,
  table: MessageTable,
  i: number,
  record: number,
  isIpv4: boolean,
): void {
  const { u32 } = arena;
  const from = record / 4;
  const name = table.name(i) / 4;
  const port = swap16((u32[from] as number) >>> 16);
  if (isIpv4) {
    u32[name] = AF_INET | (port << 16);
    u32[name + SOCKADDR_IN.address / 4] = u32[from + ADDRESS] as number;
    table.setNameLength(i, SOCKADDR_IN.size);
  } else {
    u32[name] = AF_INET6 | (port << 16);
    u32[name + SOCKADDR_IN6.flowInfo / 4] = 0;
    const address = name + SOCKADDR_IN6.address / 4;
    u32.copyWithin(address, from + ADDRESS, from + ADDRESS + 4);
    u32[name + SOCKADDR_IN6.scope / 4] = u32[from + SCOPE] as number;
    table.setNameLength(i, SOCKADDR_IN6.size);
  }
}

/** Writes the control messages of message `i`: source when the record has one, TOS and segment size when not 0. */
export function writeControls(
  arena: Arena,
  table: MessageTable,
  i: number,
  record: number,
  tos: number,
  segment: number,
  isIpv4: boolean,
): void {
  const { u32, view } = arena;
  const start = table.control(i);
  let at = start;
  if (hasSource(arena, record)) at += writeSource(arena, at, record / 4, isIpv4);
  if (tos !== 0) {
    const level = isIpv4 ? IPPROTO_IP : IPPROTO_IPV6;
    u32[writeControlHeader(view, at, level, isIpv4 ? IP_TOS : IPV6_TCLASS, 4) / 4] = tos;
    at += controlSpace(4);
  }
  if (segment !== 0) {
    u32[writeControlHeader(view, at, SOL_UDP, UDP_SEGMENT, 2) / 4] = segment;
    at += controlSpace(2);
  }
  table.setControl(i, 0, at - start);
}

/**
 * Only the address is asked for, as the kernel's WireGuard does: with the interface as well, IPv4 would take any
 * destination for on-link there when no route leads through it. A link-local source means nothing without it, though.
 */
function writeSource(arena: Arena, at: number, from: number, isIpv4: boolean): number {
  const { u32, view } = arena;
  const source = from + SOURCE;
  if (isIpv4) {
    const data = writeControlHeader(view, at, IPPROTO_IP, IP_PKTINFO, IN_PKTINFO.size) / 4;
    u32[data + IN_PKTINFO.interfaceIndex / 4] = 0;
    u32[data + IN_PKTINFO.specificDestination / 4] = u32[source] as number;
    u32[data + IN_PKTINFO.address / 4] = 0;
    return controlSpace(IN_PKTINFO.size);
  }
  const data = writeControlHeader(view, at, IPPROTO_IPV6, IPV6_PKTINFO, IN6_PKTINFO.size) / 4;
  u32.copyWithin(data, source, source + 4);
  // fe80::/10, in a little-endian word.
  const isLinkLocal = ((u32[source] as number) & 0xc0ff) === 0x80fe;
  u32[data + IN6_PKTINFO.interfaceIndex / 4] = isLinkLocal ? (u32[from + SOURCE_INTERFACE] as number) : 0;
  return controlSpace(IN6_PKTINFO.size);
}
