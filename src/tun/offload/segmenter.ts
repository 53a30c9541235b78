/**
 * Generic segmentation offload in user space: takes what one read of a TUN with IFF_VNET_HDR returned and hands out
 * finished IP packets, one per call. The kernel's counterparts are tcp_gso_segment and __udp_gso_segment.
 */
import type { Arena } from '../../core/arena.ts';
import { type Checksums, fold, networkSum } from '../../core/checksums.ts';
import { IPV4, IPV6, PROTOCOL } from '../packet.ts';
import { TCP, TCP_FLAG, UDP } from './transport.ts';
import {
  MAX_PACKET_SIZE,
  VIRTIO_NET_HDR,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_NONE,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP_L4,
} from './virtio.ts';

const FRAGMENT_MASK = 0x3fff;

/** IPv6 extension headers that may precede a transport header without changing what is segmented (RFC 8200). */
const HOP_BY_HOP = 0;
const DESTINATION_OPTIONS = 60;

/** How `next` makes its packets. */
const COPY = 0;
const COMPLETE = 1;
const TCP_SEGMENT = 2;
const UDP_SEGMENT = 3;

/**
 * `start` takes a read, `next` returns its packets until `nextLength` is 0. A read is split as it is asked for, so no
 * number of segments is too large. The memory of the read belongs to the segmenter until then, headers are altered.
 *
 * Sums are kept in network order and folded to 16 bits; all state fits small integers.
 */
export class Segmenter {
  readonly #u8: Uint8Array;
  readonly #view: DataView;
  readonly #checksums: Checksums;

  #mode = COPY;
  #nextLength = 0;
  #packet = 0;
  /** Payload that is not handed out yet, as arena offsets. */
  #rest = 0;
  #end = 0;
  #gsoSize = 0;
  /** Bytes before the transport header, and before the payload. COMPLETE: where summing starts. */
  #transport = 0;
  #headerSize = 0;
  /** COMPLETE: where the checksum lies, from the packet's start. */
  #checksum = 0;
  #isV4 = false;
  /** Sums of the header fields that are the same in all segments. */
  #ipSum = 0;
  #transportSum = 0;
  #identification = 0;
  #sequence = 0;
  #flags = 0;

  constructor(arena: Arena, checksums: Checksums) {
    this.#u8 = arena.u8;
    this.#view = arena.view;
    this.#checksums = checksums;
  }

  /**
   * Takes a read: a virtio header at `header` and `length` bytes of packet at `packet`. False when they contradict each
   * other; then there is nothing to hand out and the read is to be dropped and counted. What is left of an earlier read
   * is forgotten.
   */
  start(header: number, packet: number, length: number): boolean {
    const type = this.#u8[header + VIRTIO_NET_HDR.gsoType] as number;
    const isValid =
      length > 0 &&
      length <= MAX_PACKET_SIZE &&
      (type === VIRTIO_NET_HDR_GSO_NONE
        ? this.#startSingle(header, packet, length)
        : this.#startSuper(header, type, packet, length));
    if (!isValid) this.forget();
    return isValid;
  }

  /** Hands out nothing more of this read. */
  forget(): void {
    this.#nextLength = 0;
  }

  /** Length of the packet that `next` will write, 0 when none is left. The first one of a read is the longest. */
  get nextLength(): number {
    return this.#nextLength;
  }

  /** Writes the next packet to `to`, outside of the read, and returns its length; 0 when none is left. */
  next(to: number): number {
    const length = this.#nextLength;
    if (length === 0) return 0;
    if (this.#mode >= TCP_SEGMENT) {
      this.#segment(to, length);
    } else {
      this.#nextLength = 0;
      if (this.#mode === COMPLETE) this.#complete(to, length);
      else this.#checksums.copySum(to, this.#packet, length);
    }
    return length;
  }

  #startSingle(header: number, packet: number, length: number): boolean {
    this.#packet = packet;
    this.#nextLength = length;
    this.#mode = COPY;
    if (((this.#u8[header] as number) & VIRTIO_NET_HDR_F_NEEDS_CSUM) === 0) return true;
    const start = this.#view.getUint16(header + VIRTIO_NET_HDR.checksumStart, true);
    const offset = this.#view.getUint16(header + VIRTIO_NET_HDR.checksumOffset, true);
    this.#mode = COMPLETE;
    this.#transport = start;
    this.#checksum = start + offset;
    return (offset & 1) === 0 && this.#checksum + 2 <= length;
  }

  /** Copies a packet that is whole but for its checksum, whose field holds the sum of the pseudo header. */
  #complete(to: number, length: number): void {
    const start = this.#transport;
    this.#checksums.copySum(to, this.#packet, start);
    const sum = this.#checksums.copySum(to + start, this.#packet + start, length - start);
    const value = ~networkSum(sum) & 0xffff;
    // 0 means "no checksum" in UDP; its other form means the same to everyone (the kernel's CSUM_MANGLED_0).
    this.#view.setUint16(to + this.#checksum, value === 0 ? 0xffff : value);
  }

  #startSuper(header: number, type: number, packet: number, length: number): boolean {
    const u8 = this.#u8;
    const view = this.#view;
    const isUdp = type === VIRTIO_NET_HDR_GSO_UDP_L4;
    const protocol = isUdp ? PROTOCOL.udp : PROTOCOL.tcp;
    const version = (u8[packet] as number) >> 4;
    const tcpType = version === 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
    if (!isUdp && (type & ~VIRTIO_NET_HDR_GSO_ECN) !== tcpType) return false;
    let transport = 0;
    if (version === 4) transport = this.#transportOf4(packet, length, protocol);
    else if (version === 6) transport = this.#transportOf6(packet, length, protocol);
    if (transport === 0) return false;

    // The header length is recomputed: `headerLength` may be anything. The other fields say again what the packet says;
    // where they do not, this is no plain TCP or UDP, and nothing here would fit.
    const minimum = transport + (isUdp ? UDP.headerSize : TCP.headerSize);
    const headerSize = isUdp
      ? minimum
      : transport + ((u8[packet + transport + TCP.dataOffset] as number) >> 4) * 4;
    const gsoSize = view.getUint16(header + VIRTIO_NET_HDR.gsoSize, true);
    if (headerSize < minimum || headerSize > length || gsoSize === 0) return false;
    if (((u8[header] as number) & VIRTIO_NET_HDR_F_NEEDS_CSUM) === 0) return false;
    if (view.getUint16(header + VIRTIO_NET_HDR.checksumStart, true) !== transport) return false;
    const checksum = isUdp ? UDP.checksum : TCP.checksum;
    if (view.getUint16(header + VIRTIO_NET_HDR.checksumOffset, true) !== checksum) return false;

    this.#packet = packet;
    this.#rest = packet + headerSize;
    this.#end = packet + length;
    this.#gsoSize = gsoSize;
    this.#transport = transport;
    this.#headerSize = headerSize;
    this.#nextLength = Math.min(headerSize + gsoSize, length);
    this.#prepareIp(packet, transport, version === 4, protocol);
    if (isUdp) this.#prepareUdp(packet + transport);
    else this.#prepareTcp(packet + transport, headerSize - transport);
    return true;
  }

  /** Offset of the transport header behind an IPv4 header with options, 0 when it is not to be found. */
  #transportOf4(packet: number, length: number, protocol: number): number {
    const headerSize = ((this.#u8[packet] as number) & 15) * 4;
    if (headerSize < IPV4.headerSize || length < headerSize) return 0;
    if (this.#u8[packet + IPV4.protocol] !== protocol) return 0;
    return (this.#view.getUint16(packet + IPV4.fragment) & FRAGMENT_MASK) === 0 ? headerSize : 0;
  }

  /** The same behind an IPv6 header and options. Routing headers change the pseudo header, fragments have none: 0. */
  #transportOf6(packet: number, length: number, protocol: number): number {
    if (length < IPV6.headerSize) return 0;
    let next = this.#u8[packet + IPV6.nextHeader] as number;
    let offset: number = IPV6.headerSize;
    while (next === HOP_BY_HOP || next === DESTINATION_OPTIONS) {
      if (offset + 8 > length) return 0;
      next = this.#u8[packet + offset] as number;
      offset += ((this.#u8[packet + offset + 1] as number) + 1) * 8;
    }
    return next === protocol ? offset : 0;
  }

  /** Zeroes what differs from segment to segment, and sums up the rest of the IP header and the pseudo header. */
  #prepareIp(packet: number, size: number, isV4: boolean, protocol: number): void {
    const view = this.#view;
    this.#isV4 = isV4;
    if (!isV4) {
      this.#transportSum = networkSum(this.#checksums.sum(packet + IPV6.source, 32)) + protocol;
      return;
    }
    this.#identification = view.getUint16(packet + IPV4.identification);
    view.setUint16(packet + IPV4.totalLength, 0);
    view.setUint16(packet + IPV4.identification, 0);
    view.setUint16(packet + IPV4.checksum, 0);
    this.#ipSum = networkSum(this.#checksums.sum(packet, size));
    this.#transportSum = networkSum(this.#checksums.sum(packet + IPV4.source, 8)) + protocol;
  }

  #prepareTcp(tcp: number, size: number): void {
    const view = this.#view;
    this.#mode = TCP_SEGMENT;
    this.#sequence = view.getInt32(tcp + TCP.sequence);
    this.#flags = this.#u8[tcp + TCP.flags] as number;
    view.setUint32(tcp + TCP.sequence, 0);
    this.#u8[tcp + TCP.flags] = 0;
    view.setUint16(tcp + TCP.checksum, 0);
    this.#transportSum += networkSum(this.#checksums.sum(tcp, size));
  }

  #prepareUdp(udp: number): void {
    this.#mode = UDP_SEGMENT;
    // Length and checksum, which are one word.
    this.#view.setUint32(udp + UDP.length, 0);
    this.#transportSum += networkSum(this.#checksums.sum(udp, UDP.headerSize));
  }

  #segment(to: number, length: number): void {
    const view = this.#view;
    const headerSize = this.#headerSize;
    const payload = length - headerSize;
    this.#checksums.copySum(to, this.#packet, headerSize);
    const payloadSum = networkSum(this.#checksums.copySum(to + headerSize, this.#rest, payload));
    this.#rest += payload;
    const left = this.#end - this.#rest;
    if (left < this.#gsoSize) this.#nextLength = left === 0 ? 0 : headerSize + left;

    if (this.#isV4) {
      const identification = this.#identification;
      view.setUint16(to + IPV4.totalLength, length);
      view.setUint16(to + IPV4.identification, identification);
      view.setUint16(to + IPV4.checksum, ~fold(this.#ipSum + length + identification));
      this.#identification = (identification + 1) & 0xffff;
    } else {
      view.setUint16(to + IPV6.payloadLength, length - IPV6.headerSize);
    }
    const transport = to + this.#transport;
    const sum = this.#transportSum + (length - this.#transport) + payloadSum;
    if (this.#mode === TCP_SEGMENT) this.#finishTcp(transport, payload, left, sum);
    else this.#finishUdp(transport, length - this.#transport, sum);
  }

  #finishTcp(tcp: number, payload: number, left: number, sum: number): void {
    const view = this.#view;
    const sequence = this.#sequence;
    // The end of data belongs to the last segment, the answer to ECE to the first.
    const flags = left === 0 ? this.#flags : this.#flags & ~(TCP_FLAG.fin | TCP_FLAG.psh);
    this.#flags &= ~TCP_FLAG.cwr;
    this.#sequence = (sequence + payload) | 0;
    view.setInt32(tcp + TCP.sequence, sequence);
    view.setUint8(tcp + TCP.flags, flags);
    view.setUint16(tcp + TCP.checksum, ~fold(sum + (sequence >>> 16) + (sequence & 0xffff) + flags));
  }

  #finishUdp(udp: number, size: number, sum: number): void {
    const value = ~fold(sum + size) & 0xffff;
    this.#view.setUint16(udp + UDP.length, size);
    this.#view.setUint16(udp + UDP.checksum, value === 0 ? 0xffff : value);
  }
}
