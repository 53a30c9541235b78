/** Tables of the state file and how older files become newer ones. */
import { AppError } from '../core/errors.ts';
import { damaged, type SqliteFile } from './sqlite.ts';

/** "CULV", in the header of every state file. */
export const APPLICATION_ID = 0x43_55_4c_56;

/**
 * Each step leads from the version of its index to the next and is never edited again. `sum` guards a row: SQLite checks
 * its pages' structure only, not what stands in them.
 */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE records (
     kind TEXT NOT NULL,
     id TEXT NOT NULL,
     body TEXT NOT NULL,
     sum TEXT NOT NULL,
     PRIMARY KEY (kind, id)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE token_uses (
     token TEXT NOT NULL,
     subject TEXT NOT NULL,
     sum TEXT NOT NULL,
     PRIMARY KEY (token, subject)
   ) STRICT, WITHOUT ROWID;`,
];

export const SCHEMA_VERSION: number = MIGRATIONS.length;

/** Throws AppError when the file is not ours or comes from a newer version. */
export function checkVersion(file: SqliteFile): number {
  const application = numberOf(file, 'application_id');
  if (application !== APPLICATION_ID) {
    throw damaged(file.path, 'it is a database, but not a state file of culvert');
  }
  const version = numberOf(file, 'user_version');
  if (version > SCHEMA_VERSION) {
    throw new AppError(
      'unavailable',
      `${file.path} has schema version ${version}, this program knows up to ${SCHEMA_VERSION}`,
      { hint: 'a newer culvert wrote it: use that one' },
    );
  }
  return version;
}

/** Throws AppError `corrupt` when pages do not fit together. */
export function checkPages(file: SqliteFile): void {
  const [check] = file.pragma('quick_check');
  if (check?.['quick_check'] !== 'ok') throw damaged(file.path, String(check?.['quick_check']));
}

/** Brings the tables to the newest version, step by step, all steps in one transaction. */
export function migrate(file: SqliteFile, from: number): void {
  if (from === SCHEMA_VERSION) return;
  file.transaction(() => {
    for (const step of MIGRATIONS.slice(from)) file.exec(step);
    file.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  });
}

function numberOf(file: SqliteFile, pragma: string): number {
  return Number(file.pragma(pragma)[0]?.[pragma]);
}
