/**
 * The gateway's state in one SQLite file, which this process has to itself. A Registry beside it applies the rules; the
 * file makes the outcome durable: write-ahead log, one transaction for each commit.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '../core/errors.ts';
import { Registry } from './registry.ts';
import type { StoreChange, StoreConflict } from './records.ts';
import { APPLICATION_ID, checkSchema, migrate, SCHEMA_VERSION } from './sqlite-schema.ts';
import { StateRows } from './sqlite-rows.ts';
import { damaged, OwnerLock, SqliteFile } from './sqlite.ts';
import type { Store, StoreContents } from './store.ts';

const STATE_FILE = 'state.db';

const LOCK_FILE = 'state.lock';

/** Another process that merely reads has the file for a moment. */
const BUSY_TIMEOUT_MS = 2_000;

export class SqliteStore implements Store {
  readonly kind = 'sqlite';
  readonly path: string;
  readonly #lock: OwnerLock;
  readonly #file: SqliteFile;
  readonly #rows: StateRows;
  #registry: Registry;
  #isClosed = false;

  private constructor(lock: OwnerLock, file: SqliteFile) {
    this.path = file.path;
    this.#lock = lock;
    this.#file = file;
    this.#rows = new StateRows(file);
    this.#registry = new Registry(this.#rows.read());
  }

  /** Opens `state.db` in the directory, or makes both. Throws AppError when it is damaged, foreign or in use. */
  static open(directory: string): SqliteStore {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const lock = new OwnerLock(join(directory, LOCK_FILE));
    try {
      const path = join(directory, STATE_FILE);
      if (!existsSync(path)) create(path);
      const { file, version } = openChecked(path);
      // A commit survives the death of the process without fsync; the log is synced at checkpoints.
      file.pragma('journal_mode = WAL');
      file.pragma('synchronous = NORMAL');
      migrate(file, version);
      return new SqliteStore(lock, file);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** What is stored, also while a gateway runs. Throws AppError `not_found` when nothing is. */
  static read(directory: string): StoreContents {
    const path = join(directory, STATE_FILE);
    if (!existsSync(path)) {
      throw new AppError('not_found', `${path} does not exist`, { hint: 'start the gateway once' });
    }
    const { file, version } = openChecked(path);
    try {
      if (version < SCHEMA_VERSION) {
        throw new AppError('io', `${path} was written by an older version`, {
          hint: 'start the gateway once',
        });
      }
      return new StateRows(file).read();
    } finally {
      file.close();
    }
  }

  async load(): Promise<StoreContents> {
    return this.#registry.contents();
  }

  async commit(changes: readonly StoreChange[]): Promise<StoreConflict | undefined> {
    if (changes.length === 0) return undefined;
    const conflict = this.#registry.apply(changes);
    if (conflict !== undefined) return conflict;
    try {
      this.#file.transaction(() => {
        for (const change of changes) this.#rows.write(change);
      });
      // What an operator does is rare and shall survive a power failure too.
      if (changes.some(isOperators)) this.#file.pragma('wal_checkpoint(PASSIVE)');
    } catch (error) {
      // The file did not take what the registry has: go back to what the file has.
      this.#registry = new Registry(this.#rows.read());
      throw error;
    }
    return undefined;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.pragma('wal_checkpoint(TRUNCATE)');
    this.#file.close();
    this.#lock.release();
  }
}

function openChecked(path: string): { file: SqliteFile; version: number } {
  const file = new SqliteFile(path);
  try {
    file.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return { file, version: checkSchema(file) };
  } catch (error) {
    file.close();
    throw error;
  }
}

function isOperators({ kind }: StoreChange): boolean {
  return kind === 'set_server_key' || kind === 'put_token' || kind === 'set_default_token' || kind === 'deny';
}

/**
 * Made under another name and then renamed, so that a state file is complete from its first moment: an empty one is
 * damage and never a fresh start.
 */
function create(path: string): void {
  const log = `${path}-wal`;
  if (existsSync(log)) throw damaged(path, `it is missing, but its log ${log} is there`);
  const fresh = `${path}.new`;
  for (const leftover of [fresh, `${fresh}-wal`, `${fresh}-shm`, `${fresh}-journal`]) {
    rmSync(leftover, { force: true });
  }
  closeSync(openSync(fresh, 'wx', 0o600));
  const file = new SqliteFile(fresh);
  try {
    file.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    migrate(file, 0);
  } finally {
    file.close();
  }
  renameSync(fresh, path);
  const directory = openSync(dirname(path), 'r');
  fsyncSync(directory);
  closeSync(directory);
}
