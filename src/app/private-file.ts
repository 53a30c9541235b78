/** Small files with something secret in them. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { AppError } from '../core/errors.ts';

/** Undefined when there is no such file. Throws AppError when it cannot be read. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(path, error);
  }
}

/** Makes the file and its directory, at once or not at all and for the owner only. Throws AppError. */
export function writePrivately(path: string, text: string): void {
  const temporary = `${path}.${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw fileError(path, error);
  }
}

function fileError(path: string, error: unknown): AppError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new AppError(
    code === 'EACCES' || code === 'EPERM' ? 'permission' : 'io',
    `${path}: ${code ?? message}`,
    {
      cause: error,
      hint: 'run as root, or name another place',
    },
  );
}
