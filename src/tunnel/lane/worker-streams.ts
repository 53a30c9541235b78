/** The control thread's end of the rings that it shares with lane workers. */
import { EventFd } from '../../sys/poll.ts';
import type { FdWatcher, Watch } from '../../sys/readiness.ts';
import { RingBridge, type RingBridgeOptions } from '../stream-bridge.ts';
import type { Direction } from './control.ts';

export interface WorkerStreamsOptions extends Omit<RingBridgeOptions, 'wakeLane'> {
  readonly watcher: FdWatcher;
}

export class WorkerStreams {
  readonly bridge: RingBridge;
  readonly #wake = new EventFd();
  readonly #watch: Watch;
  /** Arena offsets of the rings that workers have laid out so far. */
  #toLane: number | undefined;
  #toStreams: number | undefined;
  #wakeLane: () => void = () => {};
  #isClosed = false;

  constructor(options: WorkerStreamsOptions) {
    this.bridge = new RingBridge({ ...options, wakeLane: () => this.#wakeLane() });
    this.#watch = options.watcher.watch(this.#wake.fd, () => {
      this.#wake.clear();
      this.bridge.turn();
    });
  }

  /** The workers raise this one. */
  get wakeFd(): number {
    return this.#wake.fd;
  }

  /** A worker has laid out rings at this offset. It uses those of its direction; `wake` makes it look. */
  join(direction: Direction, ringsAt: number, wake: () => void): void {
    if (direction !== 'out') {
      this.#toLane = ringsAt;
      this.#wakeLane = wake;
    }
    if (direction !== 'in') this.#toStreams = ringsAt;
    // Not before both are there: a ring that is taken into use twice would begin anew for one side only.
    if (this.#toLane !== undefined && this.#toStreams !== undefined)
      this.bridge.use(this.#toLane, this.#toStreams);
  }

  /** A worker has ended, and with it what is in the rings. */
  leave(): void {
    this.#toLane = undefined;
    this.#toStreams = undefined;
    this.bridge.use(undefined);
  }

  /** Idempotent. Nobody raises it any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.leave();
    this.#watch.close();
    this.#wake.close();
  }
}
