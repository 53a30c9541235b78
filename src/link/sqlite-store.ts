/**
 * The gateway's state in one SQLite file, which this process has to itself. A Registry beside it applies the rules; the
 * file makes the outcome durable: write-ahead log, one transaction for each commit.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '../core/errors.ts';
import { Registry } from './registry.ts';
import type { StoreChange, StoreConflict } from './records.ts';
import { keepingDamaged } from './sqlite-damage.ts';
import { APPLICATION_ID, checkPages, checkVersion, migrate, SCHEMA_VERSION } from './sqlite-schema.ts';
import { StateRows } from './sqlite-rows.ts';
import { damaged, ensureDirectory, ensurePrivate, OwnerLock, SqliteFile } from './sqlite.ts';
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
  readonly #registry: Registry;
  #isClosed = false;

  private constructor(lock: OwnerLock, file: SqliteFile) {
    this.path = file.path;
    this.#lock = lock;
    this.#file = file;
    this.#rows = new StateRows(file);
    this.#registry = new Registry(this.#rows.read());
  }

  /**
   * Opens `state.db` in the directory, or makes both. Throws AppError: `corrupt` when it is damaged (it stays as it is, and
   * a copy is beside it), `permission` when others can read it, `in_use`.
   */
  static open(directory: string): SqliteStore {
    ensureDirectory(directory);
    const lock = new OwnerLock(join(directory, LOCK_FILE));
    try {
      const path = join(directory, STATE_FILE);
      if (!existsSync(path)) create(path);
      ensurePrivate(path);
      keepingDamaged(path, () => check(path));
      const file = new SqliteFile(path);
      file.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
      file.pragma('journal_mode = WAL');
      migrate(file, checkVersion(file));
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
    const contents = check(path);
    if (!contents) {
      throw new AppError('io', `${path} was written by an older version`, { hint: 'start the gateway once' });
    }
    return contents;
  }

  async load(): Promise<StoreContents> {
    return this.#registry.contents();
  }

  async commit(changes: readonly StoreChange[]): Promise<StoreConflict | undefined> {
    if (changes.length === 0) return undefined;
    return this.#registry.apply(changes, () => this.#write(changes));
  }

  #write(changes: readonly StoreChange[]): void {
    // A commit survives the death of the process without fsync. What an operator does is rare, and shall survive a power
    // failure too; all else is synced with it, or at checkpoints.
    this.#file.pragma(`synchronous = ${changes.some(isOperators) ? 'FULL' : 'NORMAL'}`);
    this.#file.transaction(() => {
      for (const change of changes) this.#rows.write(change);
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.#file.pragma('wal_checkpoint(TRUNCATE)');
    } catch (error) {
      // Without room for it everything stays in the log, which the next start reads.
      if (!(error instanceof AppError)) throw error;
    } finally {
      this.#file.close();
      this.#lock.release();
    }
  }
}

/** Reads everything and changes nothing; undefined when an older version wrote it. */
function check(path: string): StoreContents | undefined {
  const file = new SqliteFile(path, true);
  try {
    file.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    const version = checkVersion(file);
    checkPages(file);
    if (version < SCHEMA_VERSION) return undefined;
    const contents = new StateRows(file).read();
    checkRules(path, contents);
    return contents;
  } finally {
    file.close();
  }
}

/** Each row may be what was written, and all of them together nonetheless not. */
function checkRules(path: string, contents: StoreContents): void {
  try {
    Registry.check(contents);
  } catch (error) {
    throw damaged(path, (error as AppError).message, error);
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
