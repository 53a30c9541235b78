/** Reads and writes IP packets of a TUN descriptor in place. */
import type { Arena } from '../core/arena.ts';
import { EAGAIN, EBADF, EBADFD, EINTR, ENODEV } from '../sys/errno.ts';
import { libc, type Libc } from '../sys/libc.ts';
import { arenaAddress, isInside } from '../sys/memory.ts';
import type { FdWatcher, Watch } from '../sys/readiness.ts';
import { PORT_GONE, PORT_REFUSED, type PacketPort } from './tun.ts';

export class LinuxPacketPort implements PacketPort {
  readonly #libc: Libc = libc();
  readonly #fd: number;
  readonly #base: number;
  readonly #size: number;
  readonly #watcher: FdWatcher;
  readonly #onGone: () => void;
  #watch: Watch | undefined;
  #isClosed = false;

  /** `onGone` is called, possibly from within `read` and `write`, when the kernel says that the device is gone. */
  constructor(fd: number, arena: Arena, watcher: FdWatcher, onGone: () => void) {
    this.#fd = fd;
    this.#base = arenaAddress(arena);
    this.#size = arena.u8.length;
    this.#watcher = watcher;
    this.#onGone = onGone;
  }

  read(at: number, capacity: number): number {
    if (this.#isClosed) return PORT_GONE;
    // The kernel must never be sent outside the arena, whatever the caller believes.
    const room = Math.min(capacity, this.#size - at);
    if (room <= 0 || !isInside(this.#size, at, room)) return 0;
    const length = this.#libc.read(this.#fd, this.#base + at, room);
    if (length >= 0) return length;
    const errno = this.#libc.errno();
    if (errno === EAGAIN || errno === EINTR || !isGone(errno)) return 0;
    this.#onGone();
    return PORT_GONE;
  }

  write(at: number, length: number): number {
    if (this.#isClosed) return PORT_GONE;
    if (!isInside(this.#size, at, length)) return PORT_REFUSED;
    for (;;) {
      if (this.#libc.write(this.#fd, this.#base + at, length) === length) return length;
      const errno = this.#libc.errno();
      if (errno === EINTR) continue;
      if (!isGone(errno)) return PORT_REFUSED;
      this.#onGone();
      return PORT_GONE;
    }
  }

  flush(): number {
    return 0;
  }

  onReadable(ready: (() => void) | undefined): void {
    if (this.#isClosed) return;
    this.#watch?.close();
    this.#watch = ready && this.#watcher.watch(this.#fd, ready);
  }

  /** From here on every call answers PORT_GONE and nothing is watched; the descriptor may be closed. */
  close(): void {
    this.#isClosed = true;
    this.#watch?.close();
    this.#watch = undefined;
  }
}

/** Whether an error of read or write means the end. EBADFD: the interface was deleted. EBADF: the descriptor is closed. */
export function isGone(errno: number): boolean {
  return errno === EBADFD || errno === EBADF || errno === ENODEV;
}
