/** The headers with which packets are written, joined or alone. */
import type { Arena } from '../../core/arena.ts';
import { type Checksums, fold, networkSum } from '../../core/checksums.ts';
import { IPV4, IPV6, PROTOCOL } from '../packet.ts';
import { KIND_IS_UDP, KIND_IS_V6 } from './kind.ts';
import type { OpenPacket } from './open-packet.ts';
import { TCP, TCP_FLAG, UDP } from './transport.ts';
import {
  VIRTIO_NET_HDR,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP_L4,
} from './virtio.ts';

/** The header of a packet that is what it seems: nothing joined, all checksums in place, nobody vouches for them. */
export function writePlainHeader({ view }: Arena, packet: number): void {
  const header = packet - VIRTIO_NET_HDR.size;
  view.setUint32(header, 0);
  view.setUint32(header + 4, 0);
  view.setUint16(header + 8, 0);
}

/** Turns the headers of the first packet into those of the joined one, before which it writes a virtio header. */
export function writeSuperHeaders(arena: Arena, checksums: Checksums, open: OpenPacket): void {
  const { u8, view } = arena;
  const { head, length, transport } = open;
  const isV6 = (open.kind & KIND_IS_V6) !== 0;
  const isUdp = (open.kind & KIND_IS_UDP) !== 0;
  const checksum = isUdp ? UDP.checksum : TCP.checksum;
  const header = head - VIRTIO_NET_HDR.size;
  const tcpType = isV6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
  u8[header + VIRTIO_NET_HDR.flags] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  u8[header + VIRTIO_NET_HDR.gsoType] = isUdp ? VIRTIO_NET_HDR_GSO_UDP_L4 : tcpType;
  view.setUint16(header + VIRTIO_NET_HDR.headerLength, open.headerSize, true);
  view.setUint16(header + VIRTIO_NET_HDR.gsoSize, open.gsoSize, true);
  view.setUint16(header + VIRTIO_NET_HDR.checksumStart, transport, true);
  view.setUint16(header + VIRTIO_NET_HDR.checksumOffset, checksum, true);

  open.transportChecksum = view.getUint16(head + transport + checksum);
  let pseudo = (isUdp ? PROTOCOL.udp : PROTOCOL.tcp) + length - transport;
  if (isV6) {
    view.setUint16(head + IPV6.payloadLength, length - IPV6.headerSize);
    pseudo += networkSum(checksums.sum(head + IPV6.source, 32));
  } else {
    open.ipChecksum = view.getUint16(head + IPV4.checksum);
    view.setUint16(head + IPV4.totalLength, length);
    view.setUint16(head + IPV4.checksum, 0);
    view.setUint16(head + IPV4.checksum, ~networkSum(checksums.sum(head, IPV4.headerSize)));
    pseudo += networkSum(checksums.sum(head + IPV4.source, 8));
  }
  view.setUint16(head + transport + checksum, fold(pseudo));
  if (isUdp) view.setUint16(head + transport + UDP.length, length - transport);
  else if (open.hasPush) togglePush(arena, head + transport);
}

/** Undoes `writeSuperHeaders`, so that the first packet is again what came in. */
export function restoreHeaders(arena: Arena, open: OpenPacket): void {
  const { view } = arena;
  const { head, transport } = open;
  const length = open.headerSize + open.gsoSize;
  const isUdp = (open.kind & KIND_IS_UDP) !== 0;
  if (open.kind & KIND_IS_V6) {
    view.setUint16(head + IPV6.payloadLength, length - IPV6.headerSize);
  } else {
    view.setUint16(head + IPV4.totalLength, length);
    view.setUint16(head + IPV4.checksum, open.ipChecksum);
  }
  view.setUint16(head + transport + (isUdp ? UDP.checksum : TCP.checksum), open.transportChecksum);
  if (isUdp) view.setUint16(head + transport + UDP.length, length - transport);
  else if (open.hasPush) togglePush(arena, head + transport);
}

/** Only the last segment may have PSH, so the first of several has none. */
function togglePush({ u8 }: Arena, tcp: number): void {
  u8[tcp + TCP.flags] = (u8[tcp + TCP.flags] as number) ^ TCP_FLAG.psh;
}
