/** Runs the lanes, or one of them, in a worker thread on Linux. This is the control thread's half. */
import { Worker } from 'node:worker_threads';
import type { Arena } from '../../core/arena.ts';
import type { Clock } from '../../core/clock.ts';
import type { AeadName } from '../../noise/aead-choose.ts';
import { EventFd } from '../../sys/poll.ts';
import type { FdWatcher, Watch } from '../../sys/readiness.ts';
import type { TunFormat } from '../../tun/linux.ts';
import { Inbox, LaneChannel, Outbox } from './channel.ts';
import type {
  Direction,
  LaneEvents,
  LaneFigures,
  LaneHost,
  LaneKeypairInit,
  PeerCounters,
} from './control.ts';
import { DROP_REASONS, DropCounters, type DropReason } from './drops.ts';
import { GAUGE, LaneGauges } from './gauges.ts';
import type { StreamBridge } from '../stream-bridge.ts';
import { commandSender, type EventMessage, raiseEvent, wipeKeys } from './link.ts';
import type { LaneNews } from './lane-news.ts';
import type { LanePolicy } from './policy.ts';
import { PEER_RECORD } from './tables.ts';
import {
  WORKER_COMMANDS,
  WORKER_EVENTS,
  type WorkerCommand,
  type WorkerCommands,
  type WorkerEvent,
  type WorkerEvents,
  type WorkerParts,
  type WorkerSetup,
} from './worker-protocol.ts';
import { WorkerStreams, type WorkerStreamsOptions } from './worker-streams.ts';

export interface WorkerHostOptions {
  /** Shared, and used by nobody else. */
  readonly arena: Arena;
  readonly tunFd: number;
  readonly tunFormat: TunFormat;
  readonly aead: AeadName | 'auto';
  /** Bytes of the longest text to be expected, for the choice of the AEAD. */
  readonly longestText: number;
  readonly gso: boolean;
  readonly gro: boolean;
  readonly policy?: LanePolicy;
  /** Carry datagrams of streams, too; the event loop of this thread is needed for that. */
  readonly streams?: Omit<WorkerStreamsOptions, 'arena' | 'watcher'>;
  readonly watcher: FdWatcher;
  readonly clock: Clock;
  /** Runs a task after so many milliseconds. */
  readonly after: (ms: number, task: () => void) => void;
  /**
   * The thread ended by itself and another one runs in its place, which knows nothing: it wants every peer, endpoint and
   * allowed IP again. Sockets it has.
   */
  readonly onRestart: (cause: Error) => void;
}

/** A thread that dies this soon after its start is not started again at once. */
const MIN_LIFE_MS = 1_000;

export interface WorkerHost extends LaneHost {
  useSockets(this: void, ipv4: number, ipv6: number): Promise<void>;
  /** Name of the transport AEAD; undefined while the thread is starting. */
  aead(this: void): string | undefined;
  /** Of two AEADs: the longest text in bytes that goes to the first. */
  longestShort(this: void): number | undefined;
  /** Numbers of the threads (sys/thread.ts) that have started. */
  threads(this: void): readonly number[];
  readonly streams: StreamBridge | undefined;
}

/** One thread for both directions. */
export function createWorkerHost(options: WorkerHostOptions, events: LaneEvents): WorkerHost {
  const { arena, watcher } = options;
  const streams = options.streams && new WorkerStreams({ ...options.streams, arena, watcher });
  const lane = createWorkerLane({ ...options, streams, direction: 'both' }, events);
  return {
    ...lane,
    close: async () => {
      await lane.close();
      streams?.close();
    },
    streams: streams?.bridge,
  };
}

export interface WorkerLaneOptions extends Omit<WorkerHostOptions, 'streams'> {
  readonly direction: Direction;
  readonly news?: LaneNews;
  /** Called before commands are shown to the thread. False: not yet, and `flush` must follow. */
  readonly mayFlush?: () => boolean;
  /** Called whenever the thread has been heard and no command waits for room. */
  readonly onFlushed?: () => void;
  /** The caller's to close, after the lane. */
  readonly streams: WorkerStreams | undefined;
}

export interface WorkerLane extends Omit<WorkerHost, 'streams'> {
  /** Shows the thread what was commanded so far, without waiting for the end of the turn. False: some waits for room. */
  flush(this: void): boolean;
  /** Ends the thread; what follows is what follows when it dies. */
  retire(this: void): void;
}

export function createWorkerLane(options: WorkerLaneOptions, events: LaneEvents): WorkerLane {
  const host = new WorkerHostLink(options, events);
  // Every command of the closed set becomes a message; what is not a command is a method of the link.
  return Object.assign(
    commandSender((command) => host.post(command)),
    {
      start: () => {},
      close: () => host.close(),
      flush: () => host.flush(),
      retire: () => host.retire(),
      counters: (peer: number) => host.counters(peer),
      dropped: (reason: DropReason) => host.dropped(reason),
      figures: () => host.figures(),
      useSockets: (ipv4: number, ipv6: number) => host.useSockets(ipv4, ipv6),
      aead: () => host.aead,
      longestShort: () => host.longestShort,
      threads: () => (host.thread === undefined ? [] : [host.thread]),
    },
  );
}

/** To one thread, from its start to its end. */
interface Line {
  readonly worker: Worker;
  readonly channel: LaneChannel;
  readonly commands: Outbox<WorkerCommands>;
  readonly events: Inbox<WorkerEvents>;
}

class WorkerHostLink {
  readonly #arena: Arena;
  readonly #events: LaneEvents;
  readonly #options: WorkerLaneOptions;
  readonly #clock: Clock;
  readonly #wake = new EventFd();
  /** Raised by the worker. */
  readonly #told = new EventFd();
  readonly #watch: Watch;
  #line: Line;
  #startedAtMs = 0;
  #sockets: { readonly ipv4: number; readonly ipv6: number } = { ipv4: -1, ipv6: -1 };
  readonly #records = new Map<number, number>();
  /** Word of the arena in which handshake messages are counted that were taken. */
  #taken = 0;
  #drops = new DropCounters();
  /** Undefined while there is no lane. */
  #gauges: LaneGauges | undefined;
  /** What threads that have ended had counted. */
  readonly #countersBefore = new Map<number, PeerCounters>();
  readonly #dropsBefore = new Map<DropReason, bigint>();
  #isFlushPlanned = false;
  /** Those who wait for the worker to use new sockets, in order. */
  #socketWaiters: (() => void)[] = [];
  #isClosed = false;
  #hasEnded = false;
  aead: string | undefined;
  longestShort: number | undefined;
  thread: number | undefined;

  constructor(options: WorkerLaneOptions, events: LaneEvents) {
    this.#options = options;
    this.#clock = options.clock;
    this.#arena = options.arena;
    this.#events = events;
    this.#line = this.#spawn();
    this.#watch = options.watcher.watch(this.#told.fd, () => this.#hear());
  }

  #spawn(): Line {
    const { arena, tunFd, tunFormat, aead, longestText, gso, gro, policy } = this.#options;
    const { streams, direction, news, mayFlush } = this.#options;
    const channel = new LaneChannel();
    const setup: WorkerSetup = {
      memory: arena.memory,
      share: arena.share,
      direction,
      news: news?.words,
      channel: channel.memory,
      tunFd,
      tunFormat,
      aead,
      longestText,
      wakeFd: this.#wake.fd,
      controlFd: this.#told.fd,
      gso,
      gro,
      streamsFd: streams?.wakeFd,
      policy: policy ?? {},
    };
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: setup });
    let cause = new Error('the lane thread ended');
    worker.on('error', (error: Error) => (cause = error));
    worker.on('exit', () => this.#ended(cause));
    this.#startedAtMs = this.#clock.now();
    const { messages } = channel;
    const wake = () => this.#wake.raise();
    return {
      worker,
      channel,
      commands: new Outbox({
        ring: channel.commands,
        messages,
        forms: WORKER_COMMANDS,
        // Callers wipe their keys when their call returns.
        keep: (command) => (command[0] === 'addKeypair' ? ['addKeypair', copyKeys(command[1])] : command),
        forget: (command) => {
          if (command[0] === 'addKeypair') wipeKeys(command[1]);
        },
        ...(mayFlush === undefined ? {} : { mayPublish: mayFlush }),
        wake,
      }),
      events: new Inbox({
        ring: channel.events,
        messages,
        forms: WORKER_EVENTS,
        take: (event) => this.#receive(event),
        wake,
      }),
    };
  }

  #ended(cause: Error): void {
    const { channel, commands, events } = this.#line;
    while (!events.takeAll());
    commands.clear();
    channel.wipe();
    // Nobody uses any socket any more.
    for (const resolve of this.#socketWaiters.splice(0)) resolve();
    this.#hasEnded = true;
    if (this.#isClosed) return;
    for (const peer of this.#records.keys()) this.#countersBefore.set(peer, this.counters(peer));
    for (const reason of DROP_REASONS) this.#dropsBefore.set(reason, this.dropped(reason));
    this.#records.clear();
    this.#drops = new DropCounters();
    this.#gauges = undefined;
    this.#options.streams?.leave();
    this.#arena.wipe();
    const life = this.#clock.now() - this.#startedAtMs;
    this.#options.after(Math.max(0, MIN_LIFE_MS - life), () => this.#restart(cause));
  }

  #restart(cause: Error): void {
    if (this.#isClosed) return;
    this.#hasEnded = false;
    this.#line = this.#spawn();
    this.post(['useSockets', this.#sockets.ipv4, this.#sockets.ipv6]);
    this.#options.onRestart(cause);
  }

  /** Commands of one turn travel together. */
  post(command: WorkerCommand): void {
    if (this.#isClosed) return;
    if (command[0] === 'removePeer') {
      this.#records.delete(command[1]);
      this.#countersBefore.delete(command[1]);
    }
    if (this.#hasEnded) return;
    this.#line.commands.post(command);
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    queueMicrotask(() => this.flush());
  }

  useSockets(ipv4: number, ipv6: number): Promise<void> {
    this.#sockets = { ipv4, ipv6 };
    if (this.#hasEnded) return Promise.resolve();
    this.post(['useSockets', ipv4, ipv6]);
    this.flush();
    return new Promise((resolve) => this.#socketWaiters.push(resolve));
  }

  counters(peer: number): PeerCounters {
    const at = this.#records.get(peer);
    const before = this.#countersBefore.get(peer) ?? { txBytes: 0n, rxBytes: 0n };
    if (at === undefined) return before;
    return {
      txBytes: before.txBytes + this.#readU64(at + PEER_RECORD.txBytes),
      rxBytes: before.rxBytes + this.#readU64(at + PEER_RECORD.rxBytes),
    };
  }

  dropped(reason: DropReason): bigint {
    return (this.#dropsBefore.get(reason) ?? 0n) + this.#drops.get(reason);
  }

  figures(): LaneFigures {
    const gauges = this.#gauges;
    if (!gauges) return new LaneGauges().figures(0);
    const taken = Atomics.load(this.#arena.u32, this.#taken);
    return gauges.figures((gauges.get(GAUGE.raisedHandshakes) - taken) >>> 0);
  }

  retire(): void {
    if (this.#hasEnded) return;
    this.#line.channel.stop();
    this.#wake.raise();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    if (!this.#hasEnded) {
      const ended = new Promise<void>((resolve) => this.#line.worker.once('exit', () => resolve()));
      this.retire();
      await ended;
    }
    this.#watch.close();
    this.#told.close();
    this.#wake.close();
  }

  flush(): boolean {
    this.#isFlushPlanned = false;
    return this.#isClosed || this.#hasEnded || this.#line.commands.flush();
  }

  #hear(): void {
    this.#told.clear();
    if (this.#hasEnded) return;
    // In a later turn.
    if (!this.#line.events.takeAll()) this.#told.raise();
    // There may be room again.
    if (this.flush()) this.#options.onFlushed?.();
  }

  /** Whether the next event may follow at once. */
  #receive(event: WorkerEvent): boolean {
    switch (event[0]) {
      case 'ready':
        this.#begin(event[1]);
        return true;
      case 'record':
        this.#records.set(event[1], event[2]);
        return true;
      case 'socketsUsed':
        this.#socketWaiters.shift()?.();
        // What came by them is for a device that knows that it is up.
        return false;
      case 'handshake':
        Atomics.add(this.#arena.u32, this.#taken, 1);
        this.#raise(event);
        return true;
      case 'activity':
      case 'confirmed':
      case 'roamed':
        this.#raise(event);
        return true;
      default:
        return event satisfies never;
    }
  }

  #raise(event: EventMessage): void {
    if (!this.#isClosed) raiseEvent(this.#events, event);
  }

  #begin({ aead, longestShort, thread, taken, drops, gauges, rings }: WorkerParts): void {
    this.aead = aead;
    this.longestShort = longestShort;
    this.thread = thread;
    this.#taken = taken / 4;
    this.#drops = new DropCounters(this.#arena.words(drops, DropCounters.words));
    this.#gauges = new LaneGauges(this.#arena.words(gauges, LaneGauges.words));
    if (rings !== undefined)
      this.#options.streams?.join(this.#options.direction, rings, () => this.#wake.raise());
  }

  /** The worker writes the low word first and then carries: read until the high word stands still. */
  #readU64(at: number): bigint {
    const { u32 } = this.#arena;
    for (;;) {
      const high = Atomics.load(u32, at / 4 + 1);
      const low = Atomics.load(u32, at / 4);
      if (Atomics.load(u32, at / 4 + 1) === high) return (BigInt(high) << 32n) | BigInt(low);
    }
  }
}

function copyKeys(keypair: LaneKeypairInit): LaneKeypairInit {
  return { ...keypair, sendKey: keypair.sendKey.slice(), receiveKey: keypair.receiveKey.slice() };
}
