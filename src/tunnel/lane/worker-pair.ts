/** Runs the two lanes in a worker thread each. They share one memory, of which each lays out its half. */
import { Arena } from '../../core/arena.ts';
import type { LaneEvents } from './control.ts';
import { LaneNews } from './lane-news.ts';
import { createPairHost, type PairHost } from './pair-host.ts';
import { createWorkerLane, type WorkerHost, type WorkerHostOptions, type WorkerLane } from './worker-host.ts';
import { WorkerStreams } from './worker-streams.ts';

const SHARES = { out: { index: 0, count: 2 }, in: { index: 1, count: 2 } };

export function createWorkerPair(options: WorkerHostOptions, events: LaneEvents): WorkerHost {
  const { arena, watcher } = options;
  const streams = options.streams && new WorkerStreams({ ...options.streams, arena, watcher });
  const news = new LaneNews();
  const together = new JointRestart({
    ...options,
    retireAll: () => {
      for (const lane of lanes) lane.retire();
    },
    beforeRestart: () => news.clear(),
  });
  const pair: PairHost<WorkerLane> = createPairHost(
    (direction, laneEvents) =>
      createWorkerLane(
        {
          ...options,
          arena: new Arena(arena.memory, SHARES[direction]),
          direction,
          news,
          ...(direction === 'out'
            ? { mayFlush: () => pair.in.flush() }
            : { onFlushed: () => pair.out.flush() }),
          streams,
          after: together.after,
          onRestart: together.onRestart,
        },
        laneEvents,
      ),
    events,
  );
  const lanes = [pair.out, pair.in] as const;
  return {
    ...pair.host,
    close: async () => {
      await pair.host.close();
      streams?.close();
    },
    useSockets: async (ipv4, ipv6) => {
      // Inbound last: what it receives finds a device that is up, which it is when this resolves, and not before.
      await pair.out.useSockets(ipv4, ipv6);
      await pair.in.useSockets(ipv4, ipv6);
    },
    aead: () => aeadOf(pair.out.aead(), pair.in.aead()),
    longestShort: () => pair.out.longestShort(),
    threads: () => lanes.flatMap((lane) => lane.threads()),
    streams: streams?.bridge,
  };
}

/** Each chose by its own measurement; nearly always the same. */
function aeadOf(sealing: string | undefined, opening: string | undefined): string | undefined {
  if (sealing === opening || opening === undefined) return sealing;
  return sealing && `${sealing}, ${opening}`;
}

interface JointRestartOptions extends Pick<WorkerHostOptions, 'after' | 'onRestart'> {
  /** Ends what has not ended yet. */
  readonly retireAll: () => void;
  /** Neither runs. */
  readonly beforeRestart: () => void;
}

/**
 * Whoever loses one of the two loses both: what the other one knows of peers and sessions is not what the new one will be
 * told. They come back in one moment, so that no command finds only one of them.
 */
class JointRestart {
  readonly #options: JointRestartOptions;
  readonly #waiting: { readonly ms: number; readonly restart: () => void }[] = [];
  #causes: Error[] = [];

  constructor(options: JointRestartOptions) {
    this.#options = options;
  }

  /** `WorkerHostOptions.after` of each: the lane has ended. */
  readonly after = (ms: number, restart: () => void): void => {
    if (this.#waiting.push({ ms, restart }) === 1) {
      this.#options.retireAll();
      return;
    }
    const both = this.#waiting.splice(0);
    this.#options.after(Math.max(...both.map((each) => each.ms)), () => {
      this.#options.beforeRestart();
      for (const each of both) each.restart();
    });
  };

  readonly onRestart = (cause: Error): void => {
    if (this.#causes.push(cause) < 2) return;
    const [first] = this.#causes.splice(0);
    this.#options.onRestart(first as Error);
  };
}
