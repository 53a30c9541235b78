/**
 * An SQLite file through libsql. The binding aborts the process on argument types it does not expect, so parameters
 * are text, numbers, null and bytes in an array, and nothing else passes through here.
 */
import Database from 'libsql';
import { closeSync, mkdirSync, openSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { AppError, type ErrorCode } from '../core/errors.ts';

export type SqlValue = string | number | null | Uint8Array;
export type SqlRow = Readonly<Record<string, SqlValue>>;

export interface SqlStatement {
  run(parameters: readonly SqlValue[]): void;
  all(parameters: readonly SqlValue[]): SqlRow[];
}

export class SqliteFile {
  readonly path: string;
  readonly #database: Database.Database;

  /**
   * `isReadonly`: nothing of the file and its log is changed, not even by closing. Throws AppError `in_use` when another
   * process has the file, `corrupt` when it is no intact database.
   */
  constructor(path: string, isReadonly = false) {
    this.path = path;
    this.#database = this.#guard(() => new Database(path, { readonly: isReadonly }));
  }

  exec(sql: string): void {
    this.#guard(() => this.#database.exec(sql));
  }

  prepare(sql: string): SqlStatement {
    const statement = this.#guard(() => this.#database.prepare(sql));
    return {
      run: (parameters) => void this.#guard(() => statement.run(...parameters)),
      all: (parameters) => this.#guard(() => statement.all(...parameters)) as SqlRow[],
    };
  }

  pragma(text: string): SqlRow[] {
    return this.prepare(`PRAGMA ${text}`).all([]);
  }

  /** Runs `body` in one transaction; what it throws undoes it. */
  transaction(body: () => void): void {
    this.exec('BEGIN IMMEDIATE');
    try {
      body();
      this.exec('COMMIT');
    } catch (error) {
      if (this.#database.inTransaction) this.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    if (this.#database.open) this.#database.close();
  }

  #guard<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof Error) || error instanceof AppError) return error;
    const code = (error as { code?: unknown }).code;
    return explain(this.path, typeof code === 'string' ? code : '', error);
  }
}

const WRITES_AGAIN = 'what runs goes on, and takes changes again as soon as that is so';

function explain(path: string, code: string, error: Error): AppError {
  const failed = (name: ErrorCode, message: string, hint: string) =>
    new AppError(name, `${path}: ${message}`, { hint, cause: error });
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
    return failed('in_use', 'another process has it open', 'is a gateway with this state directory running?');
  }
  if (/^SQLITE_(CORRUPT|NOTADB|IOERR_SHORT_READ)/.test(code)) return damaged(path, error.message, error);
  if (code === 'SQLITE_FULL' || (code.startsWith('SQLITE_IOERR') && hasNoRoom(dirname(path)))) {
    return failed('io', 'its file system is full', `make room in ${dirname(path)}: ${WRITES_AGAIN}`);
  }
  if (/^SQLITE_(READONLY|CANTOPEN|PERM)/.test(code)) {
    return failed(
      'permission',
      `cannot be written (${error.message})`,
      `is ${dirname(path)} on a read-only file system, or does it belong to another user?`,
    );
  }
  if (code.startsWith('SQLITE_IOERR')) {
    return failed(
      'io',
      `cannot be read or written (${error.message})`,
      `the kernel log says what is wrong with the file system of ${dirname(path)}`,
    );
  }
  return new AppError('io', `${path}: ${error.message}`, { cause: error });
}

/**
 * Makes this process the only owner of a directory, until `release` or its death. A database of its own, because the
 * binding closes a connection for good only when the garbage collector has found all its statements.
 */
export class OwnerLock {
  readonly #file: SqliteFile;

  /** Throws AppError `in_use`. */
  constructor(path: string) {
    ensurePrivate(path);
    this.#file = new SqliteFile(path);
    try {
      this.#file.exec('BEGIN EXCLUSIVE');
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  release(): void {
    this.#file.close();
  }
}

/** The database's word for "no room" depends on which of its files wanted it: the next 32 KiB are the most it asks for. */
function hasNoRoom(directory: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize < 32_768;
  } catch {
    return false;
  }
}

function explainErrno(path: string, error: unknown): AppError {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return explain(
    path,
    isFull ? 'SQLITE_FULL' : 'SQLITE_CANTOPEN',
    new Error(code || message, { cause: error }),
  );
}

/** Makes the directory, and those it lies in, for its owner alone. Throws AppError. */
export function ensureDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw explainErrno(path, error);
  }
}

/**
 * Makes the file when it is not there, readable by its owner alone; what the database puts beside it has its mode. Throws
 * AppError `permission` when the file is another user's or others can read it.
 *
 * A file that exists is not opened: closing any descriptor of a file gives up all locks that this process has on it, those
 * of SQLite among them (fcntl(2)), and another process could then take the log away under a connection.
 */
export function ensurePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw explainErrno(path, error);
  }
  const { uid, mode } = statSync(path);
  const self = process.geteuid?.() ?? uid;
  if (uid !== self) {
    throw new AppError('permission', `${path} belongs to user ${uid}, this is user ${self}`, {
      hint: `run as its owner, or: chown ${self} ${dirname(path)}/*`,
    });
  }
  if ((mode & 0o077) !== 0) {
    throw new AppError('permission', `${path} has mode ${(mode & 0o777).toString(8)}: others can open it`, {
      hint: `it belongs to its owner alone: chmod 600 ${path}; if others had access, change keys and tokens`,
    });
  }
}

/** The file is left as it is: only its owner can say which part of it can be given up. */
export function damaged(path: string, what: string, cause?: unknown): AppError {
  return new AppError('corrupt', `${path} is damaged: ${what}`, {
    hint: 'restore it from a backup, or move it away to begin anew (machines then get new addresses)',
    cause,
  });
}
