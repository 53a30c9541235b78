/**
 * Whether a packet continues the open packet of its flow: equal in every header field that a split packet inherits from
 * the first. The first one is known to be fit for joining (kind.ts, coalescer.ts), so what is equal to it is fit too and
 * needs no inspection of its own. Fields are compared as they lie in memory, several at a time.
 *
 * The caller makes sure that the packet is longer than the headers of the open one.
 */
import type { Arena } from '../../core/arena.ts';
import { IPV4, IPV6 } from '../packet.ts';
import { DONT_FRAGMENT, KIND_IS_V6 } from './kind.ts';
import type { OpenPacket } from './open-packet.ts';
import { TCP, TCP_FLAG, UDP } from './transport.ts';

/** Where PSH is in the little-endian word of data offset, flags and window. */
const PSH_OF_WORD = TCP_FLAG.psh << 8;

/** The addresses of two packets of one kind. */
export function sameAddresses({ view }: Arena, kind: number, a: number, b: number): boolean {
  if ((kind & KIND_IS_V6) === 0) {
    return (
      view.getInt32(a + IPV4.source, true) === view.getInt32(b + IPV4.source, true) &&
      view.getInt32(a + IPV4.destination, true) === view.getInt32(b + IPV4.destination, true)
    );
  }
  for (let i: number = IPV6.source; i < IPV6.headerSize; i += 4)
    if (view.getInt32(a + i, true) !== view.getInt32(b + i, true)) return false;
  return true;
}

/** The IP header of the packet of `length` bytes at `at`. */
export function continuesIp(arena: Arena, open: OpenPacket, at: number, length: number): boolean {
  const { view } = arena;
  const { head, kind } = open;
  const changed = view.getInt32(at, true) ^ view.getInt32(head, true);
  if (kind & KIND_IS_V6) {
    // Version, traffic class and flow label; next header and hop limit.
    return (
      changed === 0 &&
      view.getUint16(at + IPV6.nextHeader) === view.getUint16(head + IPV6.nextHeader) &&
      view.getUint16(at + IPV6.payloadLength) === length - IPV6.headerSize &&
      sameAddresses(arena, kind, at, head)
    );
  }
  // Version, header size and TOS; TTL and protocol.
  if ((changed & 0xffff) !== 0) return false;
  if (view.getUint16(at + IPV4.ttl) !== view.getUint16(head + IPV4.ttl)) return false;
  if (view.getUint16(at + IPV4.totalLength) !== length || !sameAddresses(arena, kind, at, head)) return false;
  const fragment = view.getUint16(at + IPV4.fragment);
  if (fragment !== view.getUint16(head + IPV4.fragment)) return false;
  // Without DF the packet may be fragmented further on, and then its identification matters.
  if (fragment & DONT_FRAGMENT) return true;
  const expected = view.getUint16(head + IPV4.identification) + open.segments;
  return view.getUint16(at + IPV4.identification) === (expected & 0xffff);
}

/** The TCP header at `tcp`, ports apart; it may have PSH, which the first packet has not. */
export function continuesTcp({ view }: Arena, open: OpenPacket, tcp: number): boolean {
  if (view.getInt32(tcp + TCP.sequence) !== open.sequence) return false;
  const first = open.head + open.transport;
  const changed = view.getInt32(tcp + TCP.dataOffset, true) ^ view.getInt32(first + TCP.dataOffset, true);
  if ((changed & ~PSH_OF_WORD) !== 0) return false;
  if (view.getInt32(tcp + TCP.acknowledgment, true) !== view.getInt32(first + TCP.acknowledgment, true))
    return false;
  if (view.getUint16(tcp + TCP.urgent) !== view.getUint16(first + TCP.urgent)) return false;
  const size = open.headerSize - open.transport;
  for (let i: number = TCP.headerSize; i < size; i += 4)
    if (view.getInt32(tcp + i, true) !== view.getInt32(first + i, true)) return false;
  return true;
}

/** The UDP header at `udp`, ports apart, of a datagram of `size` bytes. One without a checksum must not get one. */
export function continuesUdp({ view }: Arena, udp: number, size: number): boolean {
  return view.getUint16(udp + UDP.length) === size && view.getUint16(udp + UDP.checksum) !== 0;
}
