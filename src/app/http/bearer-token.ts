/** A secret that comes in the Authorization header, which no web page can send to another origin by itself. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { AppError } from '../../core/errors.ts';

/** Shorter ones could be guessed. */
const MIN_LENGTH = 16;
const MAX_FILE_BYTES = 4_096;

export class BearerToken {
  readonly #digest: Buffer;

  constructor(text: string) {
    this.#digest = digest(text);
  }

  /** Of a file that holds nothing else and that only its owner can read. `place` is the flag or variable, for the error. */
  static ofFile(path: string, place: string): BearerToken {
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
    if (text.length < MIN_LENGTH || text.length > MAX_FILE_BYTES || /\s/.test(text)) {
      throw new AppError(
        'config',
        `${place} ${path}: expected one word of at least ${MIN_LENGTH} characters`,
      );
    }
    return new BearerToken(text);
  }

  /** Takes the same time whatever is wrong with `text`. */
  matches(text: string): boolean {
    return timingSafeEqual(digest(text), this.#digest);
  }

  toJSON(): string {
    return '(hidden)';
  }
}

export function isAuthorized({ authorization = '' }: IncomingHttpHeaders, token: BearerToken): boolean {
  const [, given] = /^Bearer (\S+)$/i.exec(authorization) ?? [];
  return given !== undefined && token.matches(given);
}

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

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
