/** What a gateway that does not run has left in its state directory. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../core/clock.ts';
import { DEFAULT_JOURNAL_LIMITS } from '../../link/journal.ts';
import { Registry } from '../../link/registry.ts';
import { JOURNAL_FILE, SqliteJournal } from '../../link/sqlite-journal.ts';
import { SqliteStore } from '../../link/sqlite-store.ts';
import { AdminReader } from './admin-reader.ts';

/** Throws AppError `not_found` when no gateway ever ran there. */
export function readOffline(stateDirectory: string): AdminReader {
  const registry = new Registry(SqliteStore.read(stateDirectory));
  return new AdminReader({
    registry: () => registry,
    live: undefined,
    journal: { tail: (...query) => withJournal(stateDirectory, (journal) => journal.tail(...query)) ?? [] },
    clock: systemClock,
  });
}

/** Undefined when nothing was ever reported. */
function withJournal<Result>(
  directory: string,
  read: (journal: SqliteJournal) => Result,
): Result | undefined {
  if (!existsSync(join(directory, JOURNAL_FILE))) return undefined;
  const journal = SqliteJournal.open(directory, DEFAULT_JOURNAL_LIMITS);
  try {
    return read(journal);
  } finally {
    journal.close();
  }
}
