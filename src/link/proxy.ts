/** Which proxy, if any, leads to a host: the variables HTTPS_PROXY and NO_PROXY, read as Go programs read them. */
import { isIP } from 'node:net';
import { configError } from '../core/errors.ts';
import { maskAddress, parseAddress, parsePrefix, prefixContains } from '../core/ip.ts';

export interface Proxy {
  readonly scheme: 'http' | 'https' | 'socks5';
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  /** Secret. */
  readonly password: string | undefined;
}

export interface ProxySettings {
  /** URL, or `host:port` for an HTTP proxy. */
  readonly httpsProxy?: string | undefined;
  /** Comma-separated: names (with what is below them), `.name` (only what is below), addresses, prefixes, `*`. */
  readonly noProxy?: string | undefined;
}

const DEFAULT_PORTS = { http: 80, https: 443, socks5: 1080 } as const;

/** The capital spelling wins. */
export function readProxySettings(env: Readonly<Record<string, string | undefined>>): ProxySettings {
  return {
    httpsProxy: env['HTTPS_PROXY'] || env['https_proxy'] || undefined,
    noProxy: env['NO_PROXY'] || env['no_proxy'] || undefined,
  };
}

/** Undefined: connect directly. Throws AppError `config` when the setting is no proxy URL. */
export function proxyFor(host: string, port: number, settings: ProxySettings): Proxy | undefined {
  if (settings.httpsProxy === undefined || isExempt(host, port, settings.noProxy ?? '')) return undefined;
  return parseProxy(settings.httpsProxy, 'HTTPS_PROXY');
}

/** `place` is put before error messages, which never show the URL: it may hold a password. */
export function parseProxy(text: string, place: string): Proxy {
  const full = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text) ? text : `http://${text}`;
  let url: URL;
  try {
    url = new URL(full);
  } catch {
    throw configError(place, 'is not a URL', 'write it like http://proxy.example:3128');
  }
  const scheme = url.protocol === 'socks5h:' ? 'socks5' : url.protocol.slice(0, -1);
  if (scheme !== 'http' && scheme !== 'https' && scheme !== 'socks5') {
    throw configError(place, `scheme must be http, https or socks5, got ${scheme}`);
  }
  if (url.hostname === '') throw configError(place, 'has no host');
  return {
    scheme,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? DEFAULT_PORTS[scheme] : Number(url.port),
    username: decodePart(url.username, 'user name', place),
    password: decodePart(url.password, 'password', place),
  };
}

/** Undefined when empty. */
function decodePart(text: string, what: string, place: string): string | undefined {
  try {
    return text === '' ? undefined : decodeURIComponent(text);
  } catch {
    throw configError(place, `has a broken % escape in its ${what}`, 'write % as %25');
  }
}

function isExempt(rawHost: string, port: number, noProxy: string): boolean {
  const host = rawHost.toLowerCase().replace(/\.$/, '');
  const address = parseAddress(host);
  if (host === 'localhost' || (address && isLoopback(address))) return true;
  return noProxy
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== '' && matches(entry, host, address, port));
}

function isLoopback(address: Uint8Array): boolean {
  if (address.length === 4) return address[0] === 127;
  return maskAddress(address, 127).every((byte) => byte === 0) && address[15] === 1;
}

function matches(entry: string, host: string, address: Uint8Array | undefined, port: number): boolean {
  if (entry === '*') return true;
  const prefix = parsePrefix(entry);
  if (prefix) return address !== undefined && prefixContains(prefix, address);
  const { name, portText } = splitPort(entry);
  if (portText !== undefined && Number(portText) !== port) return false;
  const exempt = parseAddress(name);
  if (exempt) return address !== undefined && Buffer.compare(exempt, address) === 0;
  if (address) return false;
  const below = name.replace(/^\*/, '');
  return below.startsWith('.') ? host.endsWith(below) : host === below || host.endsWith(`.${below}`);
}

function splitPort(entry: string): { name: string; portText: string | undefined } {
  if (isIP(entry) === 6) return { name: entry, portText: undefined };
  const match = /^(?:\[(.*)\]|(.*?))(?::(\d+))?$/.exec(entry);
  return { name: match?.[1] ?? match?.[2] ?? entry, portText: match?.[3] };
}
