/** The slow twin of src/tun/offload/segmenter.ts: whole arrays, one field at a time. */
import {
  CWR,
  FIN,
  PSH,
  fixChecksums,
  layoutOf,
  onesSum,
  read16,
  read32,
  write16,
  write32,
} from './ip-packet.ts';
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  NEEDS_CSUM,
  type VirtioHeader,
} from './virtio.ts';

/** The packets that a read of `packet` behind `header` stands for; undefined when the two contradict each other. */
export function segment(header: VirtioHeader, packet: Uint8Array): readonly Uint8Array[] | undefined {
  if (packet.length === 0 || packet.length > 65_535) return undefined;
  if (header.gsoType !== GSO_NONE) return segmentSuper(header, packet);
  const whole = packet.slice();
  return (header.flags & NEEDS_CSUM) === 0 || completeChecksum(header, whole) ? [whole] : undefined;
}

function completeChecksum(header: VirtioHeader, packet: Uint8Array): boolean {
  const at = header.checksumStart + header.checksumOffset;
  if (header.checksumOffset % 2 !== 0 || at + 2 > packet.length) return false;
  const value = 0xffff - onesSum(packet.subarray(header.checksumStart));
  write16(packet, at, value === 0 ? 0xffff : value);
  return true;
}

function segmentSuper(header: VirtioHeader, packet: Uint8Array): readonly Uint8Array[] | undefined {
  // The length fields of a super-packet are not looked at: they may not even be able to hold its length.
  const whole = packet.slice();
  if (!setLengths(whole)) return undefined;
  const layout = layoutOf(whole);
  if (!layout || header.gsoSize === 0 || (header.flags & NEEDS_CSUM) === 0) return undefined;
  const isUdp = layout.protocol === 17;
  const tcpType = layout.version === 4 ? GSO_TCPV4 : GSO_TCPV6;
  const isRightType = isUdp ? header.gsoType === GSO_UDP_L4 : (header.gsoType & ~GSO_ECN) === tcpType;
  if (!isRightType || header.checksumStart !== layout.transport) return undefined;
  if (header.checksumStart + header.checksumOffset !== layout.transportChecksum) return undefined;

  const payload = whole.subarray(layout.payload);
  const count = Math.max(1, Math.ceil(payload.length / header.gsoSize));
  return Array.from({ length: count }, (_, i) => {
    const part = payload.subarray(i * header.gsoSize, (i + 1) * header.gsoSize);
    const piece = Uint8Array.from([...whole.subarray(0, layout.payload), ...part]);
    setLengths(piece);
    if (layout.version === 4) write16(piece, 4, (read16(piece, 4) + i) % 0x1_0000);
    if (!isUdp) {
      const tcp = layout.transport;
      write32(piece, tcp + 4, (read32(piece, tcp + 4) + i * header.gsoSize) % 2 ** 32);
      if (i > 0) piece[tcp + 13] = (piece[tcp + 13] as number) & ~CWR;
      if (i < count - 1) piece[tcp + 13] = (piece[tcp + 13] as number) & ~(FIN | PSH);
    }
    fixChecksums(piece);
    return piece;
  });
}

/** Writes the packet's length into the IP header, and into the UDP header. False when these are not there. */
function setLengths(packet: Uint8Array): boolean {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= 20) write16(packet, 2, packet.length);
  else if (version === 6 && packet.length >= 40) write16(packet, 4, packet.length - 40);
  else return false;
  const udp = udpOffset(packet);
  if (udp !== undefined) write16(packet, udp + 4, packet.length - udp);
  return true;
}

function udpOffset(packet: Uint8Array): number | undefined {
  let protocol = packet[9] as number;
  let at = ((packet[0] as number) % 16) * 4;
  if ((packet[0] as number) >> 4 === 6) {
    protocol = packet[6] as number;
    at = 40;
    while ((protocol === 0 || protocol === 60) && at + 8 <= packet.length) {
      protocol = packet[at] as number;
      at += 8 + 8 * (packet[at + 1] as number);
    }
  }
  return protocol === 17 && at + 8 <= packet.length ? at : undefined;
}
