/** The values of flags. Every function throws a usage error that names the flag, the value and what was expected. */
import { nearest, usageError } from '../core/errors.ts';
import { parseAddress } from '../core/ip.ts';

/** Case and hyphens do not matter: `legacy-allowed` is `legacyAllowed`. */
export function oneOf<Value extends string>(flag: string, text: string, values: readonly Value[]): Value {
  const plain = (word: string) => word.toLowerCase().replaceAll('-', '');
  const found = values.find((value) => plain(value) === plain(text));
  if (found !== undefined) return found;
  const near = nearest(text, values);
  throw usageError(
    `${flag} ${JSON.stringify(text)}: expected ${values.join(', ')}`,
    near === undefined ? undefined : `did you mean ${near}?`,
  );
}

export function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw usageError(`${flag} ${JSON.stringify(text)}: expected a whole number from ${min} to ${max}`);
}

/** `none` is undefined. */
export function portOrNone(flag: string, text: string): number | undefined {
  return text === 'none' ? undefined : wholeNumber(flag, text, 1, 65_535);
}

export interface ListenAddress {
  /** An address, IPv6 without brackets; undefined: every address of this machine, IPv4 and IPv6. */
  readonly host: string | undefined;
  /** 0: any. */
  readonly port: number;
}

/** `:4000`, `4000`, `192.0.2.1:4000`, `[2001:db8::1]:4000`, `localhost:4000`. */
export function listenAddress(flag: string, text: string): ListenAddress {
  const match = /^(?:(?:\[([^\]]+)\]|([A-Za-z0-9._-]*)):)?(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  const isBracketed = match?.[1] !== undefined;
  if (!match || port > 65_535 || (isBracketed && parseAddress(host)?.length !== 16)) {
    const hint = parseAddress(text)
      ? 'the port is missing'
      : 'for example :4000, 192.0.2.1:4000 or [::1]:4000';
    throw usageError(`${flag} ${JSON.stringify(text)}: expected [ADDRESS]:PORT`, hint);
  }
  return { host: host === '' ? undefined : host === 'localhost' ? '127.0.0.1' : host, port };
}

export function formatListen({ host, port }: ListenAddress): string {
  return `${host?.includes(':') ? `[${host}]` : (host ?? '')}:${port}`;
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** `90s`, `15m`, `24h`, `7d`, `2w` in milliseconds. */
export function duration(flag: string, text: string): number {
  const match = /^(\d{1,9})([smhdw])$/.exec(text);
  const value = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? NaN);
  if (value > 0) return value * 1_000;
  throw usageError(
    `${flag} ${JSON.stringify(text)}: expected a duration`,
    'for example 90s, 15m, 24h, 7d or 2w',
  );
}
