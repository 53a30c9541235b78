/** What a machine says, as it says it: the newest entries, then those that come. */
import type { EntryKind } from '../../link/journal.ts';
import type { Admin } from '../gateway/admin.ts';
import { MAX_ENTRIES } from '../gateway/admin-operations.ts';
import type { EventStream } from './event-stream.ts';

export const ENTRY_KINDS: readonly EntryKind[] = ['log', 'event'];

export interface EntryFeedOptions {
  readonly admin: Pick<Admin, 'entries' | 'follow'>;
  readonly machine: string;
  readonly kinds: readonly EntryKind[];
  /** Newest entries of each kind to begin with. */
  readonly count: number;
  readonly after: number | undefined;
}

/**
 * Sends events `log` and `event`, ids are sequence numbers. Nothing is kept for a client that does not read: it skips to
 * the newest. Throws when the machine is no member. Returns what ends it.
 */
export function followEntries(options: EntryFeedOptions, stream: EventStream): () => void {
  const { admin, machine, kinds, count, after } = options;
  const pumps = kinds.map((kind) => {
    let last = after;
    let wanted = count;
    return () => {
      if (stream.isBusy) return;
      for (const entry of admin.entries(machine, kind, wanted, last)) {
        stream.send(kind, JSON.stringify(entry), entry.sequence);
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
    if (stream.isEnded) return;
    try {
      for (const each of pumps) each();
    } catch {
      // The machine was removed.
      stream.end();
    }
  };
  const schedule = (): void => {
    if (!isScheduled) setImmediate(pump);
    isScheduled = true;
  };
  const ends = kinds.map((kind) => admin.follow(machine, kind, schedule));
  stream.onDrain(pump);
  schedule();
  return () => {
    for (const end of ends) end();
  };
}
