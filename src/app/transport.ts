/** Puts binds, lanes and crypto together as the tuning and the machine have it. */
import type { Arena } from '../core/arena.ts';
import { systemClock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { createTransportAead } from '../noise/aead-choose.ts';
import { PADDING_MULTIPLE } from '../noise/constants.ts';
import { fdWatcher } from '../sys/readiness.ts';
import type { LinuxTun } from '../tun/linux.ts';
import { DgramBind } from '../tunnel/bind-dgram.ts';
import { InlineSocketUser, LinuxBind } from '../tunnel/bind-linux.ts';
import type { Bind, DatagramPort } from '../tunnel/bind.ts';
import { inlineStreams } from '../tunnel/inline-streams.ts';
import type { LaneEvents, LaneHost } from '../tunnel/lane/control.ts';
import { InlineHost } from '../tunnel/lane/inline-host.ts';
import type { LanePolicy } from '../tunnel/lane/policy.ts';
import { createWorkerHost, type WorkerHost } from '../tunnel/lane/worker-host.ts';
import { createWorkerPair } from '../tunnel/lane/worker-pair.ts';
import { LinuxDatagrams } from '../tunnel/linux-datagrams.ts';
import type { StreamBridge } from '../tunnel/stream-bridge.ts';
import type { Surroundings } from './queues.ts';
import type { Tuning } from './tuning.ts';

export interface Transport {
  readonly bind: Bind;
  readonly createLane: (events: LaneEvents) => LaneHost;
  /** Name of the transport AEAD; undefined while it is being chosen. */
  readonly aead: () => string | undefined;
  /** Of two AEADs: the longest text in bytes that goes to the first. */
  readonly longestShort: () => number | undefined;
  readonly sockets: () => Surroundings['sockets'];
  /** Whether the kernel joins received datagrams (UDP_GRO). */
  readonly usesGro: () => boolean;
  /** Threads that move packets (sys/thread.ts); none when it is the control thread, or while they start. */
  readonly laneThreads: () => readonly number[];
  /** Undefined when none were asked for, and before `createLane`. */
  readonly streams: () => StreamBridge | undefined;
}

export interface TransportOptions {
  /** Shared when there are threads for the lanes. */
  readonly arena: Arena;
  /** As `laneThreads` has it. */
  readonly threads: LaneThreads;
  readonly tun: LinuxTun;
  readonly tuning: Tuning;
  /** Carry datagrams of streams beside those of UDP. */
  readonly streams: boolean;
  readonly policy: LanePolicy;
  readonly logger: Logger;
  readonly onRoutesChanged: () => void;
  /** A lane thread died and another one took its place. */
  readonly onLaneRestart: (cause: Error) => void;
}

const TURNS = { soon: queueMicrotask, defer: setImmediate };

/** Worker threads that move packets. */
export type LaneThreads = 0 | 1 | 2;

/** How many there will be, and what stands against as many as are wanted. */
export function laneThreads(
  { lanes, bind }: Pick<Tuning, 'lanes' | 'bind'>,
  { bandwidth }: LanePolicy,
): { readonly threads: LaneThreads; readonly obstacle?: string } {
  if (lanes === 'inline') return { threads: 0 };
  if (bind === 'dgram')
    return { threads: 0, ...(lanes === 'auto' ? {} : { obstacle: 'node:dgram is on the main thread' }) };
  if (lanes !== '2') return { threads: 1 };
  return bandwidth
    ? {
        threads: 1,
        obstacle: 'limits of bandwidth, which it has or may get, hold for both directions together',
      }
    : { threads: 2 };
}

export function createTransport(options: TransportOptions): Transport {
  if (options.threads > 0) return hosted(options);
  if (options.tuning.bind !== 'dgram') return inlineLinux(options);
  const bind = new DgramBind(options.arena);
  return { bind, sockets: () => [], usesGro: () => false, ...inlineLane(options, bind) };
}

function hosted(options: TransportOptions): Transport {
  const { arena, tun, tuning, threads, streams, policy, onLaneRestart } = options;
  const create = threads === 2 ? createWorkerPair : createWorkerHost;
  let host: WorkerHost | undefined;
  return {
    ...linuxBind(options, {
      useSockets: (ipv4, ipv6) => host?.useSockets(ipv4, ipv6) ?? Promise.resolve(),
    }),
    createLane: (events) => {
      host = create(
        {
          arena,
          tunFd: tun.fd,
          tunFormat: tun.format,
          aead: tuning.aead,
          longestText: longestText(tun),
          gso: tuning.gso,
          gro: tuning.gro,
          policy,
          ...(streams ? { streams: TURNS } : {}),
          watcher: fdWatcher,
          clock: systemClock,
          after: (ms, task) => void setTimeout(task, ms),
          onRestart: onLaneRestart,
        },
        events,
      );
      return host;
    },
    aead: () => host?.aead(),
    longestShort: () => host?.longestShort(),
    laneThreads: () => host?.threads() ?? [],
    streams: () => host?.streams,
  };
}

function inlineLinux(options: TransportOptions): Transport {
  const { gso, gro } = options.tuning;
  const datagrams = new LinuxDatagrams(options.arena, { gso, gro, maxWaitMs: 0 });
  return {
    ...linuxBind(options, new InlineSocketUser(datagrams, fdWatcher)),
    ...inlineLane(options, datagrams),
  };
}

function linuxBind(
  options: TransportOptions,
  user: ConstructorParameters<typeof LinuxBind>[0]['user'],
): Pick<Transport, 'bind' | 'sockets' | 'usesGro'> {
  const { tuning, logger, onRoutesChanged } = options;
  const bind = new LinuxBind({ user, watcher: fdWatcher, gro: tuning.gro, logger, onRoutesChanged });
  return { bind, sockets: () => bind.fill(), usesGro: () => bind.usesGro };
}

function inlineLane(
  options: TransportOptions,
  udp: DatagramPort,
): Omit<Transport, 'bind' | 'sockets' | 'usesGro'> {
  const { arena, tun, tuning, policy } = options;
  const streams = options.streams ? inlineStreams(arena, udp, TURNS) : undefined;
  const { aead, report } = createTransportAead(arena, {
    wanted: tuning.aead,
    clock: systemClock,
    longestText: longestText(tun),
  });
  const bind = streams?.port ?? udp;
  const parts = { arena, aead, clock: systemClock, tun: tun.packets, bind, defer: setImmediate, policy };
  return {
    createLane: (events) => new InlineHost(parts, events),
    aead: () => aead.name,
    longestShort: () => report.longestShort,
    streams: () => streams?.bridge,
    laneThreads: () => [],
  };
}

/** A packet of the MTU with its padding; longer ones, after a change of the MTU, are right all the same. */
function longestText(tun: LinuxTun): number {
  return tun.mtu + PADDING_MULTIPLE;
}
