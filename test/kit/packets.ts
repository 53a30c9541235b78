/** Inner packets for tests. */
import { parseAddress } from '../../src/core/ip.ts';

/** A UDP-like IPv4 packet of `size` bytes with a correct header checksum; `serial` makes it distinct. */
export function ipv4Packet(from: string, to: string, size: number, serial = 0): Uint8Array {
  const packet = new Uint8Array(size);
  const view = new DataView(packet.buffer);
  packet[0] = 0x45;
  view.setUint16(2, size);
  view.setUint16(4, serial & 0xffff);
  packet[8] = 64;
  packet[9] = 17;
  packet.set(parseAddress(from) as Uint8Array, 12);
  packet.set(parseAddress(to) as Uint8Array, 16);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  for (let i = 20; i < size; i++) packet[i] = (i * 31 + serial) & 255;
  return packet;
}

export function ipv6Packet(from: string, to: string, size: number, serial = 0): Uint8Array {
  const packet = new Uint8Array(size);
  const view = new DataView(packet.buffer);
  packet[0] = 0x60;
  view.setUint16(4, size - 40);
  packet[6] = 17;
  packet[7] = 64;
  packet.set(parseAddress(from) as Uint8Array, 8);
  packet.set(parseAddress(to) as Uint8Array, 24);
  for (let i = 40; i < size; i++) packet[i] = (i * 31 + serial) & 255;
  return packet;
}

/** The Internet checksum of RFC 1071 by its definition, slowly. Zero over bytes that contain a right checksum. */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) {
    sum += (bytes[i] as number) * (i % 2 === 0 ? 256 : 1);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

/** A packet with that ECN field and DSCP; the IPv4 header checksum is right again. */
export function withTrafficClass(packet: Uint8Array, trafficClass: number): Uint8Array {
  const marked = packet.slice();
  if ((marked[0] as number) >> 4 === 6) {
    marked[0] = 0x60 | (trafficClass >> 4);
    marked[1] = ((trafficClass & 15) << 4) | ((marked[1] as number) & 15);
    return marked;
  }
  marked[1] = trafficClass;
  marked.fill(0, 10, 12);
  const sum = internetChecksum(marked.subarray(0, 20));
  marked[10] = sum >> 8;
  marked[11] = sum & 255;
  return marked;
}
