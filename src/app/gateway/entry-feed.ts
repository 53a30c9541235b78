/** What a machine says, as it says it: the newest entries, then those that come. */
import type { EntryKind } from '../../link/journal.ts';
import type { Admin } from './admin.ts';
import { MAX_ENTRIES } from './admin-operations.ts';

export const ENTRY_KINDS: readonly EntryKind[] = ['log', 'event'];

/** Where entries go. */
export interface EntrySink {
  /** It has yet to take what it was sent. */
  readonly isBusy: boolean;
  readonly isEnded: boolean;
  /** `json` has no line breaks. */
  send(kind: EntryKind, json: string, sequence: number): void;
  onDrain(listener: () => void): void;
  end(): void;
}

export interface EntryFeedOptions {
  readonly admin: Pick<Admin, 'entries' | 'follow'>;
  readonly machine: string;
  readonly kinds: readonly EntryKind[];
  /** Newest entries of each kind to begin with. */
  readonly count: number;
  readonly after: number | undefined;
}

/**
 * Nothing is kept for a sink that does not take: it skips to the newest. Throws when the machine is no member. Returns
 * what ends it.
 */
export function followEntries(options: EntryFeedOptions, sink: EntrySink): () => void {
  const { admin, machine, kinds, count, after } = options;
  const pumps = kinds.map((kind) => {
    let last = after;
    let wanted = count;
    return () => {
      if (sink.isBusy) return;
      for (const entry of admin.entries(machine, kind, wanted, last)) {
        sink.send(kind, JSON.stringify(entry), entry.sequence);
        last = entry.sequence;
      }
      wanted = MAX_ENTRIES;
      // An empty journal must not give the whole of it with the first entry.
      last ??= 0;
    };
  });
  let isScheduled = false;
  const pump = (): void => {
    isScheduled = false;
    if (sink.isEnded) return;
    try {
      for (const each of pumps) each();
    } catch {
      // The machine was removed.
      sink.end();
    }
  };
  const schedule = (): void => {
    if (!isScheduled) setImmediate(pump);
    isScheduled = true;
  };
  const ends = kinds.map((kind) => admin.follow(machine, kind, schedule));
  sink.onDrain(pump);
  schedule();
  return () => {
    for (const end of ends) end();
  };
}
