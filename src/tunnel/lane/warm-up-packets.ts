/** Packets of a rehearsal, as a TUN hands them over. Source and destination are one address, like lane and peer. */
import { Block } from '../../sys/memory.ts';
import type { TunFormat } from '../../tun/linux.ts';
import { TCP, TCP_FLAG } from '../../tun/offload/transport.ts';
import {
  VIRTIO_NET_HDR,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
} from '../../tun/offload/virtio.ts';
import { IPV4, IPV6, PROTOCOL } from '../../tun/packet.ts';

/** What the peer may have: 10.0.0.0/8 and fd00::/8. */
export const ALLOWED_IPS: readonly { readonly address: Uint8Array; readonly length: number }[] = [
  { address: Uint8Array.of(10, 0, 0, 0), length: 8 },
  { address: Uint8Array.of(0xfd, ...new Array<number>(15).fill(0)), length: 8 },
];

const OWN4 = Uint8Array.of(10, 0, 0, 1);
const OWN6 = Uint8Array.of(0xfd, ...new Array<number>(14).fill(0), 1);
/** TEST-NET-1, which is nobody's. */
const NOBODY = Uint8Array.of(192, 0, 2, 1);

/** An echo request of `ping`: IP header, ICMP header, 56 bytes. */
const ECHO = 8 + 56;
const ECHO_REQUEST = 8;
const ECHO_REQUEST_V6 = 128;
const SEGMENT = 1_368;
const SEGMENTS = 8;
const TCP_HEADERS: number = IPV4.headerSize + TCP.headerSize;

export interface RehearsalPackets {
  /** A small one, a super-packet where there are any, one of IPv6; all of different sizes. */
  readonly allowed: readonly [Block, Block, Block];
  /** No peer takes it. The ICMP error about it is of yet another size. */
  readonly refused: Block;
}

export function rehearsalPackets(format: TunFormat): RehearsalPackets {
  const room = format === 'plain' ? 0 : VIRTIO_NET_HDR.size;
  return {
    allowed: [echo4(room, OWN4), format === 'plain' ? echo4(0, OWN4, SEGMENT) : superPacket(), echo6(room)],
    refused: echo4(room, NOBODY),
  };
}

/** Behind `room` zero bytes. */
function echo4(room: number, destination: Uint8Array, size: number = ECHO): Block {
  const length = IPV4.headerSize + size;
  const block = new Block(room + length);
  writeIpv4(block, room, length, PROTOCOL.icmp, destination);
  block.u8[room + IPV4.headerSize] = ECHO_REQUEST;
  return block;
}

function echo6(room: number): Block {
  const block = new Block(room + IPV6.headerSize + ECHO);
  const { u8, view } = block;
  u8[room] = 0x60;
  view.setUint16(room + IPV6.payloadLength, ECHO);
  u8[room + IPV6.nextHeader] = PROTOCOL.icmpv6;
  u8[room + IPV6.hopLimit] = 64;
  u8.set(OWN6, room + IPV6.source);
  u8.set(OWN6, room + IPV6.destination);
  u8[room + IPV6.headerSize] = ECHO_REQUEST_V6;
  return block;
}

/** What the kernel hands over for several segments of one TCP flow. */
function superPacket(): Block {
  const at = VIRTIO_NET_HDR.size;
  const length = TCP_HEADERS + SEGMENTS * SEGMENT;
  const block = new Block(at + length);
  const { u8, view } = block;
  u8[VIRTIO_NET_HDR.flags] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  u8[VIRTIO_NET_HDR.gsoType] = VIRTIO_NET_HDR_GSO_TCPV4;
  view.setUint16(VIRTIO_NET_HDR.headerLength, TCP_HEADERS, true);
  view.setUint16(VIRTIO_NET_HDR.gsoSize, SEGMENT, true);
  view.setUint16(VIRTIO_NET_HDR.checksumStart, IPV4.headerSize, true);
  view.setUint16(VIRTIO_NET_HDR.checksumOffset, TCP.checksum, true);
  writeIpv4(block, at, length, PROTOCOL.tcp, OWN4);
  u8[at + IPV4.headerSize + TCP.dataOffset] = (TCP.headerSize / 4) << 4;
  u8[at + IPV4.headerSize + TCP.flags] = TCP_FLAG.ack;
  return block;
}

function writeIpv4(
  { u8, view }: Block,
  at: number,
  length: number,
  protocol: number,
  destination: Uint8Array,
): void {
  u8[at] = 0x45;
  view.setUint16(at + IPV4.totalLength, length);
  u8[at + IPV4.ttl] = 64;
  u8[at + IPV4.protocol] = protocol;
  u8.set(OWN4, at + IPV4.source);
  u8.set(destination, at + IPV4.destination);
}
