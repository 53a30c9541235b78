/** Which flow a packet belongs to: packets of one flow have to stay in order, those of different flows need not. */
import type { Arena } from '../core/arena.ts';
import { IPV4, IPV6, PROTOCOL } from './packet.ts';

/** More fragments flag and fragment offset. */
const FRAGMENT_BITS = 0x3fff;
const PORTS_SIZE = 4;

/**
 * A number for the flow of the IPv4 or IPv6 packet of `length` bytes at `at`, evenly spread over 32 bits: made of both
 * addresses, the protocol, and the ports of TCP and UDP. Of a fragment only the first part has ports, so none counts.
 */
export function flowOf(arena: Arena, at: number, length: number): number {
  const { u8, view } = arena;
  const isIpv4 = (u8[at] as number) >> 4 === 4;
  const protocol = u8[at + (isIpv4 ? IPV4.protocol : IPV6.nextHeader)] as number;
  const from = at + (isIpv4 ? IPV4.source : IPV6.source);
  const to = at + (isIpv4 ? IPV4.headerSize : IPV6.headerSize);
  let hash = protocol;
  for (let word = from; word < to; word += 4) hash = mix(hash, view.getInt32(word));
  const ports = at + (isIpv4 ? ((u8[at] as number) & 15) << 2 : IPV6.headerSize);
  const hasPorts = protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp;
  const isWhole = !isIpv4 || (view.getUint16(at + IPV4.fragment) & FRAGMENT_BITS) === 0;
  if (hasPorts && isWhole && ports + PORTS_SIZE <= at + length) hash = mix(hash, view.getInt32(ports));
  return finish(hash);
}

/** One round of MurmurHash3, 32 bits. */
function mix(hash: number, word: number): number {
  const scrambled = Math.imul(word, 0xcc9e_2d51);
  const turned = hash ^ Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b87_3593);
  return (Math.imul((turned << 13) | (turned >>> 19), 5) + 0xe654_6b64) | 0;
}

/** Its finalizer: every bit of the input moves every bit of the result. */
function finish(hash: number): number {
  const first = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  const second = Math.imul(first ^ (first >>> 13), 0xc2b2_ae35);
  return (second ^ (second >>> 16)) >>> 0;
}
