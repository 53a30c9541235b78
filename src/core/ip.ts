/** IP addresses and prefixes as bytes (4 or 16), with parsing and RFC 5952 printing. */
import { isIPv4, isIPv6 } from 'node:net';

/** 4 bytes (IPv4) or 16 bytes (IPv6), network order. Never written to after creation. */
export type Address = Uint8Array;

export interface Prefix {
  /** Host bits are zero. */
  readonly address: Address;
  /** 0..32 or 0..128. */
  readonly length: number;
}

/** Parses an address without zone or brackets, or returns undefined. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  let plain = text;
  if (dotted) {
    const [a, b, c, d] = (dotted[2] as string).split('.').map(Number) as [number, number, number, number];
    plain = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = '', tail] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const address = new Uint8Array(16);
  const put = (group: string, index: number) => {
    const value = Number.parseInt(group, 16);
    address[2 * index] = value >> 8;
    address[2 * index + 1] = value;
  };
  for (const [i, group] of left.entries()) put(group, i);
  for (const [i, group] of right.entries()) put(group, 8 - right.length + i);
  return address;
}

/** Dotted decimal, or RFC 5952 (lower case, longest run of two or more zero groups shortened, first one wins). */
export function formatAddress(address: Address): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((address[2 * i] as number) << 8) | (address[2 * i + 1] as number),
  );
  let start = -1;
  let size = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > size) {
      start = i;
      size = run;
    }
    i += run;
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (start < 0) {
    return hex(groups);
  }
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + size))}`;
}

export function addressesEqual(a: Address, b: Address): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A copy with all bits behind `length` zero. */
export function maskAddress(address: Address, length: number): Address {
  const masked = address.slice();
  for (let i = 0; i < masked.length; i++) {
    const keep = Math.min(8, Math.max(0, length - 8 * i));
    masked[i] = (masked[i] as number) & (0xff00 >> keep);
  }
  return masked;
}

/** `10.0.0.0/8`, `fd00::/8`; the length is required. Host bits are masked. Undefined when malformed. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (!address || !/^\d{1,3}$/.test(digits)) return undefined;
  const length = Number(digits);
  if (length > address.length * 8) return undefined;
  return { address: maskAddress(address, length), length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.length}`;
}

export function prefixContains(prefix: Prefix, address: Address): boolean {
  return (
    address.length === prefix.address.length &&
    addressesEqual(maskAddress(address, prefix.length), prefix.address)
  );
}

/** An IP address with a UDP or TCP port; `zone` names the interface of a link-local IPv6 address. */
export interface SocketAddress {
  readonly address: Address;
  readonly port: number;
  readonly zone?: string;
}

/** `1.2.3.4:51820`, `[fd00::1]:51820`, `[fe80::1%eth0]:51820`. No names. Undefined when malformed. */
export function parseSocketAddress(text: string): SocketAddress | undefined {
  const match = /^(?:\[([^\]%]+)(?:%([^\]\s]+))?\]|([^[\]:]+)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const port = Number(match[4]);
  const address = parseAddress((match[1] ?? match[3]) as string);
  if (!address || port > 65_535 || address.length !== (match[1] === undefined ? 4 : 16)) return undefined;
  return match[2] === undefined ? { address, port } : { address, port, zone: match[2] };
}

export function formatSocketAddress(endpoint: SocketAddress): string {
  const text = formatAddress(endpoint.address);
  if (endpoint.address.length === 4) return `${text}:${endpoint.port}`;
  return endpoint.zone === undefined
    ? `[${text}]:${endpoint.port}`
    : `[${text}%${endpoint.zone}]:${endpoint.port}`;
}
