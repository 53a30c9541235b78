/** Where an HTTP server of this process listens, as its user writes it. */
import { isIP } from 'node:net';
import { usageError } from '../../core/errors.ts';

export interface ListenAddress {
  /** An IP address, without brackets. */
  readonly host: string;
  /** 0 = any. */
  readonly port: number;
}

/** `9586` (loopback), `127.0.0.1:9586`, `[::1]:9586`, `localhost:9586`. `place` is the flag or variable, for the error. */
export function parseListenAddress(text: string, place: string): ListenAddress {
  const [, bracketed, plain, digits] = /^(?:(?:\[([^\]]*)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? '127.0.0.1';
  const port = Number(digits);
  if (host === '')
    throw usageError(
      `${place} ${JSON.stringify(text)}: says no address`,
      `127.0.0.1:${digits} for this machine only, 0.0.0.0:${digits} for everybody`,
    );
  const address = host === 'localhost' ? '127.0.0.1' : host;
  const family = bracketed === undefined ? 4 : 6;
  if (digits === undefined || port > 0xffff || isIP(address) !== family)
    throw usageError(
      `${place} ${JSON.stringify(text)}: expected an IP address and a port`,
      'for example 127.0.0.1:9586 or [::1]:9586',
    );
  return { host: address, port };
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only this machine can reach it. */
export function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
