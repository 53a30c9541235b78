/** Secrets in files of their own, which only their owner can read. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { AppError } from '../core/errors.ts';

const MAX_BYTES = 4_096;

/** Without white space at the ends. Throws AppError `permission`, with this hint, when others can read the file. */
export function readOwnFile(path: string, hint: string): string {
  const fd = openSync(path, 'r');
  try {
    const { mode } = fstatSync(fd);
    if ((mode & 0o077) !== 0) {
      throw new AppError('permission', `${path} has mode ${(mode & 0o777).toString(8)}: others can read it`, {
        hint,
      });
    }
    return readFileSync(fd, 'utf8').trim();
  } finally {
    closeSync(fd);
  }
}

/** One word of at least `minLength` characters. Throws AppError that begins with `place`. */
export function readSecretFile(path: string, place: string, minLength = 1): string {
  let text: string;
  try {
    text = readOwnFile(path, 'chmod 600 it');
  } catch (error) {
    if (error instanceof AppError) throw error;
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new AppError(code === 'ENOENT' ? 'not_found' : 'io', `${place} ${path}: ${code || message}`, {
      cause: error,
      hint: `(umask 077; openssl rand -hex 32 > ${path}) makes one`,
    });
  }
  if (text.length < minLength || text.length > MAX_BYTES || /\s/.test(text)) {
    const least = minLength > 1 ? ` of at least ${minLength} characters` : '';
    throw new AppError('config', `${place} ${path}: expected one word${least}`);
  }
  return text;
}
