/**
 * An SQLite file through libsql. The binding aborts the process on argument types it does not expect, so parameters
 * are text, numbers, null and bytes in an array, and nothing else passes through here.
 */
import Database from 'libsql';
import { AppError } from '../core/errors.ts';

export type SqlValue = string | number | null | Uint8Array;
export type SqlRow = Readonly<Record<string, SqlValue>>;

export interface SqlStatement {
  run(parameters: readonly SqlValue[]): void;
  all(parameters: readonly SqlValue[]): SqlRow[];
}

export class SqliteFile {
  readonly path: string;
  readonly #database: Database.Database;

  /** Throws AppError `in_use` when another process has the file, `io` when it is no intact database. */
  constructor(path: string) {
    this.path = path;
    this.#database = this.#guard(() => new Database(path));
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
    const text = typeof code === 'string' ? code : '';
    if (/^SQLITE_(BUSY|LOCKED)/.test(text)) {
      return new AppError('in_use', `${this.path}: another process has it open`, {
        hint: 'is a gateway with this state directory running?',
        cause: error,
      });
    }
    if (/^SQLITE_(CORRUPT|NOTADB|IOERR_SHORT_READ)/.test(text))
      return damaged(this.path, error.message, error);
    return new AppError('io', `${this.path}: ${error.message}`, { cause: error });
  }
}

/**
 * Makes this process the only owner of a directory, until `release` or its death. A database of its own, because the
 * binding closes a connection for good only when the garbage collector has found all its statements.
 */
export class OwnerLock {
  readonly #file: SqliteFile;

  /** Throws AppError `in_use`. */
  constructor(path: string) {
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

/** The file is left as it is: only its owner can say which part of it can be given up. */
export function damaged(path: string, what: string, cause?: unknown): AppError {
  return new AppError('io', `${path} is damaged: ${what}`, {
    hint: 'restore it from a backup, or move it away to begin anew (machines then get new addresses)',
    cause,
  });
}
