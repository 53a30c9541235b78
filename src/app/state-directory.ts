/** Where a command keeps what has to outlive it. */
import { lstatSync, mkdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { AppError, usageError } from '../core/errors.ts';

export interface StateSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Effective user id. */
  readonly uid: number;
  readonly home: string;
}

export function ownSurroundings(): StateSurroundings {
  return { env: process.env, uid: process.geteuid?.() ?? -1, home: homedir() };
}

/** What `--state` says, else /var/lib/culvert for root and the XDG state directory for everybody else. */
export function stateDirectory(flag: string | undefined, { env, uid, home }: StateSurroundings): string {
  if (flag === '') throw usageError('--state is empty', 'name a directory');
  if (flag !== undefined) return resolve(flag);
  if (uid === 0) return '/var/lib/culvert';
  // A relative XDG path counts as unset (XDG Base Directory Specification).
  const xdg = env['XDG_STATE_HOME'] ?? '';
  return join(isAbsolute(xdg) ? xdg : join(home, '.local', 'state'), 'culvert');
}

/** Makes the directory if need be. Throws AppError when others could read it or it belongs to somebody else. */
export function prepareStateDirectory(path: string, uid: number): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw explain(error, path);
  }
  const stat = statSync(path);
  if (!stat.isDirectory()) throw new AppError('usage', `${path} is not a directory`);
  if (stat.uid !== uid) {
    throw new AppError('permission', `${path} belongs to user ${stat.uid}, this is user ${uid}`, {
      hint: 'choose another directory with --state',
    });
  }
  if ((stat.mode & 0o077) !== 0) {
    const mode = (stat.mode & 0o777).toString(8);
    throw new AppError('permission', `${path} has mode ${mode}: others can look into it`, {
      hint: `it holds keys and join tokens: chmod 700 ${path}`,
    });
  }
}

/** True when a socket lies there; whether somebody listens is another question. */
export function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

function explain(error: unknown, path: string): AppError {
  const { code, message } = error as NodeJS.ErrnoException;
  const isDenied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
  return new AppError(isDenied ? 'permission' : 'io', `state directory ${path}: ${code ?? message}`, {
    cause: error,
    hint: 'choose another directory with --state',
  });
}
