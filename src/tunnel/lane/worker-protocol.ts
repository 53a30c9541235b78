/** What the control thread and a lane worker say to each other, by the rings of their channel. */
import type { ArenaShare } from '../../core/arena.ts';
import type { AeadName } from '../../noise/aead-choose.ts';
import type { TunFormat } from '../../tun/linux.ts';
import type { Direction, LaneCommands, LaneEvents } from './control.ts';
import { COMMANDS, EVENTS, type Forms, type MessageOf } from './link.ts';
import type { LanePolicy } from './policy.ts';

/**
 * Handshake messages that the worker has raised and the control thread has not taken yet. More are dropped: whoever
 * floods must not fill the memory between the two.
 */
export const MAX_HANDSHAKES_IN_FLIGHT = 1024;

/** Given to the worker at its start. */
export interface WorkerSetup {
  /** The shared arena. Only workers allocate in it, each in its share. */
  readonly memory: WebAssembly.Memory;
  readonly share: ArenaShare;
  readonly direction: Direction;
  /** Words of the LaneNews of a pair. */
  readonly news: Uint32Array | undefined;
  /** That of the LaneChannel. */
  readonly channel: SharedArrayBuffer;
  readonly tunFd: number;
  readonly tunFormat: TunFormat;
  /** An eventfd, raised when the worker should look at the channel or at the streams. */
  readonly wakeFd: number;
  /** An eventfd, to be raised when the control thread should look at the channel. */
  readonly controlFd: number;
  readonly aead: AeadName | 'auto';
  /** Bytes of the longest text to be expected, for the choice of the AEAD. */
  readonly longestText: number;
  readonly gso: boolean;
  readonly gro: boolean;
  /** An eventfd, to be raised when datagrams wait for streams, or room for those of streams; undefined: no streams. */
  readonly streamsFd: number | undefined;
  readonly policy: LanePolicy;
}

/** Control thread → worker. */
export interface WorkerCommands extends LaneCommands {
  /** Use these sockets from now on, -1 for none; answered by `socketsUsed`. */
  useSockets(ipv4: number, ipv6: number): void;
}

/** Worker → control thread. */
export interface WorkerEvents extends LaneEvents {
  /** Once, before all others. */
  ready(parts: WorkerParts): void;
  /** Where in the arena a peer's record lies, for reading its counters. */
  record(peer: number, at: number): void;
  socketsUsed(): void;
}

export interface WorkerParts {
  /** Arena offsets of the drop counters and of the gauges. */
  readonly drops: number;
  readonly gauges: number;
  /** Arena offset of the u32 in which the control thread counts the handshake messages that it has taken. */
  readonly taken: number;
  /** Arena offset of the rings for streams. */
  readonly rings?: number;
  /** Name of the transport AEAD that was chosen. */
  readonly aead: string;
  /** Of two: the longest text in bytes that goes to the first. */
  readonly longestShort?: number;
  /** As sys/thread.ts has it. */
  readonly thread: number;
}

export const WORKER_COMMANDS: Forms<WorkerCommands> = { ...COMMANDS, useSockets: ['number', 'number'] };
export const WORKER_EVENTS: Forms<WorkerEvents> = {
  ...EVENTS,
  ready: ['json'],
  record: ['number', 'number'],
  socketsUsed: [],
};

export type WorkerCommand = MessageOf<WorkerCommands>;
export type WorkerEvent = MessageOf<WorkerEvents>;
