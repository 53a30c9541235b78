/** A secret that comes in the Authorization header, which no web page can send to another origin by itself. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { readSecretFile } from '../secret-file.ts';

/** Shorter ones could be guessed. */
export const MIN_LENGTH = 16;

export class BearerToken {
  readonly #digest: Buffer;

  constructor(text: string) {
    this.#digest = digest(text);
  }

  /** Of a file that holds nothing else and that only its owner can read. `place` is the flag or variable, for the error. */
  static ofFile(path: string, place: string): BearerToken {
    return new BearerToken(readSecretFile(path, place, MIN_LENGTH));
  }

  /** Takes the same time whatever is wrong with `text`. */
  matches(text: string): boolean {
    return timingSafeEqual(digest(text), this.#digest);
  }

  /** In the same time, whatever the difference. */
  equals(other: BearerToken): boolean {
    return timingSafeEqual(other.#digest, this.#digest);
  }

  toJSON(): string {
    return '(hidden)';
  }
}

export function isAuthorized({ authorization = '' }: IncomingHttpHeaders, token: BearerToken): boolean {
  const [, given] = /^Bearer (\S+)$/i.exec(authorization) ?? [];
  return given !== undefined && token.matches(given);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
