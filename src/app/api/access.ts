/**
 * Who may use the HTTP API. The one secret is the admin token, a file that only its owner can read; it comes in the
 * Authorization header: there are no cookies to ride on.
 */
import { closeSync, fchmodSync, openSync, writeSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import type { Random } from '../../core/random.ts';
import { BearerToken, MIN_LENGTH } from '../http/bearer-token.ts';
import { isLocalHost } from '../http/host-check.ts';
import { readOwnFile, readSecretFile } from '../secret-file.ts';

export const TOKEN_FILE = 'http-token';
const TOKEN_BYTES = 32;
const TOKEN_FORM = /^[\w-]{43}$/;

/** The admin token of a state directory, made at the first use. Throws AppError when others can read the file. */
export class AdminToken extends BearerToken {
  readonly #text: string;

  constructor(text: string) {
    super(text);
    this.#text = text;
  }

  static ofDirectory(directory: string, random: Random): AdminToken {
    const path = join(directory, TOKEN_FILE);
    try {
      return new AdminToken(create(path, random));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw explain(error, path);
    }
    return AdminToken.read(directory);
  }

  /** A new one that nobody has, for this run. */
  static make(random: Random): AdminToken {
    return new AdminToken(newToken(random));
  }

  /** Throws AppError `not_found` when there is none yet. */
  static read(directory: string): AdminToken {
    const path = join(directory, TOKEN_FILE);
    let text: string;
    try {
      text = readOwnFile(path, `delete it, the next start makes a new token; or chmod 600 ${path}`);
    } catch (error) {
      throw explain(error, path);
    }
    if (!TOKEN_FORM.test(text)) {
      throw new AppError('config', `${path}: not an admin token`, {
        hint: 'delete the file; the next start makes a new one',
      });
    }
    return new AdminToken(text);
  }

  /** One that somebody else keeps. `place` is the flag or key, for the error. */
  static override ofFile(path: string, place: string): AdminToken {
    return new AdminToken(readSecretFile(path, place, MIN_LENGTH));
  }

  /** For the operator's eyes: shown on a terminal, never logged. */
  reveal(): string {
    return this.#text;
  }
}

/** Why a request is refused, or undefined. Its Authorization header is looked at by `isAuthorized`. */
export function originProblem(headers: IncomingHttpHeaders, isLocal: boolean): string | undefined {
  const { host, origin } = headers;
  if (isLocal && !isLocalHost(host)) return 'this server answers to localhost and to addresses only';
  const site = headers['sec-fetch-site'];
  // Set by browsers themselves. Behind a proxy it is right where Origin and Host differ.
  if (site !== undefined) {
    return site === 'same-origin' || site === 'none' ? undefined : 'requests of other sites are not answered';
  }
  if (origin === undefined) return undefined;
  const authority = /^https?:\/\/(.+)$/.exec(origin)?.[1];
  return authority === host ? undefined : 'requests of other sites are not answered';
}

function newToken(random: Random): string {
  const bytes = new Uint8Array(TOKEN_BYTES);
  random.fill(bytes);
  const text = Buffer.from(bytes).toString('base64url');
  bytes.fill(0);
  return text;
}

function create(path: string, random: Random): string {
  const text = newToken(random);
  const fd = openSync(path, 'wx', 0o600);
  try {
    // Whatever the umask is.
    fchmodSync(fd, 0o600);
    writeSync(fd, `${text}\n`);
  } finally {
    closeSync(fd);
  }
  return text;
}

function explain(error: unknown, path: string): unknown {
  if (error instanceof AppError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  const kind = code === 'ENOENT' ? 'not_found' : code === 'EACCES' ? 'permission' : 'io';
  return new AppError(kind, `admin token ${path}: ${code || message}`, {
    cause: error,
    hint: 'culvert serve makes it when it starts',
  });
}
