/** Every key of a wg or wg-quick configuration file: where it belongs and how its value reads. */
import { isIPv4 } from 'node:net';
import { parseBase64 } from '../core/bytes.ts';
import { quote } from '../core/errors.ts';
import { maskAddress, parseAddress } from '../core/ip.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../noise/keys.ts';
import type { AllowedIpChange } from '../tunnel/config.ts';
import type { HostPort, InterfaceAddress, InterfaceSection, PeerSection } from './wg-conf.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

export interface InterfaceDraft {
  readonly kind: 'Interface';
  readonly section: Mutable<InterfaceSection>;
  readonly seen: Set<string>;
}

export interface PeerDraft extends Mutable<Omit<PeerSection, 'publicKey'>> {
  readonly kind: 'Peer';
  publicKey?: PublicKey;
  /** Of its [Peer]. */
  readonly line: number;
  /** No key of it was read yet. */
  isUntouched: boolean;
  readonly seen: Set<string>;
}

export function emptyInterface(): InterfaceDraft {
  const lists = { addresses: [], dns: [], dnsSearch: [], preUp: [], postUp: [], preDown: [], postDown: [] };
  return { kind: 'Interface', section: lists, seen: new Set() };
}

export function emptyPeer(line: number, name: string | undefined): PeerDraft {
  const draft: PeerDraft = { kind: 'Peer', line, allowedIps: [], isUntouched: true, seen: new Set() };
  return name === undefined ? draft : { ...draft, name };
}

/** Completes the sentence that begins with the name of the key. Secrets are not quoted. */
interface Outcome {
  readonly problem?: string;
  readonly warning?: string;
}

export interface Key {
  readonly name: string;
  readonly section: 'Interface' | 'Peer';
  /** The value of the last occurrence counts; lists and hooks add up instead. */
  readonly isSingle: boolean;
  /** The caller passes the draft of the right section. */
  read(draft: InterfaceDraft | PeerDraft, value: string): Outcome;
}

const FINE: Outcome = {};

function bad(value: string, expected: string): Outcome {
  return { problem: `${quote(value)}: ${expected}` };
}

function interfaceKey(
  name: string,
  isSingle: boolean,
  read: (section: InterfaceDraft['section'], value: string) => Outcome,
): Key {
  return {
    name,
    section: 'Interface',
    isSingle,
    read: (draft, value) => read((draft as InterfaceDraft).section, value),
  };
}

function peerKey(name: string, isSingle: boolean, read: (peer: PeerDraft, value: string) => Outcome): Key {
  return { name, section: 'Peer', isSingle, read: (draft, value) => read(draft as PeerDraft, value) };
}

function hookKey(name: string, member: 'preUp' | 'postUp' | 'preDown' | 'postDown'): Key {
  return interfaceKey(name, false, (section, value) => {
    if (value !== '') section[member].push(value);
    return FINE;
  });
}

const ALL_KEYS: readonly Key[] = [
  interfaceKey('PrivateKey', true, (section, value) => {
    const bytes = parseKey(value);
    if (!bytes) return BAD_SECRET;
    section.privateKey = new PrivateKey(bytes);
    bytes.fill(0);
    return FINE;
  }),
  interfaceKey('ListenPort', true, (section, value) => {
    const port = parseUint(squeeze(value), 0xffff);
    if (port === undefined) return bad(value, 'expected a port, 0-65535');
    section.listenPort = port;
    return FINE;
  }),
  interfaceKey('FwMark', true, (section, value) => {
    const mark = parseFwmark(squeeze(value));
    if (mark === undefined) return bad(value, 'expected off, or a number below 2^32, decimal or 0x...');
    section.fwmark = mark;
    return FINE;
  }),
  interfaceKey('Address', false, (section, value) => {
    for (const item of listOf(value)) {
      const address = parsePrefixed(item);
      if (typeof address === 'string') return bad(item, address);
      section.addresses.push(address);
    }
    return FINE;
  }),
  interfaceKey('DNS', false, (section, value) => {
    for (const item of listOf(value)) {
      // wg-quick's rule for what is a server and what a search domain.
      if (!/^[0-9.]+$|:/.test(item)) {
        section.dnsSearch.push(item);
        continue;
      }
      const address = parseAddress(item);
      if (!address) return bad(item, 'not an IP address');
      section.dns.push(address);
    }
    return FINE;
  }),
  interfaceKey('MTU', true, (section, value) => {
    if (value === '') return FINE;
    const mtu = parseUint(value, 65_535);
    if (mtu === undefined || mtu < 68) return bad(value, 'expected a size in bytes, 68-65535');
    section.mtu = mtu;
    return FINE;
  }),
  interfaceKey('Table', true, (section, value) => {
    if (value === '') return FINE;
    if (!/^[\w.-]+$/.test(value)) return bad(value, 'expected auto, off, a number or the name of a table');
    section.table = /^(auto|off)$/i.test(value) ? value.toLowerCase() : value;
    return FINE;
  }),
  hookKey('PreUp', 'preUp'),
  hookKey('PostUp', 'postUp'),
  hookKey('PreDown', 'preDown'),
  hookKey('PostDown', 'postDown'),
  interfaceKey('SaveConfig', true, (section, value) => {
    if (!/^(true|false)$/i.test(value)) return bad(value, 'expected true or false');
    section.saveConfig = value.toLowerCase() === 'true';
    return FINE;
  }),
  peerKey('PublicKey', true, (peer, value) => {
    const bytes = parseKey(value);
    if (!bytes) return bad(value, 'expected 44 characters of base64');
    peer.publicKey = new PublicKey(bytes);
    return FINE;
  }),
  peerKey('PresharedKey', true, (peer, value) => {
    const bytes = parseKey(value);
    if (!bytes) return BAD_SECRET;
    peer.presharedKey = new PresharedKey(bytes);
    bytes.fill(0);
    return FINE;
  }),
  peerKey('Endpoint', true, (peer, value) => {
    const endpoint = parseHostPort(squeeze(value));
    if (typeof endpoint === 'string') return bad(value, endpoint);
    peer.endpoint = endpoint;
    return FINE;
  }),
  peerKey('AllowedIPs', false, (peer, value) => {
    if (value === '') return { problem: 'lacks a value' };
    const wide: string[] = [];
    for (const item of squeeze(value).split(',')) {
      const allowed = parseAllowedIp(item);
      if (typeof allowed === 'string') return bad(item, allowed);
      if (allowed.isIncremental) peer.isIncremental = true;
      if (allowed.hasHostBits) wide.push(item);
      peer.allowedIps.push(allowed.change);
    }
    return wide.length === 0 ? FINE : { warning: `${quote(wide.join(', '))} has a nonzero host part` };
  }),
  peerKey('PersistentKeepalive', true, (peer, value) => {
    const text = squeeze(value);
    const seconds = text.toLowerCase() === 'off' ? 0 : parseUint(text, 0xffff);
    if (seconds === undefined) return bad(value, 'expected off or 0-65535 seconds');
    peer.persistentKeepalive = seconds;
    return FINE;
  }),
];

/** By lower-case name. */
export const KEYS: ReadonlyMap<string, Key> = new Map(ALL_KEYS.map((key) => [key.name.toLowerCase(), key]));

const BAD_SECRET: Outcome = { problem: '(not shown): expected 44 characters of base64' };

/** `wg` drops all white space of a line before it reads it. */
function squeeze(value: string): string {
  return value.replace(/\s/g, '');
}

function listOf(value: string): string[] {
  return value.split(/[\s,]+/).filter((item) => item !== '');
}

function parseUint(text: string, max: number): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= max ? number : undefined;
}

function parseKey(value: string): Uint8Array | undefined {
  return parseBase64(squeeze(value), 32);
}

/** `off`, decimal or `0x` hexadecimal. */
export function parseFwmark(text: string): number | undefined {
  if (text.toLowerCase() === 'off') return 0;
  if (!/^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text)) return undefined;
  const mark = Number(text);
  return mark <= 0xffff_ffff ? mark : undefined;
}

/** An address with or without a length (then of the host alone), or what is wrong with it. */
function parsePrefixed(text: string): InterfaceAddress | string {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!address) return 'not an IP address';
  const bits = address.length * 8;
  const length = slash < 0 ? bits : parseUint(text.slice(slash + 1), bits);
  return length === undefined ? `prefix length must be 0-${bits}` : { address, length };
}

interface AllowedIpItem {
  readonly change: AllowedIpChange;
  readonly isIncremental: boolean;
  readonly hasHostBits: boolean;
}

function parseAllowedIp(text: string): AllowedIpItem | string {
  const sign = /^[+-]/.exec(text)?.[0];
  const parsed = parsePrefixed(sign === undefined ? text : text.slice(1));
  if (typeof parsed === 'string') return parsed;
  const address = maskAddress(parsed.address, parsed.length);
  return {
    change: { prefix: { address, length: parsed.length }, remove: sign === '-' },
    isIncremental: sign !== undefined,
    hasHostBits: address.some((byte, i) => byte !== parsed.address[i]),
  };
}

/** `host:port` or `[address]:port`, or what is wrong with it. Unbracketed IPv6 works as in `wg`: the last colon counts. */
export function parseHostPort(text: string): HostPort | string {
  const bracketed = /^\[([^\]]*)\]:([^:]*)$/.exec(text);
  const colon = text.lastIndexOf(':');
  if (!bracketed && (text.startsWith('[') || colon < 0)) return 'expected HOST:PORT or [IPv6]:PORT';
  const host = bracketed ? (bracketed[1] as string) : text.slice(0, colon);
  const port = parseUint(bracketed ? (bracketed[2] as string) : text.slice(colon + 1), 0xffff);
  if (port === undefined || port === 0) return 'the port must be 1-65535';
  if (host.includes(':')) {
    const [address = '', zone] = host.split('%');
    if (!parseAddress(address) || zone === '') return `${quote(host)} is not an IPv6 address`;
  } else if (/^[\d.]+$/.test(host) ? !isIPv4(host) : !/^[^\s/[\]%@,]+$/.test(host)) {
    return `${quote(host)} is neither an address nor a name`;
  }
  return { host, port };
}
