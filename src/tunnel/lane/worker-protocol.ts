/** What the control thread and a lane worker say to each other besides commands and events. */
import type { ArenaShare } from '../../core/arena.ts';
import type { AeadName } from '../../noise/aead-choose.ts';
import type { TunFormat } from '../../tun/linux.ts';
import type { Direction } from './control.ts';
import type { CommandMessage, EventMessage } from './link.ts';
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
  /** One word, which counts the messages to the worker. */
  readonly posted: Int32Array;
  readonly tunFd: number;
  readonly tunFormat: TunFormat;
  /** An eventfd, raised when messages wait for the worker. */
  readonly wakeFd: number;
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
export type ToWorker =
  | { readonly kind: 'commands'; readonly commands: readonly CommandMessage[] }
  /** Use these sockets from now on, -1 for none; answered by `sockets`. */
  | { readonly kind: 'sockets'; readonly ipv4: number; readonly ipv6: number }
  | { readonly kind: 'stop' };

/** Worker → control thread. */
export type FromWorker =
  | {
      readonly kind: 'ready';
      /** Arena offsets of the drop counters and of the gauges. */
      readonly drops: number;
      readonly gauges: number;
      /** Arena offset of the u32 in which the control thread counts the handshake messages that it has taken. */
      readonly taken: number;
      /** Arena offset of the rings for streams. */
      readonly rings: number | undefined;
      /** Name of the transport AEAD that was chosen. */
      readonly aead: string;
      /** Of two: the longest text in bytes that goes to the first. */
      readonly longestShort: number | undefined;
      /** As sys/thread.ts has it. */
      readonly thread: number;
    }
  | { readonly kind: 'events'; readonly events: readonly EventMessage[] }
  /** Where in the arena a peer's record lies, for reading its counters. */
  | { readonly kind: 'record'; readonly peer: number; readonly at: number }
  | { readonly kind: 'sockets' };
