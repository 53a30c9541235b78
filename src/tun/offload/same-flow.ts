/**
 * Whether two packets of one kind (kind.ts) can share one header: comparisons of the fields that a split packet would
 * inherit from the first. Fields are compared as they lie in memory, several at a time.
 */
import type { Arena } from '../../core/arena.ts';
import { IPV4, IPV6 } from '../packet.ts';
import { DONT_FRAGMENT, KIND_IS_V6 } from './kind.ts';
import type { OpenPacket } from './open-packet.ts';
import { TCP, TCP_FLAG } from './transport.ts';

/** Where PSH is in the little-endian word of data offset, flags and window. */
const PSH_OF_WORD = TCP_FLAG.psh << 8;

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

/** The rest of the IP header, of the packet at `at` and the ones joined in `open`. */
export function sameIp({ u8, view }: Arena, at: number, open: OpenPacket): boolean {
  const { head } = open;
  if (open.kind & KIND_IS_V6) {
    // Version, traffic class and flow label are the first word.
    return (
      view.getInt32(at, true) === view.getInt32(head, true) &&
      u8[at + IPV6.hopLimit] === u8[head + IPV6.hopLimit]
    );
  }
  const fragment = view.getUint16(head + IPV4.fragment);
  if (
    u8[at + IPV4.tos] !== u8[head + IPV4.tos] ||
    u8[at + IPV4.ttl] !== u8[head + IPV4.ttl] ||
    view.getUint16(at + IPV4.fragment) !== fragment
  )
    return false;
  // Without DF the packet may be fragmented further on, and then its identification matters.
  if (fragment & DONT_FRAGMENT) return true;
  const expected = view.getUint16(head + IPV4.identification) + open.segments;
  return view.getUint16(at + IPV4.identification) === (expected & 0xffff);
}

/** The TCP headers at `a` and `b`, of `size` bytes each, apart from ports, sequence number, PSH and checksum. */
export function sameTcp({ view }: Arena, a: number, b: number, size: number): boolean {
  if (view.getInt32(a + TCP.acknowledgment, true) !== view.getInt32(b + TCP.acknowledgment, true))
    return false;
  const changed = view.getInt32(a + TCP.dataOffset, true) ^ view.getInt32(b + TCP.dataOffset, true);
  if ((changed & ~PSH_OF_WORD) !== 0) return false;
  if (view.getUint16(a + TCP.urgent) !== view.getUint16(b + TCP.urgent)) return false;
  for (let i: number = TCP.headerSize; i < size; i += 4)
    if (view.getInt32(a + i, true) !== view.getInt32(b + i, true)) return false;
  return true;
}
