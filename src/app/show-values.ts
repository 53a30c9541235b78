/** How `wg show` writes ages, amounts and addresses: byte for byte, its C arithmetic included. */
import { type Address, formatAddress, type SocketAddress } from '../core/ip.ts';
import { REJECT_AFTER_TIME, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT } from '../noise/constants.ts';

/** Escape sequences as in wg; every sequence is an empty string when colours are off. */
export interface Palette {
  readonly reset: string;
  readonly bold: string;
  readonly red: string;
  readonly green: string;
  readonly yellow: string;
  readonly cyan: string;
}

const ESCAPES: Palette = {
  reset: '\x1b[0m',
  bold: '\x1b[1m',
  red: '\x1b[31m',
  green: '\x1b[32m',
  yellow: '\x1b[33m',
  cyan: '\x1b[36m',
};
const PLAIN: Palette = { reset: '', bold: '', red: '', green: '', yellow: '', cyan: '' };

export function palette(isColoured: boolean): Palette {
  return isColoured ? ESCAPES : PLAIN;
}

/** WG_COLOR_MODE rules as in wg; without it NO_COLOR (no-color.org) and then the terminal decide. */
export function wantsColour(env: Readonly<Record<string, string | undefined>>, isTty: boolean): boolean {
  if (env['WG_COLOR_MODE'] === 'always') return true;
  if (env['WG_COLOR_MODE'] === 'never' || (env['NO_COLOR'] ?? '') !== '') return false;
  return isTty;
}

/** A session lives 180 s; a peer that is spoken to and does not answer is given up after 275 s. */
const ALIVE_SECONDS: number = REJECT_AFTER_TIME / 1_000;
const LOST_SECONDS: number = ALIVE_SECONDS + (REKEY_TIMEOUT + REKEY_ATTEMPT_TIME) / 1_000;

/** How old a handshake is: green while a session lives, yellow while the peer may yet answer, red beyond. */
export function ageColour(seconds: number, colours: Palette): string {
  if (seconds < ALIVE_SECONDS) return colours.green;
  return seconds < LOST_SECONDS ? colours.yellow : colours.red;
}

const UNITS: readonly (readonly [string, number])[] = [
  ['year', 365 * 24 * 60 * 60],
  ['day', 24 * 60 * 60],
  ['hour', 60 * 60],
  ['minute', 60],
  ['second', 1],
];

/** `1 minute, 5 seconds`; empty for 0. */
export function formatDuration(seconds: number, colours: Palette): string {
  const parts: string[] = [];
  let left = seconds;
  for (const [name, size] of UNITS) {
    const count = Math.floor(left / size);
    left %= size;
    if (count > 0) parts.push(`${count} ${colours.cyan}${name}${count === 1 ? '' : 's'}${colours.reset}`);
  }
  return parts.join(', ');
}

export function formatAgo(thenSeconds: number, nowSeconds: number, colours: Palette): string {
  if (nowSeconds === thenSeconds) return 'Now';
  if (nowSeconds < thenSeconds)
    return `(${colours.red}System clock wound backward; connection problems may ensue.${colours.reset})`;
  return `${formatDuration(nowSeconds - thenSeconds, colours)} ago`;
}

/** `1.23 MiB`; rounds ties to even, as printf does and Number.toFixed does not. */
export function formatBytes(bytes: bigint, colours: Palette): string {
  if (bytes < 1024n) return `${bytes} ${colours.cyan}B${colours.reset}`;
  const names = ['KiB', 'MiB', 'GiB', 'TiB'];
  let power = 1;
  while (power < names.length && bytes >= 1024n ** BigInt(power + 1)) power++;
  const unit = 1024n ** BigInt(power);
  // Through a double, whose 53 bits are what wg divides.
  const hundreds = BigInt(Number(bytes)) * 100n;
  let rounded = hundreds / unit;
  const twice = (hundreds % unit) * 2n;
  if (twice > unit || (twice === unit && rounded % 2n === 1n)) rounded++;
  const fraction = String(rounded % 100n).padStart(2, '0');
  return `${rounded / 100n}.${fraction} ${colours.cyan}${names[power - 1]}${colours.reset}`;
}

/** inet_ntop of glibc: like RFC 5952, but IPv4-mapped and IPv4-compatible addresses end in dotted decimal. */
export function formatAsGlibc(address: Address): string {
  if (address.length === 4) return formatAddress(address);
  const zeros = address.findIndex((byte) => byte !== 0);
  const isMapped = zeros === 10 && address[10] === 0xff && address[11] === 0xff;
  const isCompatible = zeros === 12 || zeros === 13;
  if (!isMapped && !isCompatible) return formatAddress(address);
  return `::${isMapped ? 'ffff:' : ''}${formatAddress(address.subarray(12))}`;
}

export function formatEndpointAsGlibc({ address, port, zone }: SocketAddress): string {
  const text = formatAsGlibc(address);
  if (address.length === 4) return `${text}:${port}`;
  return `[${text}${zone === undefined ? '' : `%${zone}`}]:${port}`;
}
