/** The journal in an SQLite file of its own: large, and worth less than the state. */
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../core/errors.ts';
import type { Entry, EntryKind, Journal, JournalLimits, NewEntry } from './journal.ts';
import {
  damaged,
  ensureDirectory,
  ensurePrivate,
  SqliteFile,
  type SqlRow,
  type SqlStatement,
  type SqlValue,
} from './sqlite.ts';

export const JOURNAL_FILE = 'journal.db';

/** "CULJ". */
const APPLICATION_ID = 0x43_55_4c_4a;
const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    machine TEXT NOT NULL,
    kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    event_id TEXT
  ) STRICT;
  CREATE INDEX entries_by_machine ON entries (machine, kind, sequence);
  CREATE INDEX entries_by_age ON entries (at_ms);
  CREATE UNIQUE INDEX entries_by_event ON entries (machine, event_id) WHERE event_id IS NOT NULL;`;

/** One transaction for so many entries at most; more are not kept while the file takes none. */
const MAX_BUFFERED = 256;
/** A machine's surplus is deleted when it has grown by this much. */
const TRIM_EVERY = 128;
/** Oldest entries that are looked at together when all are too large. */
const SHRINK_STEP = 512;

export class SqliteJournal implements Journal {
  readonly #file: SqliteFile;
  readonly #limits: JournalLimits;
  readonly #insert: SqlStatement;
  readonly #trim: SqlStatement;
  readonly #tail: SqlStatement;
  readonly #oldest: SqlStatement;
  #buffer: NewEntry[] = [];
  readonly #sinceTrim = new Map<string, number>();
  /** Of all bodies in the file. */
  #totalBytes: number;
  #problem: AppError | undefined;
  #lost = 0;

  private constructor(file: SqliteFile, limits: JournalLimits) {
    this.#file = file;
    this.#limits = limits;
    this.#insert = file.prepare(
      `INSERT OR IGNORE INTO entries (machine, kind, at_ms, body, event_id) VALUES (?, ?, ?, ?, ?)
         RETURNING octet_length(body) AS size`,
    );
    this.#trim = file.prepare(
      `DELETE FROM entries WHERE machine = ?1 AND kind = ?2 AND sequence <=
         (SELECT sequence FROM entries WHERE machine = ?1 AND kind = ?2 ORDER BY sequence DESC LIMIT 1 OFFSET ?3)
         RETURNING octet_length(body) AS size`,
    );
    this.#tail = file.prepare(
      `SELECT * FROM (SELECT * FROM entries WHERE machine = ? AND kind = ? AND sequence > ?
         ORDER BY sequence DESC LIMIT ?) ORDER BY sequence`,
    );
    this.#oldest = file.prepare(
      'SELECT sequence, octet_length(body) AS size FROM entries ORDER BY sequence LIMIT ?',
    );
    this.#totalBytes = sizeOf(file.prepare('SELECT SUM(octet_length(body)) AS size FROM entries').all([]));
  }

  /** Opens `journal.db` in the directory, or makes both. Throws AppError when it is damaged or foreign. */
  static open(directory: string, limits: JournalLimits): SqliteJournal {
    ensureDirectory(directory);
    const path = join(directory, JOURNAL_FILE);
    ensurePrivate(path);
    const file = new SqliteFile(path);
    try {
      prepare(file);
      return new SqliteJournal(file, limits);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /**
   * As `open`, but a file that cannot be used is moved aside, never deleted, and a new one begun: a gateway does not
   * stand still for its logs. `setAside` is the error that names the old file, to be told.
   */
  static openOrSetAside(
    directory: string,
    limits: JournalLimits,
    wallMs: number,
  ): { journal: SqliteJournal; setAside: AppError | undefined } {
    try {
      return { journal: SqliteJournal.open(directory, limits), setAside: undefined };
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'corrupt') throw error;
      const path = join(directory, JOURNAL_FILE);
      const aside = `${path}.${wallMs}.damaged`;
      for (const suffix of ['', '-wal', '-shm']) {
        if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
      }
      const setAside = new AppError('corrupt', `${error.message}; moved to ${aside}`, { cause: error });
      return { journal: SqliteJournal.open(directory, limits), setAside };
    }
  }

  append(entry: NewEntry): void {
    if (this.#buffer.length >= MAX_BUFFERED) {
      this.#lost++;
      return;
    }
    this.#buffer.push(entry);
    // While the file takes nothing, `flush` tries; a flood of lines must not.
    if (this.#buffer.length === MAX_BUFFERED && !this.#problem) this.#tryFlush();
  }

  get problem(): AppError | undefined {
    return this.#problem;
  }

  get lostEntries(): number {
    return this.#lost;
  }

  flush(): void {
    if (this.#buffer.length === 0) return;
    const before = this.#totalBytes;
    try {
      this.#file.transaction(() => {
        for (const entry of this.#buffer) this.#write(entry);
        if (this.#limits.maxTotalBytes > 0) this.#shrink(this.#limits.maxTotalBytes);
      });
    } catch (error) {
      this.#totalBytes = before;
      if (error instanceof AppError) this.#problem = error;
      throw error;
    }
    this.#buffer = [];
    this.#problem = undefined;
  }

  tail(machine: string, kind: EntryKind, count: number, after = -1): readonly Entry[] {
    this.#tryFlush();
    return this.#tail.all([machine, kind, after, Math.min(count, this.#limits.maxEntries)]).map(entryOf);
  }

  forget(machine: string): void {
    this.#buffer = this.#buffer.filter((entry) => entry.machine !== machine);
    this.#delete(this.#file.prepare(`DELETE FROM entries WHERE machine = ? ${RETURNING_SIZE}`), [machine]);
    for (const kind of ['log', 'event']) this.#sinceTrim.delete(`${kind} ${machine}`);
  }

  sweep(wallMs: number): void {
    // What is deleted makes room for what waits.
    this.#tryFlush();
    this.#delete(this.#file.prepare(`DELETE FROM entries WHERE at_ms < ? ${RETURNING_SIZE}`), [
      wallMs - this.#limits.maxAgeMs,
    ]);
    this.flush();
    const pairs = this.#file.prepare('SELECT DISTINCT machine, kind FROM entries').all([]);
    for (const { machine, kind } of pairs) {
      this.#delete(this.#trim, [String(machine), String(kind), this.#limits.maxEntries]);
    }
    if (this.#limits.maxTotalBytes > 0) this.#shrink(this.#limits.maxTotalBytes);
  }

  close(): void {
    this.#tryFlush();
    this.#file.close();
  }

  #write({ machine, kind, atMs, body, id }: NewEntry): void {
    this.#totalBytes += sizeOf(this.#insert.all([machine, kind, atMs, body, id ?? null]));
    const topic = `${kind} ${machine}`;
    const count = (this.#sinceTrim.get(topic) ?? 0) + 1;
    this.#sinceTrim.set(topic, count % TRIM_EVERY);
    if (count === TRIM_EVERY) this.#delete(this.#trim, [machine, kind, this.#limits.maxEntries]);
  }

  #tryFlush(): void {
    try {
      this.flush();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    }
  }

  #delete(statement: SqlStatement, parameters: readonly SqlValue[]): void {
    this.#totalBytes -= sizeOf(statement.all(parameters));
  }

  /** Deletes the oldest entries of all machines until the rest fits. */
  #shrink(maxBytes: number): void {
    while (this.#totalBytes > maxBytes) {
      const oldest = this.#oldest.all([SHRINK_STEP]);
      if (oldest.length === 0) return;
      let last = 0;
      for (let surplus = this.#totalBytes - maxBytes; surplus > 0 && last < oldest.length; last++) {
        surplus -= Number(oldest[last]?.['size']);
      }
      const cut = Number(oldest[last - 1]?.['sequence']);
      this.#delete(this.#file.prepare(`DELETE FROM entries WHERE sequence <= ? ${RETURNING_SIZE}`), [cut]);
    }
  }
}

const RETURNING_SIZE = 'RETURNING octet_length(body) AS size';

function sizeOf(rows: readonly SqlRow[]): number {
  let size = 0;
  for (const row of rows) size += Number(row['size'] ?? 0);
  return size;
}

function prepare(file: SqliteFile): void {
  const isEmpty = file.prepare('SELECT count(*) AS tables FROM sqlite_master').all([])[0]?.['tables'] === 0;
  file.pragma('journal_mode = WAL');
  file.pragma('synchronous = NORMAL');
  if (isEmpty) {
    file.transaction(() => {
      file.exec(SCHEMA);
      file.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      file.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    });
    return;
  }
  if (file.pragma('application_id')[0]?.['application_id'] !== APPLICATION_ID) {
    throw damaged(file.path, 'it is a database, but not a journal of culvert');
  }
  if (Number(file.pragma('user_version')[0]?.['user_version']) > SCHEMA_VERSION) {
    throw damaged(file.path, 'a newer version wrote it');
  }
  const [check] = file.pragma('quick_check');
  if (check?.['quick_check'] !== 'ok') throw damaged(file.path, String(check?.['quick_check']));
}

function entryOf(row: SqlRow): Entry {
  const id = row['event_id'];
  return {
    sequence: Number(row['sequence']),
    machine: String(row['machine']),
    kind: row['kind'] === 'event' ? 'event' : 'log',
    atMs: Number(row['at_ms']),
    body: String(row['body']),
    ...(typeof id === 'string' ? { id } : {}),
  };
}
