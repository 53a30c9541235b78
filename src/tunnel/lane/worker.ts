/** A thread that runs both lanes, or one of them. Commands and events go by the channel, counters lie in the shared arena. */
import { isMainThread, workerData } from 'node:worker_threads';
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
import { Inbox, LaneChannel, Outbox } from './channel.ts';
import { applyCommand, wipeKeys } from './link.ts';
import { LaneNews } from './lane-news.ts';
import { LaneLoop } from './loop.ts';
import { type WarmUpOptions, warmUp } from './warm-up.ts';
import {
  WORKER_COMMANDS,
  WORKER_EVENTS,
  type WorkerCommand,
  type WorkerCommands,
  type WorkerEvents,
  type WorkerSetup,
} from './worker-protocol.ts';

/** A full socket may hold the lane up this long; then the datagram is lost, as on any full queue. */
const MAX_SEND_WAIT_MS = 10;

class LaneWorker {
  readonly #channel: LaneChannel;
  readonly #commands: Inbox<WorkerCommands>;
  readonly #events: Outbox<WorkerEvents>;
  readonly #wake: EventFd;
  readonly #datagrams: LinuxDatagrams;
  readonly #loop: LaneLoop;
  #isStopped = false;

  constructor(setup: WorkerSetup) {
    this.#wake = new EventFd(setup.wakeFd);
    const control = new EventFd(setup.controlFd);
    const wake = () => control.raise();
    this.#channel = new LaneChannel(setup.channel);
    const { commands, events, messages } = this.#channel;
    this.#commands = new Inbox({
      ring: commands,
      messages,
      forms: WORKER_COMMANDS,
      take: (command) => {
        this.#apply(command);
        return true;
      },
      wake,
    });
    this.#events = new Outbox({ ring: events, messages, forms: WORKER_EVENTS, wake });
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
        if (this.#commands.isWaiting) this.#takeMessages();
      },
      post: (events) => {
        for (const event of events) this.#events.post(event);
        this.#events.flush();
      },
    });
    // After all that it rehearses for is there: V8 forgets what it knew of kinds of objects that have died out.
    tryWarmUp({ tunFormat: setup.tunFormat, aead: report, datagrams });
    const parts = {
      drops: this.#loop.lane.dropCountersAt,
      gauges: this.#loop.lane.gaugesAt,
      taken: this.#loop.takenAt,
      aead: aead.name,
      thread: threadId(),
      ...(streams === undefined ? {} : { rings: streams.ringsAt }),
      ...(report.longestShort === undefined ? {} : { longestShort: report.longestShort }),
    };
    this.#events.post(['ready', parts]);
    this.#events.flush();
  }

  /** Until it is stopped. */
  run(): void {
    while (!this.#isStopped) this.#loop.turn(true);
  }

  /** What a thread that dies would leave open: its descriptors are those of the process. */
  close(): void {
    this.#datagrams.use(-1, -1);
  }

  #takeMessages(): void {
    do this.#commands.takeAll();
    while (this.#channel.isStopped && this.#commands.isWaiting);
    this.#isStopped = this.#channel.isStopped;
    // Answers, and what waited for room.
    this.#events.flush();
  }

  #apply(command: WorkerCommand): void {
    if (command[0] === 'useSockets') {
      this.#loop.useSockets(command[1], command[2]);
      this.#events.post(['socketsUsed']);
      return;
    }
    const { lane } = this.#loop;
    applyCommand(lane, command);
    if (command[0] === 'addKeypair') wipeKeys(command[1]);
    if (command[0] === 'setUp') this.#loop.setUp(command[1]);
    if (command[0] === 'addPeer') this.#events.post(['record', command[1], lane.recordOf(command[1])]);
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

if (!isMainThread) {
  const worker = new LaneWorker(workerData as WorkerSetup);
  try {
    worker.run();
  } finally {
    worker.close();
  }
}
