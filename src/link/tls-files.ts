/** A certificate and its key in two files, taken anew when they change. */
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { AppError } from '../core/errors.ts';

export interface TlsPair {
  /** PEM; the server's own certificate first. */
  readonly cert: string;
  readonly key: string;
}

export class TlsFiles {
  #certFile: string;
  #keyFile: string;
  #current: TlsPair;
  /** What was wrong at the last check: said once, not at every check. */
  #problem: string | undefined;

  /** Throws AppError when a file cannot be read or the two do not belong together. */
  constructor(certFile: string, keyFile: string) {
    this.#certFile = certFile;
    this.#keyFile = keyFile;
    this.#current = this.#read();
    this.#validate(this.#current);
  }

  /** From now on these files. Throws AppError, and then the old ones stay. */
  use(certFile: string, keyFile: string): TlsPair {
    this.#current = new TlsFiles(certFile, keyFile).pair;
    this.#certFile = certFile;
    this.#keyFile = keyFile;
    this.#problem = undefined;
    return this.#current;
  }

  get pair(): TlsPair {
    return this.#current;
  }

  /**
   * Reads both files again, which also sees links that were turned to other files. Returns the new pair, undefined when
   * nothing changed, and the error, once, when what is there cannot be used: the old pair then stays.
   */
  check(): TlsPair | AppError | undefined {
    try {
      const pair = this.#read();
      if (!isSame(pair, this.#current)) {
        this.#validate(pair);
        this.#current = pair;
        this.#problem = undefined;
        return pair;
      }
      this.#problem = undefined;
      return undefined;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (error.message === this.#problem) return undefined;
      this.#problem = error.message;
      return error;
    }
  }

  #read(): TlsPair {
    const read = (path: string) => {
      try {
        return readFileSync(path, 'utf8');
      } catch (error) {
        throw new AppError('io', `${path}: ${(error as Error).message}`, { cause: error });
      }
    };
    return { cert: read(this.#certFile), key: read(this.#keyFile) };
  }

  #validate(pair: TlsPair): void {
    try {
      createSecureContext(pair);
    } catch (error) {
      throw new AppError(
        'config',
        `${this.#certFile} and ${this.#keyFile} cannot serve TLS: ${(error as Error).message}`,
        { hint: 'both must be PEM, and the key must be that of the first certificate', cause: error },
      );
    }
  }
}

function isSame(a: TlsPair, b: TlsPair): boolean {
  return a.cert === b.cert && a.key === b.key;
}
