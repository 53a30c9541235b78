/** What machines report: kernel log lines and events, kept for a while. */
import type { AppError } from '../core/errors.ts';

export type EntryKind = 'log' | 'event';

export interface NewEntry {
  /** `MachineRecord.id`. */
  readonly machine: string;
  readonly kind: EntryKind;
  /** Wall clock of its arrival, milliseconds. */
  readonly atMs: number;
  /** A log line as it came, or an event as JSON. */
  readonly body: string;
  /** Of an event: one that comes again under its id is not kept twice. */
  readonly id?: string | undefined;
}

export interface Entry extends NewEntry {
  /** Grows with every entry. */
  readonly sequence: number;
}

export interface JournalLimits {
  /** Newest entries that are kept for each machine and kind. */
  readonly maxEntries: number;
  readonly maxAgeMs: number;
  /** Of all entries together; 0: no bound. */
  readonly maxTotalBytes: number;
}

/** Omni's values, and a bound for the disk. */
export const DEFAULT_JOURNAL_LIMITS: JournalLimits = {
  maxEntries: 5_000,
  maxAgeMs: 30 * 24 * 3_600_000,
  maxTotalBytes: 1024 ** 3,
};

export interface Journal {
  /** Kept soon: a crash may take the last moment along. Never throws; what cannot be kept is counted. */
  append(entry: NewEntry): void;
  /** Makes everything appended so far durable. Throws AppError when it cannot; what is kept for later is bounded. */
  flush(): void;
  /** Why nothing can be written now. */
  readonly problem?: AppError | undefined;
  /** Appended while nothing could be written, and gone. */
  readonly lostEntries?: number;
  /** The newest `count` entries, oldest of them first, only those after `after` when given. */
  tail(machine: string, kind: EntryKind, count: number, after?: number): readonly Entry[];
  /** Forgets everything about a machine. */
  forget(machine: string): void;
  /** Applies age and total size. To be called now and then. */
  sweep(wallMs: number): void;
  close(): void;
}

/** Lets readers follow a journal: they are told that there is more, and ask for it with `tail`. */
export class Followers {
  readonly #byTopic = new Map<string, Set<() => void>>();

  /** Returns what ends it. */
  follow(machine: string, kind: EntryKind, more: () => void): () => void {
    const topic = `${kind} ${machine}`;
    const followers = this.#byTopic.get(topic) ?? new Set();
    followers.add(more);
    this.#byTopic.set(topic, followers);
    return () => {
      followers.delete(more);
      if (followers.size === 0) this.#byTopic.delete(topic);
    };
  }

  tell(machine: string, kind: EntryKind): void {
    for (const more of this.#byTopic.get(`${kind} ${machine}`) ?? []) more();
  }
}
