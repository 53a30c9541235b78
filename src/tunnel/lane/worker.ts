/**
 * A thread that runs both lanes, or one of them. Commands come by message port and an eventfd, events go by message
 * port; counters lie in the shared arena.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Arena } from '../../core/arena.ts';
import { systemClock } from '../../core/clock.ts';
import { SystemError } from '../../core/errors.ts';
import { createTransportAead } from '../../noise/aead-choose.ts';
import { EventFd } from '../../sys/poll.ts';
import { fdWatcher } from '../../sys/readiness.ts';
import { threadId } from '../../sys/thread.ts';
import { openPacketPort } from '../../tun/linux.ts';
import { wasmChecksums } from '../../wasm/checksums.ts';
import { LinuxDatagrams } from '../linux-datagrams.ts';
import { StreamPort } from '../stream-port.ts';
import { applyCommand, type CommandMessage, wipeKeys } from './link.ts';
import { LaneNews } from './lane-news.ts';
import { LaneLoop } from './loop.ts';
import { type WarmUpOptions, warmUp } from './warm-up.ts';
import type { FromWorker, ToWorker, WorkerSetup } from './worker-protocol.ts';

/** A full socket may hold the lane up this long; then the datagram is lost, as on any full queue. */
const MAX_SEND_WAIT_MS = 10;

class LaneWorker {
  readonly #port: MessagePort;
  readonly #posted: Int32Array;
  readonly #wake: EventFd;
  readonly #datagrams: LinuxDatagrams;
  readonly #loop: LaneLoop;
  /** As far as messages were taken. */
  #seen = 0;
  #isStopped = false;

  constructor(port: MessagePort, setup: WorkerSetup) {
    this.#port = port;
    this.#posted = setup.posted;
    this.#wake = new EventFd(setup.wakeFd);
    const arena = new Arena(setup.memory, setup.share);
    const datagrams = { gso: setup.gso, gro: setup.gro, maxWaitMs: MAX_SEND_WAIT_MS };
    this.#datagrams = new LinuxDatagrams(arena, datagrams);
    const streams = createStreams(arena, setup.streamsFd, this.#datagrams);
    const { aead, report } = createTransportAead(arena, {
      wanted: setup.aead,
      clock: systemClock,
      longestText: setup.longestText,
    });
    this.#loop = new LaneLoop({
      arena,
      aead,
      clock: systemClock,
      tun: openPacketPort(setup.tunFd, setup.tunFormat, arena, wasmChecksums(arena), fdWatcher, () =>
        this.#loop.tunGone(),
      ),
      tunFd: setup.tunFd,
      datagrams: this.#datagrams,
      streams,
      policy: setup.policy,
      direction: setup.direction,
      news: setup.news && new LaneNews(setup.news),
      wakeFd: setup.wakeFd,
      takeMessages: () => {
        if (this.#wake.clear()) this.#takeMessages();
      },
      catchUp: () => {
        if (Atomics.load(this.#posted, 0) !== this.#seen) this.#takeMessages();
      },
      post: (events) => this.#post({ kind: 'events', events }),
    });
    // After all that it rehearses for is there: V8 forgets what it knew of kinds of objects that have died out.
    tryWarmUp({ tunFormat: setup.tunFormat, aead: report, datagrams });
    this.#post({
      kind: 'ready',
      drops: this.#loop.lane.dropCountersAt,
      gauges: this.#loop.lane.gaugesAt,
      taken: this.#loop.takenAt,
      rings: streams?.ringsAt,
      aead: aead.name,
      longestShort: report.longestShort,
      thread: threadId(),
    });
  }

  /** Until `stop`. */
  run(): void {
    while (!this.#isStopped) this.#loop.turn(true);
  }

  /** What a thread that dies would leave open: its descriptors are those of the process. */
  close(): void {
    this.#datagrams.use(-1, -1);
  }

  #takeMessages(): void {
    this.#seen = Atomics.load(this.#posted, 0);
    while (!this.#isStopped) {
      const received = receiveMessageOnPort(this.#port) as { message: ToWorker } | undefined;
      if (!received) return;
      const { message } = received;
      switch (message.kind) {
        case 'stop':
          this.#isStopped = true;
          break;
        case 'sockets':
          this.#loop.useSockets(message.ipv4, message.ipv6);
          this.#post({ kind: 'sockets' });
          break;
        case 'commands':
          for (const command of message.commands) this.#apply(command);
          break;
        default:
          message satisfies never;
      }
    }
  }

  #apply(command: CommandMessage): void {
    const { lane } = this.#loop;
    applyCommand(lane, command);
    if (command[0] === 'addKeypair') wipeKeys(command[1]);
    if (command[0] === 'setUp') this.#loop.setUp(command[1]);
    if (command[0] === 'addPeer') {
      this.#post({ kind: 'record', peer: command[1], at: lane.recordOf(command[1]) });
    }
  }

  #post(message: FromWorker): void {
    this.#port.postMessage(message);
  }
}

function createStreams(
  arena: Arena,
  streamsFd: number | undefined,
  { sendErrors }: LinuxDatagrams,
): StreamPort | undefined {
  if (streamsFd === undefined) return undefined;
  const wake = new EventFd(streamsFd);
  return new StreamPort({ arena, sendErrors, wakeStreams: () => wake.raise() });
}

/** Without sockets, descriptors or memory to spare the lane starts cold, that is all. */
function tryWarmUp(options: WarmUpOptions): void {
  try {
    warmUp(options);
  } catch (error) {
    if (!(error instanceof SystemError || error instanceof RangeError)) throw error;
  }
}

if (parentPort) {
  const worker = new LaneWorker(parentPort, workerData as WorkerSetup);
  try {
    worker.run();
  } finally {
    worker.close();
  }
}
