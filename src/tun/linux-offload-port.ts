/**
 * A TUN descriptor with IFF_VNET_HDR: one read brings up to 64 KiB of one flow, one write takes as much. The lanes see
 * single packets; splitting and joining happen here (linux/virtio_net.h, Documentation/networking/tuntap).
 */
import type { Arena } from '../core/arena.ts';
import type { Checksums } from '../core/checksums.ts';
import { EINVAL } from '../sys/errno.ts';
import { type Libc, libc } from '../sys/libc.ts';
import { arenaAddress, isInside } from '../sys/memory.ts';
import { IOVEC } from '../sys/structs.ts';
import type { FdWatcher, Watch } from '../sys/readiness.ts';
import { Coalescer } from './offload/coalescer.ts';
import { Segmenter } from './offload/segmenter.ts';
import { type PacketSink, SINK_REFUSED_SUPER } from './offload/sink.ts';
import { VIRTIO_NET_HDR } from './offload/virtio.ts';
import { isGone } from './linux-port.ts';
import { PORT_GONE, PORT_REFUSED, type PacketPort } from './tun.ts';

/** The IP header behind the virtio header lies on a 16-byte boundary: the checksum kernel reads 16 bytes at a time. */
const PACKET_ALIGNMENT = 16;
const MAX_PACKET = 65_535;
const READ_SIZE: number = VIRTIO_NET_HDR.size + MAX_PACKET;

export interface LinuxOffloadPortOptions {
  readonly fd: number;
  readonly arena: Arena;
  readonly checksums: Checksums;
  /** Join UDP datagrams too: the kernel took TUN_F_USO4 and TUN_F_USO6. */
  readonly udp: boolean;
  readonly watcher: FdWatcher;
  /** Called, possibly from within `read` and `flush`, when the kernel says that the device is gone. */
  readonly onGone: () => void;
}

export class LinuxOffloadPort implements PacketPort {
  readonly #libc: Libc = libc();
  readonly #options: LinuxOffloadPortOptions;
  readonly #readAddress: number;
  readonly #header: number;
  readonly #segmenter: Segmenter;
  readonly #coalescer: Coalescer;
  #watch: Watch | undefined;
  #isClosed = false;
  /** Reads whose virtio header contradicts the packet, or that are cut into more than `read` was given room for. */
  malformed = 0;

  constructor(options: LinuxOffloadPortOptions) {
    const { arena, checksums, fd } = options;
    const address = arenaAddress(arena);
    this.#options = options;
    this.#header = arena.alloc(READ_SIZE + 2 * PACKET_ALIGNMENT) + PACKET_ALIGNMENT - VIRTIO_NET_HDR.size;
    this.#readAddress = address + this.#header;
    this.#segmenter = new Segmenter(arena, checksums);
    const sink = new DescriptorSink(fd, address, arena.u8.length, options.onGone);
    this.#coalescer = new Coalescer(arena, checksums, sink, { address, tcp: true, udp: options.udp });
  }

  read(at: number, capacity: number): number {
    if (this.#isClosed) return PORT_GONE;
    for (;;) {
      const next = this.#segmenter.nextLength;
      if (next > capacity) {
        this.#segmenter.forget();
        this.malformed++;
      } else if (next > 0) {
        return this.#segmenter.next(at);
      }
      const length = this.#libc.read(this.#options.fd, this.#readAddress, READ_SIZE);
      if (length <= 0) return length === 0 ? 0 : this.#failed(this.#libc.errno());
      const packet = this.#header + VIRTIO_NET_HDR.size;
      if (!this.#segmenter.start(this.#header, packet, length - VIRTIO_NET_HDR.size)) this.malformed++;
    }
  }

  get holdsMore(): boolean {
    return this.#segmenter.nextLength > 0;
  }

  write(at: number, length: number): number {
    if (this.#isClosed) return PORT_GONE;
    this.#coalescer.add(at, length);
    return length;
  }

  flush(): number {
    return Math.max(0, this.#coalescer.flush());
  }

  onReadable(ready: (() => void) | undefined): void {
    if (this.#isClosed) return;
    this.#watch?.close();
    this.#watch = ready && this.#options.watcher.watch(this.#options.fd, ready);
  }

  /** From here on every call answers PORT_GONE and nothing is watched; the descriptor may be closed. */
  close(): void {
    this.#isClosed = true;
    this.#watch?.close();
    this.#watch = undefined;
  }

  #failed(errno: number): number {
    if (!isGone(errno)) return 0;
    this.#options.onGone();
    return PORT_GONE;
  }
}

class DescriptorSink implements PacketSink {
  readonly #libc: Libc = libc();
  readonly #fd: number;
  readonly #base: number;
  readonly #size: number;
  readonly #onGone: () => void;

  constructor(fd: number, base: number, size: number, onGone: () => void) {
    this.#fd = fd;
    this.#base = base;
    this.#size = size;
    this.#onGone = onGone;
  }

  write(at: number, length: number): number {
    if (!isInside(this.#size, at, length)) return PORT_REFUSED;
    const written = this.#libc.write(this.#fd, this.#base + at, length);
    return written === length ? length : this.#refusal(this.#libc.errno());
  }

  writev(table: number, count: number, length: number): number {
    if (!isInside(this.#size, table, count * IOVEC.size)) return PORT_REFUSED;
    const written = this.#libc.writev(this.#fd, this.#base + table, count);
    if (written === length) return length;
    const errno = this.#libc.errno();
    return errno === EINVAL ? SINK_REFUSED_SUPER : this.#refusal(errno);
  }

  #refusal(errno: number): number {
    if (!isGone(errno)) return PORT_REFUSED;
    this.#onGone();
    return PORT_GONE;
  }
}
