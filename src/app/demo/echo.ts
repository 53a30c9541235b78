/** ICMP echo over IPv4 as whole packets, for the stage in memory, where no kernel makes them. */
import { type Address, addressesEqual } from '../../core/ip.ts';
import { IPV4, PROTOCOL } from '../../tun/packet.ts';

const ECHO_REPLY = 0;
const ECHO = 8;
const ICMP_AT: number = IPV4.headerSize;
const SEQUENCE_AT: number = ICMP_AT + 6;
/** 64 bytes of ICMP, as ping(8) sends. */
const PACKET_BYTES: number = ICMP_AT + 64;

/** RFC 1071. */
function writeChecksum(view: DataView, field: number, from: number, to: number): void {
  view.setUint16(field, 0);
  let sum = 0;
  for (let i = from; i < to; i += 2) sum += view.getUint16(i);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(field, ~(sum + (sum >>> 16)));
}

/** An IPv4 packet with a correct header; the rest is zero. `size` is even. */
export function ipv4Packet(from: Address, to: Address, protocol: number, size: number): Uint8Array {
  const packet = new Uint8Array(size);
  const view = new DataView(packet.buffer);
  view.setUint8(IPV4.versionAndHeaderLength, 0x45);
  view.setUint16(IPV4.totalLength, size);
  view.setUint8(IPV4.ttl, 64);
  view.setUint8(IPV4.protocol, protocol);
  packet.set(from, IPV4.source);
  packet.set(to, IPV4.destination);
  writeChecksum(view, IPV4.checksum, 0, IPV4.headerSize);
  return packet;
}

export function echoRequest(from: Address, to: Address, sequence: number): Uint8Array {
  const packet = ipv4Packet(from, to, PROTOCOL.icmp, PACKET_BYTES);
  const view = new DataView(packet.buffer);
  view.setUint8(ICMP_AT, ECHO);
  view.setUint16(SEQUENCE_AT, sequence);
  writeChecksum(view, ICMP_AT + 2, ICMP_AT, PACKET_BYTES);
  return packet;
}

/** What a host answers, or undefined when the packet is no echo request. */
export function echoReply(request: Uint8Array): Uint8Array | undefined {
  if (request[IPV4.protocol] !== PROTOCOL.icmp || request[ICMP_AT] !== ECHO) return undefined;
  const reply = request.slice();
  reply.set(request.subarray(IPV4.source, IPV4.destination), IPV4.destination);
  reply.set(request.subarray(IPV4.destination, IPV4.destination + 4), IPV4.source);
  reply[ICMP_AT] = ECHO_REPLY;
  writeChecksum(new DataView(reply.buffer), ICMP_AT + 2, ICMP_AT, reply.length);
  return reply;
}

/** Whether `packet` answers the request that was sent from `from` with this number. */
export function isReply(packet: Uint8Array, from: Address, sequence: number): boolean {
  return (
    packet[IPV4.protocol] === PROTOCOL.icmp &&
    packet[ICMP_AT] === ECHO_REPLY &&
    addressesEqual(packet.subarray(IPV4.destination, IPV4.destination + 4), from) &&
    new DataView(packet.buffer, packet.byteOffset).getUint16(SEQUENCE_AT) === sequence
  );
}
