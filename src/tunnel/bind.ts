/**
 * A bind carries datagrams: UDP sockets, a gRPC stream, or memory. As with the TUN, `Bind` is the control half and
 * `DatagramPort` the data half, which belongs to one lane host.
 */
import type { Arena } from '../core/arena.ts';
import { ENDPOINT } from './endpoint.ts';

export interface Bind {
  /** `linux`, `dgram`, `memory`, ...: shown in doctor and metrics. */
  readonly kind: string;
  /**
   * Opens IPv4 and IPv6 sockets on one port (0: any) and returns the port. When sockets are open already the new ones
   * are opened first and then take their place, so a failure (SystemError with EADDRINUSE) leaves the old ones as they
   * were. A family the machine lacks is left out as long as the other works.
   */
  open(port: number): Promise<number>;
  /** SO_MARK on present and future sockets; 0 = none. */
  setMark(mark: number): void;
  /** Idempotent. After it resolves no `ready` callback runs and the port is free. `open` may follow. */
  close(): Promise<void>;
}

export interface DatagramPort {
  /** Largest number of datagrams one `receive` can fill, and one `send` takes. */
  readonly batchSize: number;
  /**
   * Fills `batch` (cleared first) with waiting datagrams; the bind places them in buffers of its own in the arena,
   * valid until the next `receive`. Returns their number, 0 when none waits. Never throws, never blocks.
   */
  receive(batch: DatagramBatch): number;
  /**
   * Sends the batch in order. A full socket or any other error drops the datagram concerned and is counted; a source
   * address that vanished is cleared from the endpoint record and the datagram sent again without it.
   */
  send(batch: DatagramBatch): void;
  /** Datagrams dropped by `send`, by cause; monotonic, wraps at 2^32. */
  readonly sendErrors: SendErrors;
  /** Datagrams that came faster than they were taken; monotonic, wraps at 2^32. Absent where that cannot happen. */
  readonly receiveOverflow?: number;
  /** Whether datagrams are joined for the kernel to cut (UDP_SEGMENT); false also after it has failed. Absent: never. */
  readonly usesGso?: boolean | undefined;
  /** Sources of endpoint records that `send` cleared; monotonic, wraps at 2^32. Absent where there are none. */
  readonly lostSources?: number;
  /** Routes or addresses of this machine changed: sticky sources are held against them before their next use. */
  routesChanged?(): void;
  /** Calls `ready` on the control thread whenever datagrams may wait, until `close`. Hosted lanes poll instead. */
  onReadable(ready: () => void): void;
}

export interface SendErrors {
  /** EAGAIN, ENOBUFS. */
  full: number;
  /** EMSGSIZE. */
  tooLarge: number;
  /** ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, a missing family. */
  unreachable: number;
  /** EPERM (firewall), EIO and everything else. */
  other: number;
}

/**
 * Descriptors of datagrams in the arena, as parallel arrays. One object serves for life; `clear` empties it.
 * `endpoint[i]` is the arena offset of a record as in endpoint.ts: for a received batch in the bind's own table (valid
 * like the payload), for a sent batch wherever the caller keeps it.
 */
export class DatagramBatch {
  readonly capacity: number;
  count = 0;
  /** Arena offset of the payload. */
  readonly at: Uint32Array;
  /** Payload bytes. */
  readonly length: Uint32Array;
  readonly endpoint: Uint32Array;
  /** The outer IP TOS or traffic class byte: received value, or value to send. */
  readonly tos: Uint8Array;
  /** Of datagrams to send by a stream: those of different flows may overtake each other. */
  readonly flow: Uint32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.at = new Uint32Array(capacity);
    this.length = new Uint32Array(capacity);
    this.endpoint = new Uint32Array(capacity);
    this.tos = new Uint8Array(capacity);
    this.flow = new Uint32Array(capacity);
  }

  clear(): void {
    this.count = 0;
  }

  /** The caller makes sure that `count < capacity`. */
  push(at: number, length: number, endpoint: number, tos: number, flow = 0): void {
    const i = this.count++;
    this.at[i] = at;
    this.length[i] = length;
    this.endpoint[i] = endpoint;
    this.tos[i] = tos;
    this.flow[i] = flow;
  }

  /** Pushes datagram `i` of another batch. */
  copy(from: DatagramBatch, i: number): void {
    const at = from.at[i] as number;
    this.push(at, from.length[i] as number, from.endpoint[i] as number, from.tos[i] as number);
  }
}

/** A table of endpoint records in the arena, one per slot of a receive batch. */
export function allocEndpoints(arena: Arena, count: number): number {
  return arena.alloc(count * ENDPOINT.size);
}
