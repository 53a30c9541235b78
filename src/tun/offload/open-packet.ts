/** A packet that waits in the coalescer for its successors, and what was joined to it already. */
import { transportOf } from './kind.ts';

/** As many as the kernel's UDP_GRO_CNT_MAX; TCP reaches 65,535 bytes first, unless its segments are small. */
export const MAX_SEGMENTS = 64;

/** Objects of this class live as long as the coalescer. All fields fit small integers. */
export class OpenPacket {
  kind = 0;
  /** Source and destination port as they lie in memory. */
  ports = 0;
  /** Arena offset of the first packet, whose headers stand for all. They are intact until it is written. */
  head = 0;
  /** Bytes before the transport header, and before the payload. */
  transport = 0;
  headerSize = 0;
  /** Payload of the first packet, which all others but the last have too. */
  gsoSize = 0;
  /** The joined packet: headers and all payload. */
  length = 0;
  segments = 0;
  /** TCP: sequence number of the next segment, as a signed integer. */
  sequence = 0;
  /** The last segment has PSH. */
  hasPush = false;
  /** The checksums of the first packet were found right. Those of the others always were. */
  isVerified = false;
  /** IPv4, once verified: the folded sum of the header fields in which packets of a flow differ, `ownIpSum`. */
  ipSum = 0;
  /** What the first packet had in these fields, once its headers were altered for writing. */
  ipChecksum = 0;
  transportChecksum = 0;
  /** Arena offset of a table of MAX_SEGMENTS struct iovec. */
  readonly table: number;

  constructor(table: number) {
    this.table = table;
  }

  /** Becomes a packet of `length` bytes with nothing joined to it. */
  reset(kind: number, ports: number, head: number, headerSize: number, length: number): void {
    this.kind = kind;
    this.ports = ports;
    this.head = head;
    this.transport = transportOf(kind);
    this.headerSize = headerSize;
    this.gsoSize = length - headerSize;
    this.length = length;
    this.segments = 1;
    this.hasPush = false;
    this.isVerified = false;
  }
}
