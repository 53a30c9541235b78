/**
 * Generic receive offload in user space: joins packets that follow each other in one TCP or UDP flow, so that one write
 * to a TUN with IFF_VNET_HDR carries up to 64 of them. The kernel's counterparts are tcp_gro_receive and
 * udp_gro_receive, and the rules are theirs where not stricter. Splitting a joined packet gives back the packets that
 * went in, byte by byte, except for the identification of IPv4 packets with DF, which means nothing (RFC 6864).
 *
 * Payload is not copied: a joined packet is a table of struct iovec over the packets where they lie.
 */
import type { Arena } from '../../core/arena.ts';
import type { Checksums } from '../../core/checksums.ts';
import { PORT_GONE } from '../tun.ts';
import { KIND_IS_UDP, OPAQUE, headersToJoin, kindOf, transportOf } from './kind.ts';
import { MAX_SEGMENTS, OpenPacket } from './open-packet.ts';
import { continuesIp, continuesTcp, continuesUdp, sameAddresses } from './same-flow.ts';
import { type PacketSink, SINK_REFUSED_SUPER } from './sink.ts';
import { restoreHeaders, writePlainHeader, writeSuperHeaders } from './super-header.ts';
import { TCP, TCP_FLAG } from './transport.ts';
import { isIntact } from './verify.ts';
import { MAX_PACKET_SIZE, VIRTIO_NET_HDR } from './virtio.ts';

export interface CoalescerOptions {
  /** Address of arena offset 0, for struct iovec. Below 2^53. */
  readonly address: number;
  /** Join TCP segments. */
  readonly tcp: boolean;
  /** Join UDP datagrams: only where the kernel took TUN_F_USO4 and TUN_F_USO6. */
  readonly udp: boolean;
}

/** Flows that can have a packet open at a time. When one more comes, the packet that was opened first is written. */
export const MAX_OPEN_PACKETS = 16;

/** struct iovec: address and length, 64 bits each. */
const IOVEC_SIZE = 16;
const IOVEC_WORDS = 4;
const TABLE_SIZE = MAX_SEGMENTS * IOVEC_SIZE;

/**
 * Packets of one flow leave in the order of `add`. A packet that waits for its successors may be overtaken by packets
 * of other flows, until `flush`.
 */
export class Coalescer {
  readonly #arena: Arena;
  readonly #checksums: Checksums;
  readonly #sink: PacketSink;
  readonly #addressLow: number;
  readonly #addressHigh: number;
  /** The first `#openCount` are open, in the order in which they were opened. */
  readonly #packets: OpenPacket[] = [];
  #openCount = 0;
  #tcp: boolean;
  #udp: boolean;
  #refused = 0;
  #isGone = false;

  constructor(arena: Arena, checksums: Checksums, sink: PacketSink, options: CoalescerOptions) {
    this.#arena = arena;
    this.#checksums = checksums;
    this.#sink = sink;
    this.#addressLow = (options.address % 2 ** 32) | 0;
    this.#addressHigh = Math.floor(options.address / 2 ** 32);
    this.#tcp = options.tcp;
    this.#udp = options.udp;
    const tables = arena.alloc(MAX_OPEN_PACKETS * TABLE_SIZE);
    for (let i = 0; i < MAX_OPEN_PACKETS; i++) this.#packets.push(new OpenPacket(tables + i * TABLE_SIZE));
  }

  /** Whether TCP segments are joined: as asked for, until `disableTcp` or until the sink refused one. */
  get tcp(): boolean {
    return this.#tcp;
  }

  get udp(): boolean {
    return this.#udp;
  }

  /** What is joined already is written as it came. */
  disableTcp(): void {
    this.#tcp = false;
  }

  disableUdp(): void {
    this.#udp = false;
  }

  /**
   * Takes the IP packet of `length` bytes at `at`, written now or with a later `add` or `flush`. Until `flush` the
   * packet must stay, and the ten bytes before it may be overwritten.
   */
  add(at: number, length: number): void {
    const { view } = this.#arena;
    for (let i = 0; i < this.#openCount; i++) {
      const open = this.#packets[i] as OpenPacket;
      if (length <= open.headerSize || view.getInt32(at + open.transport, true) !== open.ports) continue;
      if (!this.#join(open, at, length)) continue;
      // PSH asks for delivery; and behind a short segment nothing can follow.
      if (open.hasPush || length - open.headerSize < open.gsoSize) this.#close(i);
      return;
    }
    this.#begin(at, length);
  }

  /** Writes all that waits. Returns the number of packets that the sink refused since the last call, or PORT_GONE. */
  flush(): number {
    this.#writeAll();
    const result = this.#isGone ? PORT_GONE : this.#refused;
    this.#refused = 0;
    this.#isGone = false;
    return result;
  }

  /** Appends the packet to `open`, whose ports it has, if it continues it. */
  #join(open: OpenPacket, at: number, length: number): boolean {
    const arena = this.#arena;
    const { headerSize, transport } = open;
    const payload = length - headerSize;
    if (payload > open.gsoSize || open.segments === MAX_SEGMENTS) return false;
    if (open.length + payload > MAX_PACKET_SIZE || !continuesIp(arena, open, at, length)) return false;
    const isUdp = (open.kind & KIND_IS_UDP) !== 0;
    const follows = isUdp
      ? continuesUdp(arena, at + transport, length - transport)
      : continuesTcp(arena, open, at + transport);
    if (!follows || !isIntact(arena, this.#checksums, open, at, length)) return false;
    this.#setPiece(open.table, open.segments, at + headerSize, payload);
    open.segments++;
    open.length += payload;
    if (!isUdp) {
      open.sequence = (open.sequence + payload) | 0;
      open.hasPush = ((arena.u8[at + transport + TCP.flags] as number) & TCP_FLAG.psh) !== 0;
    }
    return true;
  }

  /** Takes a packet that continues none: it ends the open one of its flow and waits, or passes. */
  #begin(at: number, length: number): void {
    const kind = kindOf(this.#arena, at, length);
    if (kind === OPAQUE) this.#writeAll();
    if (kind < 0) {
      this.#writePlain(at, length);
      return;
    }
    const ports = this.#arena.view.getInt32(at + transportOf(kind), true);
    const index = this.#find(kind, ports, at);
    if (index >= 0) this.#close(index);
    const isOn = kind & KIND_IS_UDP ? this.#udp : this.#tcp;
    const headerSize = headersToJoin(this.#arena, kind, at, length);
    if (!isOn || headerSize === 0) {
      this.#writePlain(at, length);
      return;
    }
    if (this.#openCount === MAX_OPEN_PACKETS) this.#close(0);
    const open = this.#packets[this.#openCount++] as OpenPacket;
    open.reset(kind, ports, at, headerSize, length);
    // Of no meaning for UDP.
    open.sequence = (this.#arena.view.getInt32(at + open.transport + TCP.sequence) + open.gsoSize) | 0;
  }

  /** Index of the open packet of the flow, or -1. There is never more than one. */
  #find(kind: number, ports: number, at: number): number {
    for (let i = 0; i < this.#openCount; i++) {
      const open = this.#packets[i] as OpenPacket;
      if (open.ports === ports && open.kind === kind && sameAddresses(this.#arena, kind, at, open.head))
        return i;
    }
    return -1;
  }

  /** Takes a packet from the list and writes it. */
  #close(index: number): void {
    const packets = this.#packets;
    const open = packets[index] as OpenPacket;
    const last = --this.#openCount;
    for (let i = index; i < last; i++) packets[i] = packets[i + 1] as OpenPacket;
    packets[last] = open;
    this.#write(open);
  }

  #writeAll(): void {
    const count = this.#openCount;
    this.#openCount = 0;
    for (let i = 0; i < count; i++) this.#write(this.#packets[i] as OpenPacket);
  }

  #write(open: OpenPacket): void {
    if (open.segments === 1) this.#writePlain(open.head, open.length);
    else if (open.kind & KIND_IS_UDP ? !this.#udp : !this.#tcp) this.#writeApart(open);
    else this.#writeJoined(open);
  }

  #writeJoined(open: OpenPacket): void {
    writeSuperHeaders(this.#arena, this.#checksums, open);
    const header = open.head - VIRTIO_NET_HDR.size;
    this.#setPiece(open.table, 0, header, VIRTIO_NET_HDR.size + open.headerSize + open.gsoSize);
    const result = this.#sink.writev(open.table, open.segments, VIRTIO_NET_HDR.size + open.length);
    if (result !== SINK_REFUSED_SUPER) {
      this.#account(result, open.segments);
      return;
    }
    restoreHeaders(this.#arena, open);
    if (open.kind & KIND_IS_UDP) this.#udp = false;
    else this.#tcp = false;
    this.#writeApart(open);
  }

  /** Writes the packets as they came: their headers still precede the pieces. */
  #writeApart(open: OpenPacket): void {
    this.#writePlain(open.head, open.headerSize + open.gsoSize);
    for (let i = 1; i < open.segments; i++) {
      const piece = (open.table >> 2) + i * IOVEC_WORDS;
      const payload = this.#arena.u32[piece + 2] as number;
      this.#writePlain(this.#pieceAt(piece) - open.headerSize, open.headerSize + payload);
    }
  }

  /** Writes one packet for which nobody vouches: its receiver checks it. */
  #writePlain(at: number, length: number): void {
    writePlainHeader(this.#arena, at);
    this.#account(this.#sink.write(at - VIRTIO_NET_HDR.size, VIRTIO_NET_HDR.size + length), 1);
  }

  #account(result: number, packets: number): void {
    if (result >= 0) return;
    this.#refused += packets;
    if (result === PORT_GONE) this.#isGone = true;
  }

  /** Fills a struct iovec: 64-bit address (32-bit addition with carry), then length, whose high half stays 0. */
  #setPiece(table: number, index: number, at: number, length: number): void {
    const { u32 } = this.#arena;
    const piece = (table >> 2) + index * IOVEC_WORDS;
    const low = (this.#addressLow + at) | 0;
    u32[piece] = low;
    u32[piece + 1] = this.#addressHigh + (low >>> 0 < at ? 1 : 0);
    u32[piece + 2] = length;
  }

  /** The arena offset in a struct iovec. */
  #pieceAt(piece: number): number {
    return ((this.#arena.u32[piece] as number) - this.#addressLow) >>> 0;
  }
}
