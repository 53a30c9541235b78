/** poll(2) over a fixed set of descriptors, and eventfd(2) to interrupt it: for threads that block in the kernel. */
import { EAGAIN, EINTR, systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';
import { POLLFD } from './structs.ts';

export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 16;
export const POLLNVAL = 32;

export class PollSet {
  readonly #block: Block;
  readonly #count: number;

  /** One entry per descriptor, in this order; `events` of POLLIN and POLLOUT. A negative descriptor is ignored. */
  constructor(entries: readonly { readonly fd: number; readonly events: number }[]) {
    this.#count = entries.length;
    this.#block = new Block(Math.max(1, entries.length) * POLLFD.size);
    for (const [i, entry] of entries.entries()) {
      this.#block.view.setInt32(i * POLLFD.size + POLLFD.fd, entry.fd, true);
      this.setEvents(i, entry.events);
    }
  }

  setEvents(i: number, events: number): void {
    this.#block.view.setInt16(i * POLLFD.size + POLLFD.events, events, true);
  }

  /** Blocks the thread until a descriptor is ready; negative waits for ever. Returns how many are, 0 after a timeout. */
  wait(timeoutMs: number): number {
    const ready = libc().poll(this.#block.address, this.#count, timeoutMs);
    if (ready >= 0) return ready;
    const errno = libc().errno();
    if (errno === EINTR) return 0;
    throw systemError('poll', errno);
  }

  /** What happened at entry `i`: POLLIN, POLLOUT, and unasked POLLERR, POLLHUP, POLLNVAL. */
  ready(i: number): number {
    return this.#block.view.getInt16(i * POLLFD.size + POLLFD.revents, true);
  }
}

/** Lets other threads that want this processor have it; returns at once when there are none. */
export function yieldProcessor(): void {
  libc().schedYield();
}

const EFD_NONBLOCK_CLOEXEC = 0o2004000;

/** A counter in the kernel that one thread raises and another polls; both use the same descriptor number. */
export class EventFd {
  readonly fd: number;
  readonly #block: Block = new Block(8);

  /** `fd`: that of an EventFd made on another thread. */
  constructor(fd?: number) {
    this.fd = fd ?? libc().eventfd(0, EFD_NONBLOCK_CLOEXEC);
    if (this.fd < 0) throw systemError('eventfd', libc().errno());
  }

  /** Makes the descriptor readable. */
  raise(): void {
    this.#block.view.setUint32(0, 1, true);
    this.#block.view.setUint32(4, 0, true);
    // EAGAIN means that 2^64 - 2 wake-ups wait already: readable all the same.
    if (libc().write(this.fd, this.#block.address, 8) < 0 && libc().errno() !== EAGAIN) {
      throw systemError('write eventfd', libc().errno());
    }
  }

  /** Makes it unreadable again. True when it had been raised. */
  clear(): boolean {
    return libc().read(this.fd, this.#block.address, 8) === 8;
  }

  /** Only the thread that made it. */
  close(): void {
    libc().close(this.fd);
  }
}
