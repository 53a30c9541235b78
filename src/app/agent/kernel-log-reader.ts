/** /dev/kmsg: one record for each read, from the oldest one that the kernel still has. */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { AppError } from '../../core/errors.ts';
import type { FdWatcher, Watch } from '../../sys/readiness.ts';

const KERNEL_LOG = '/dev/kmsg';
/** CONSOLE_EXT_LOG_MAX of the kernel. */
const MAX_RECORD_SIZE = 8192;
/** Records taken in one turn of the event loop. */
const RECORDS_PER_TURN = 64;

/**
 * Reads while it is resumed. What is not read waits in the kernel's own buffer, which overwrites its oldest records, so
 * nothing piles up here.
 */
export class KernelLogReader {
  readonly #fd: number;
  readonly #watcher: FdWatcher;
  /** Returns false to be paused. */
  readonly #onRecord: (text: string) => boolean;
  readonly #buffer: Buffer = Buffer.allocUnsafe(MAX_RECORD_SIZE);
  #watch: Watch | undefined;
  /** Records that were overwritten before they could be read, in runs. */
  lost = 0;

  /** Throws AppError when the log cannot be read. */
  constructor(watcher: FdWatcher, onRecord: (text: string) => boolean, path: string = KERNEL_LOG) {
    this.#watcher = watcher;
    this.#onRecord = onRecord;
    try {
      this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new AppError(
        code === 'EPERM' || code === 'EACCES' ? 'permission' : 'unavailable',
        `${path}: ${code ?? message}`,
        {
          cause: error,
          hint: 'reading the kernel log needs root or CAP_SYSLOG',
        },
      );
    }
  }

  resume(): void {
    this.#watch ??= this.#watcher.watch(this.#fd, () => this.#drain());
  }

  pause(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  /** Idempotent. */
  close(): void {
    this.pause();
    closeSync(this.#fd);
  }

  #drain(): void {
    for (let i = 0; i < RECORDS_PER_TURN && this.#watch; i++) {
      const size = this.#read();
      if (size === undefined) return;
      if (size > 0 && !this.#onRecord(this.#buffer.toString('utf8', 0, size))) this.pause();
    }
  }

  /** Undefined when there is nothing more now; 0 where records are missing. */
  #read(): number | undefined {
    try {
      const size = readSync(this.#fd, this.#buffer, 0, MAX_RECORD_SIZE, null);
      return size > 0 ? size : undefined;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The record that would come next is gone; the following read begins with the oldest there is.
      if (code === 'EPIPE') {
        this.lost++;
        return 0;
      }
      if (code === 'EAGAIN' || code === 'EINTR') return undefined;
      this.pause();
      return undefined;
    }
  }
}
