/** The journal in an SQLite file of its own: large, and worth less than the state. */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../core/errors.ts';
import type { Entry, EntryKind, Journal, JournalLimits, NewEntry } from './journal.ts';
import { damaged, SqliteFile, type SqlRow, type SqlStatement } from './sqlite.ts';

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

/** One transaction for so many entries at most. */
const MAX_BUFFERED = 256;
/** A machine's surplus is deleted when it has grown by this much. */
const TRIM_EVERY = 128;

export class SqliteJournal implements Journal {
  readonly #file: SqliteFile;
  readonly #limits: JournalLimits;
  readonly #insert: SqlStatement;
  readonly #trim: SqlStatement;
  readonly #tail: SqlStatement;
  #buffer: NewEntry[] = [];
  readonly #sinceTrim = new Map<string, number>();

  private constructor(file: SqliteFile, limits: JournalLimits) {
    this.#file = file;
    this.#limits = limits;
    this.#insert = file.prepare(
      'INSERT OR IGNORE INTO entries (machine, kind, at_ms, body, event_id) VALUES (?, ?, ?, ?, ?)',
    );
    this.#trim = file.prepare(
      `DELETE FROM entries WHERE machine = ?1 AND kind = ?2 AND sequence <=
         (SELECT sequence FROM entries WHERE machine = ?1 AND kind = ?2 ORDER BY sequence DESC LIMIT 1 OFFSET ?3)`,
    );
    this.#tail = file.prepare(
      `SELECT * FROM (SELECT * FROM entries WHERE machine = ? AND kind = ? AND sequence > ?
         ORDER BY sequence DESC LIMIT ?) ORDER BY sequence`,
    );
  }

  /** Opens `journal.db` in the directory, or makes both. Throws AppError when it is damaged or foreign. */
  static open(directory: string, limits: JournalLimits): SqliteJournal {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = new SqliteFile(join(directory, JOURNAL_FILE));
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
      if (!(error instanceof AppError) || error.code !== 'io') throw error;
      const path = join(directory, JOURNAL_FILE);
      const aside = `${path}.${wallMs}.damaged`;
      for (const suffix of ['', '-wal', '-shm']) {
        if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
      }
      const setAside = new AppError('io', `${error.message}; moved to ${aside}`, { cause: error });
      return { journal: SqliteJournal.open(directory, limits), setAside };
    }
  }

  append(entry: NewEntry): void {
    this.#buffer.push(entry);
    if (this.#buffer.length >= MAX_BUFFERED) this.flush();
  }

  flush(): void {
    const entries = this.#buffer;
    if (entries.length === 0) return;
    this.#buffer = [];
    this.#file.transaction(() => {
      for (const { machine, kind, atMs, body, id } of entries) {
        this.#insert.run([machine, kind, atMs, body, id ?? null]);
        const topic = `${kind} ${machine}`;
        const count = (this.#sinceTrim.get(topic) ?? 0) + 1;
        this.#sinceTrim.set(topic, count % TRIM_EVERY);
        if (count === TRIM_EVERY) this.#trim.run([machine, kind, this.#limits.maxEntries]);
      }
    });
  }

  tail(machine: string, kind: EntryKind, count: number, after = -1): readonly Entry[] {
    this.flush();
    return this.#tail.all([machine, kind, after, Math.min(count, this.#limits.maxEntries)]).map(entryOf);
  }

  forget(machine: string): void {
    this.flush();
    this.#file.prepare('DELETE FROM entries WHERE machine = ?').run([machine]);
    for (const kind of ['log', 'event']) this.#sinceTrim.delete(`${kind} ${machine}`);
  }

  sweep(wallMs: number): void {
    this.flush();
    this.#file.prepare('DELETE FROM entries WHERE at_ms < ?').run([wallMs - this.#limits.maxAgeMs]);
    const pairs = this.#file.prepare('SELECT DISTINCT machine, kind FROM entries').all([]);
    for (const { machine, kind } of pairs) {
      this.#trim.run([String(machine), String(kind), this.#limits.maxEntries]);
    }
    if (this.#limits.maxTotalBytes > 0) this.#shrink(this.#limits.maxTotalBytes);
  }

  close(): void {
    this.flush();
    this.#file.close();
  }

  /** Deletes the oldest entries of all machines until the rest fits. */
  #shrink(maxBytes: number): void {
    const cut = this.#file
      .prepare(
        `SELECT sequence FROM (SELECT sequence, SUM(LENGTH(CAST(body AS BLOB))) OVER (ORDER BY sequence DESC) AS total
           FROM entries) WHERE total > ? ORDER BY sequence DESC LIMIT 1`,
      )
      .all([maxBytes])[0];
    if (cut) this.#file.prepare('DELETE FROM entries WHERE sequence <= ?').run([Number(cut['sequence'])]);
  }
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
    throw new AppError('io', `${file.path} is a database, but not a journal of culvert`);
  }
  if (Number(file.pragma('user_version')[0]?.['user_version']) > SCHEMA_VERSION) {
    throw new AppError('io', `${file.path} was written by a newer version`);
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
