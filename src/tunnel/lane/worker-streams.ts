/** The control thread's end of the rings that it shares with a lane worker. */
import { EventFd } from '../../sys/poll.ts';
import type { FdWatcher, Watch } from '../../sys/readiness.ts';
import { RingBridge, type RingBridgeOptions } from '../stream-bridge.ts';

export interface WorkerStreamsOptions extends RingBridgeOptions {
  readonly watcher: FdWatcher;
}

export class WorkerStreams {
  readonly bridge: RingBridge;
  readonly #wake = new EventFd();
  readonly #watch: Watch;

  constructor(options: WorkerStreamsOptions) {
    this.bridge = new RingBridge(options);
    this.#watch = options.watcher.watch(this.#wake.fd, () => {
      this.#wake.clear();
      this.bridge.turn();
    });
  }

  /** The worker raises this one. */
  get wakeFd(): number {
    return this.#wake.fd;
  }

  /** Nobody raises it any more. */
  close(): void {
    this.bridge.use(undefined);
    this.#watch.close();
    this.#wake.close();
  }
}
