/** Where coalesced packets go: what a TUN descriptor with IFF_VNET_HDR takes. */
import { PORT_REFUSED } from '../tun.ts';

/**
 * A `writev` result: the kernel does not take this kind of super-packet (EINVAL). Kernel 6.6.44 began to refuse what
 * was right before.
 */
export const SINK_REFUSED_SUPER: number = PORT_REFUSED - 1;

/** Results are the bytes written, or PORT_REFUSED or PORT_GONE of tun.ts. Never throws, never blocks. */
export interface PacketSink {
  /** Writes `length` bytes at arena offset `at`: a virtio header and a packet. */
  write(at: number, length: number): number;
  /**
   * Writes one super-packet from `count` pieces, described by struct iovec (u64 address, u64 length) at arena offset
   * `table`: a virtio header, headers and payload, `length` bytes in all. Also: SINK_REFUSED_SUPER.
   */
  writev(table: number, count: number, length: number): number;
}
