/** ICMPv6 echo (RFC 4443) as whole packets, for interfaces in memory, where no kernel makes them. */
import { type Address, addressesEqual } from '../../core/ip.ts';

const IPV6_HEADER_SIZE = 40;
const NEXT_HEADER = 6;
const SOURCE = 8;
const DESTINATION = 24;
const ICMPV6 = 58;
const ECHO_REQUEST = 128;
const ECHO_REPLY = 129;
const CHECKSUM = IPV6_HEADER_SIZE + 2;
const SEQUENCE = IPV6_HEADER_SIZE + 6;
/** 64 bytes of ICMP, as ping(8) sends. */
const ICMP_SIZE = 64;

export function echoRequest(from: Address, to: Address, sequence: number): Uint8Array {
  const packet = new Uint8Array(IPV6_HEADER_SIZE + ICMP_SIZE);
  const view = new DataView(packet.buffer);
  packet[0] = 0x60;
  view.setUint16(4, ICMP_SIZE);
  packet[NEXT_HEADER] = ICMPV6;
  packet[7] = 64;
  packet.set(from, SOURCE);
  packet.set(to, DESTINATION);
  packet[IPV6_HEADER_SIZE] = ECHO_REQUEST;
  view.setUint16(SEQUENCE, sequence & 0xffff);
  writeChecksum(packet);
  return packet;
}

/** The answer to an echo request; undefined for anything else. */
export function echoReply(packet: Uint8Array): Uint8Array | undefined {
  if (!isEcho(packet, ECHO_REQUEST)) return undefined;
  const reply = packet.slice();
  reply.set(packet.subarray(SOURCE, DESTINATION), DESTINATION);
  reply.set(packet.subarray(DESTINATION, IPV6_HEADER_SIZE), SOURCE);
  reply[7] = 64;
  reply[IPV6_HEADER_SIZE] = ECHO_REPLY;
  writeChecksum(reply);
  return reply;
}

/** Whether it answers the echo request to `from` with this sequence number. */
export function isEchoReply(packet: Uint8Array, from: Address, sequence: number): boolean {
  return (
    isEcho(packet, ECHO_REPLY) &&
    addressesEqual(packet.subarray(SOURCE, DESTINATION), from) &&
    new DataView(packet.buffer, packet.byteOffset).getUint16(SEQUENCE) === (sequence & 0xffff)
  );
}

function isEcho(packet: Uint8Array, type: number): boolean {
  return (
    packet.length >= IPV6_HEADER_SIZE + 8 &&
    (packet[0] as number) >> 4 === 6 &&
    packet[NEXT_HEADER] === ICMPV6 &&
    packet[IPV6_HEADER_SIZE] === type
  );
}

/** With the pseudo header: addresses, length and protocol. */
function writeChecksum(packet: Uint8Array): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  view.setUint16(CHECKSUM, 0);
  let sum = ICMPV6 + packet.length - IPV6_HEADER_SIZE;
  for (let i = SOURCE; i + 1 < packet.length; i += 2) sum += view.getUint16(i);
  if (packet.length % 2 === 1) sum += (packet.at(-1) as number) << 8;
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(CHECKSUM, ~(sum + (sum >>> 16)));
}
