/** The certificates to trust: the machine's own list and what the user adds. */
import { readFileSync, statSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { AppError, configError } from '../../core/errors.ts';
import type { DialOptions } from '../../link/dial.ts';
import type { ProxySettings } from '../../link/proxy.ts';

/** Where distributions keep the list, as Go's crypto/x509 looks for it. */
const SYSTEM_LISTS: readonly string[] = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** Reads again what has changed on disk, so that a renewed certificate needs no restart. */
export class TrustStore {
  readonly #systemLists: readonly string[];
  readonly #files: readonly string[];
  readonly #cache = new Map<string, { readonly stamp: string; readonly text: string }>();

  /** Throws AppError when one of `files` cannot be read or holds no certificate. `env`: SSL_CERT_FILE. */
  constructor(
    files: readonly string[],
    env: Readonly<Record<string, string | undefined>>,
    systemLists: readonly string[] = SYSTEM_LISTS,
  ) {
    const named = env['SSL_CERT_FILE'] ?? '';
    this.#systemLists = named === '' ? systemLists : [named];
    this.#files = files;
    for (const file of files) {
      if (!this.#read(file).includes('-----BEGIN CERTIFICATE-----'))
        throw configError(
          `--ca ${file}`,
          'has no PEM certificate',
          'convert it with openssl x509 -inform der',
        );
    }
  }

  /** PEM, for node:tls. Node's own list stands in where the machine has none. */
  certificates(): readonly string[] {
    const list = this.#systemLists.find((path) => this.#isThere(path));
    const system = list === undefined ? rootCertificates : [this.#read(list)];
    return [...system, ...this.#files.map((file) => this.#read(file))];
  }

  #isThere(path: string): boolean {
    try {
      return this.#read(path) !== '';
    } catch {
      return false;
    }
  }

  #read(path: string): string {
    const known = this.#cache.get(path);
    try {
      const { mtimeMs, size, ino } = statSync(path);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (known?.stamp === stamp) return known.text;
      const text = readFileSync(path, 'utf8');
      this.#cache.set(path, { stamp, text });
      return text;
    } catch (error) {
      // In the middle of being replaced: what was read last is still right.
      if (known) return known.text;
      const { code, message } = error as NodeJS.ErrnoException;
      throw new AppError(code === 'ENOENT' ? 'not_found' : 'io', `${path}: ${code ?? message}`, {
        cause: error,
      });
    }
  }
}

/** The certificates are read anew for each connection. */
export function trustingDialOptions(trust: TrustStore, proxies: ProxySettings): DialOptions {
  return {
    proxies,
    get ca() {
      return trust.certificates();
    },
  };
}
