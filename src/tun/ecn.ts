/** Explicit congestion notification through a tunnel, RFC 6040. */
import type { Arena } from '../core/arena.ts';
import { IPV4, ipVersion, trafficClass } from './packet.ts';

/** The ECN field is the low two bits of TOS or traffic class (RFC 3168). */
export const ECN_MASK = 3;

export const ECN = { notEct: 0, ect1: 1, ect0: 2, ce: 3 } as const;

const DROP = -1;

/**
 * RFC 6040 figure 4, as [inner][outer]: the ECN field of the delivered packet, or DROP. Congestion marks of the path
 * reach the inner packet; where that does not understand them, dropping it is the only signal left.
 */
const DECAPSULATED: readonly (readonly number[])[] = [
  //          outer: notEct      ect1        ect0       ce
  /* notEct */ [ECN.notEct, ECN.notEct, ECN.notEct, DROP],
  /* ect1   */ [ECN.ect1, ECN.ect1, ECN.ect1, ECN.ce],
  /* ect0   */ [ECN.ect0, ECN.ect1, ECN.ect0, ECN.ce],
  /* ce     */ [ECN.ce, ECN.ce, ECN.ce, ECN.ce],
];

/** The outer TOS for a packet: its ECN field, DSCP 0 (normal mode, section 4.1). */
export function encapsulateEcn(arena: Arena, at: number): number {
  return trafficClass(arena, at) & ECN_MASK;
}

/** Merges the outer ECN field into the packet. False when the packet must be dropped. */
export function decapsulateEcn(arena: Arena, at: number, outerTos: number): boolean {
  // Nearly every packet: nothing was marked on the way.
  if ((outerTos & ECN_MASK) === ECN.notEct) return true;
  const inner = trafficClass(arena, at) & ECN_MASK;
  const merged = (DECAPSULATED[inner] as readonly number[])[outerTos & ECN_MASK] as number;
  if (merged === DROP) return false;
  if (merged !== inner) setEcn(arena, at, merged);
  return true;
}

function setEcn(arena: Arena, at: number, ecn: number): void {
  const { u8, view } = arena;
  if (ipVersion(arena, at) === 6) {
    u8[at + 1] = ((u8[at + 1] as number) & ~(ECN_MASK << 4)) | (ecn << 4);
    return;
  }
  const before = view.getUint16(at);
  u8[at + IPV4.tos] = ((u8[at + IPV4.tos] as number) & ~ECN_MASK) | ecn;
  // Incremental update, RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
  let sum = (~view.getUint16(at + IPV4.checksum) & 0xffff) + (~before & 0xffff) + view.getUint16(at);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at + IPV4.checksum, ~sum & 0xffff);
}
