/**
 * The checksums that allow joining. The receiver of a joined packet looks at none any more, so that a wrong one, which
 * would have protected it from what happened before the tunnel, must not get in.
 */
import type { Arena } from '../../core/arena.ts';
import { type Checksums, fold, networkSum } from '../../core/checksums.ts';
import { IPV4, IPV6, PROTOCOL } from '../packet.ts';
import { KIND_IS_UDP, KIND_IS_V6 } from './kind.ts';
import type { OpenPacket } from './open-packet.ts';

/** Verifies the packet of `length` bytes at `at`, which continues `open`, and first of all `open` itself. */
export function isIntact(
  arena: Arena,
  checksums: Checksums,
  open: OpenPacket,
  at: number,
  length: number,
): boolean {
  if (!open.isVerified && !verifyFirst(arena, checksums, open)) return false;
  // The IPv4 headers are equal in all other fields, so this one is right if its own fields sum up to the same.
  if ((open.kind & KIND_IS_V6) === 0 && ownIpSum(arena, at) !== open.ipSum) return false;
  return transportHolds(checksums, open.kind, at, length);
}

function verifyFirst(arena: Arena, checksums: Checksums, open: OpenPacket): boolean {
  const { kind, head } = open;
  if ((kind & KIND_IS_V6) === 0) {
    if (fold(checksums.sum(head, IPV4.headerSize)) !== 0xffff) return false;
    open.ipSum = ownIpSum(arena, head);
  }
  open.isVerified = transportHolds(checksums, kind, head, open.headerSize + open.gsoSize);
  return open.isVerified;
}

/** Total length, identification and checksum. The length is not 0, so equal sums fold to equal words. */
function ownIpSum({ view }: Arena, at: number): number {
  return fold(
    view.getUint16(at + IPV4.totalLength) +
      view.getUint16(at + IPV4.identification) +
      view.getUint16(at + IPV4.checksum),
  );
}

/** In both versions of IP the addresses, which are most of the pseudo header, lie right before the transport header. */
function transportHolds(checksums: Checksums, kind: number, at: number, length: number): boolean {
  const isV6 = (kind & KIND_IS_V6) !== 0;
  const addresses = isV6 ? IPV6.source : IPV4.source;
  const size = length - (isV6 ? IPV6.headerSize : IPV4.headerSize);
  const protocol = kind & KIND_IS_UDP ? PROTOCOL.udp : PROTOCOL.tcp;
  return fold(networkSum(checksums.sum(at + addresses, length - addresses)) + size + protocol) === 0xffff;
}
