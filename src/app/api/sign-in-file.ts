/**
 * Where the status page of a device is and the token that opens it: in a file beside those of `culvert up`, for its owner
 * only, from when the device is there until it ends. `culvert page INTERFACE` reads it.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { readIfThere, writePrivately } from '../private-file.ts';
import { STATE_DIRECTORY } from '../undo-store.ts';
import { AdminToken } from './access.ts';

const SUFFIX = '.page';

export interface SignIn {
  readonly url: string;
  readonly token: AdminToken;
}

export class SignInFiles {
  readonly #directory: string;

  constructor(directory: string = STATE_DIRECTORY) {
    this.#directory = directory;
  }

  /** Throws AppError `permission` or `io`. */
  write(interfaceName: string, { url, token }: SignIn): void {
    writePrivately(this.path(interfaceName), `${JSON.stringify({ url, token: token.reveal() })}\n`);
  }

  /** Undefined when there is none. Throws AppError. */
  read(interfaceName: string): SignIn | undefined {
    const path = this.path(interfaceName);
    const text = readIfThere(path);
    if (text === undefined) return undefined;
    try {
      const { url, token } = JSON.parse(text) as Record<string, unknown>;
      if (typeof url === 'string' && typeof token === 'string') return { url, token: new AdminToken(token) };
    } catch {
      // Said below.
    }
    throw new AppError('corrupt', `${path}: not what a device writes`, {
      hint: 'delete it and start the device again',
    });
  }

  /** Whoever has given up the right to remove it leaves that to `culvert down`. */
  remove(interfaceName: string): void {
    try {
      rmSync(this.path(interfaceName), { force: true });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    }
  }

  /** Interfaces that have one. */
  names(): string[] {
    try {
      return readdirSync(this.#directory)
        .filter((name) => name.endsWith(SUFFIX))
        .map((name) => name.slice(0, -SUFFIX.length))
        .toSorted();
    } catch {
      return [];
    }
  }

  path(interfaceName: string): string {
    return join(this.#directory, `${interfaceName}${SUFFIX}`);
  }
}
