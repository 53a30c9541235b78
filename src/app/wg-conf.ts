/** The configuration files of `wg` (wg(8), CONFIGURATION FILE FORMAT) and `wg-quick` (wg-quick(8)), as typed data. */
import { AppError, configError, nearest } from '../core/errors.ts';
import type { Address } from '../core/ip.ts';
import type { PresharedKey, PrivateKey, PublicKey } from '../noise/keys.ts';
import type { AllowedIpChange } from '../tunnel/config.ts';
import { type InterfaceDraft, KEYS, type PeerDraft, emptyInterface, emptyPeer } from './wg-conf-keys.ts';

export interface WgConf {
  readonly device: InterfaceSection;
  readonly peers: readonly PeerSection[];
}

export interface InterfaceSection {
  readonly privateKey?: PrivateKey;
  /** 0..65535; 0 = any. */
  readonly listenPort?: number;
  /** u32; 0 = off. */
  readonly fwmark?: number;
  readonly addresses: readonly InterfaceAddress[];
  readonly dns: readonly Address[];
  readonly dnsSearch: readonly string[];
  /** Bytes; absent = from the route to the endpoints. */
  readonly mtu?: number;
  /** `auto`, `off`, a number or a name of rt_tables; absent = `auto`. */
  readonly table?: string;
  /** Commands for bash, `%i` not yet replaced. */
  readonly preUp: readonly string[];
  readonly postUp: readonly string[];
  readonly preDown: readonly string[];
  readonly postDown: readonly string[];
  readonly saveConfig?: boolean;
}

/** An address with the length of its network; unlike in a Prefix, the host bits count. */
export interface InterfaceAddress {
  readonly address: Address;
  readonly length: number;
}

export interface PeerSection {
  readonly publicKey: PublicKey;
  /** From a `# friendly_name = NAME` comment, the convention of the Prometheus exporters. */
  readonly name?: string;
  readonly presharedKey?: PresharedKey;
  readonly endpoint?: HostPort;
  readonly allowedIps: readonly AllowedIpChange[];
  /** An entry began with `+` or `-`: the list changes what the peer has instead of replacing it. */
  readonly isIncremental?: true;
  /** Seconds; 0 = off. */
  readonly persistentKeepalive?: number;
}

export interface HostPort {
  /** An IPv4 or IPv6 address (without brackets, perhaps with a zone) or a name. */
  readonly host: string;
  readonly port: number;
}

export interface ConfProblem {
  /** Counted from 1. */
  readonly line: number;
  readonly message: string;
  readonly hint?: string;
}

export interface WgConfCheck {
  /** Undefined when there are problems. */
  readonly conf: WgConf | undefined;
  readonly problems: readonly ConfProblem[];
  readonly warnings: readonly ConfProblem[];
}

const FRIENDLY_NAME = /^\s*#\s*friendly_name\s*=\s*(.*?)\s*$/i;

/** Reads a whole file and reports everything that is wrong with it. Problems never quote secrets. */
export function checkWgConf(text: string): WgConfCheck {
  const problems: ConfProblem[] = [];
  const warnings: ConfProblem[] = [];
  const device = emptyInterface();
  const peers: PeerDraft[] = [];
  let section: 'none' | 'interface' | 'peer' | 'unknown' = 'none';
  let pendingName: string | undefined;
  const problem = (line: number, message: string, hint?: string) => {
    problems.push(hint === undefined ? { line, message } : { line, message, hint });
  };

  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    const peer = section === 'peer' ? peers.at(-1) : undefined;
    const friendly = FRIENDLY_NAME.exec(raw)?.[1];
    if (friendly !== undefined && friendly !== '') {
      // Both habits exist: the comment right below [Peer], and the one above it.
      if (peer && peer.isUntouched && peer.name === undefined) peer.name = friendly;
      else pendingName = friendly;
      continue;
    }
    const stripped = raw.replace(/#.*/s, '').trim();
    if (stripped === '') continue;
    if (stripped.startsWith('[')) {
      const name = stripped.replace(/\s/g, '').toLowerCase();
      if (name === '[interface]') section = 'interface';
      else if (name === '[peer]') {
        section = 'peer';
        peers.push(emptyPeer(line, pendingName));
        pendingName = undefined;
      } else {
        section = 'unknown';
        const near = nearest(name.replace(/[[\]]/g, ''), ['Interface', 'Peer']);
        problem(line, `unknown section ${quote(stripped)}`, near && `did you mean [${near}]?`);
      }
      continue;
    }
    const equals = stripped.indexOf('=');
    if (equals < 0) {
      problem(line, 'expected "Key = Value" or a [Section]');
      continue;
    }
    if (section === 'unknown') continue;
    const name = stripped.slice(0, equals).replace(/\s/g, '');
    const key = KEYS.get(name.toLowerCase());
    if (!key) {
      const near = nearest(
        name,
        Array.from(KEYS.values(), (one) => one.name),
      );
      problem(
        line,
        name.length > 32 ? 'unknown key' : `unknown key ${quote(name)}`,
        near && `did you mean ${near}?`,
      );
      continue;
    }
    if (section === 'none') {
      problem(line, `${key.name} stands before any section`, `put [${key.section}] above it`);
      continue;
    }
    const found = peer ? 'Peer' : 'Interface';
    if (key.section !== found) {
      problem(line, `${key.name} does not belong into [${found}]`, `move it to [${key.section}]`);
      continue;
    }
    if (peer) peer.isUntouched = false;
    const draft: InterfaceDraft | PeerDraft = peer ?? device;
    if (key.isSingle && draft.seen.has(key.name))
      warnings.push({ line, message: `${key.name} occurs again; the last one counts` });
    draft.seen.add(key.name);
    const outcome = key.read(draft, stripped.slice(equals + 1).trim());
    if (outcome.problem !== undefined) problem(line, `${key.name} ${outcome.problem}`);
    if (outcome.warning !== undefined) warnings.push({ line, message: `${key.name} ${outcome.warning}` });
  }

  const last = peers.at(-1);
  if (pendingName !== undefined && last && last.name === undefined) last.name = pendingName;
  const lineOfKey = new Map<string, number>();
  for (const { publicKey, line, seen } of peers) {
    if (!publicKey) {
      if (!seen.has('PublicKey')) problem(line, '[Peer] lacks a PublicKey');
      continue;
    }
    const before = lineOfKey.get(publicKey.hex);
    if (before !== undefined)
      warnings.push({
        line,
        message: `the [Peer] of line ${before} occurs again; its AllowedIPs are replaced`,
      });
    lineOfKey.set(publicKey.hex, line);
  }
  problems.sort((a, b) => a.line - b.line);
  warnings.sort((a, b) => a.line - b.line);
  if (problems.length > 0) return { conf: undefined, problems, warnings };
  return { conf: { device: device.section, peers: peers.map(finishPeer) }, problems, warnings };
}

/** Parses a file or throws its first problem as `wg0.conf:7: ...`. Warnings come as text with their place. */
export function parseWgConf(
  text: string,
  fileName: string,
): { readonly conf: WgConf; readonly warnings: readonly string[] } {
  const { conf, problems, warnings } = checkWgConf(text);
  const [first] = problems;
  if (!conf || first) throw configError(`${fileName}:${first?.line}`, first?.message ?? '', first?.hint);
  return { conf, warnings: warnings.map(({ line, message }) => `${fileName}:${line}: ${message}`) };
}

const INTERFACE_NAME = /^[a-zA-Z0-9_=+.-]{1,15}$/;

/** What wg-quick and the kernel both take for the name of an interface. */
export function isInterfaceName(name: string): boolean {
  return INTERFACE_NAME.test(name) && name !== '.' && name !== '..';
}

/** `wg0` for `/etc/wireguard/wg0.conf`. Throws a usage error for any other kind of name. */
export function interfaceNameOf(path: string): string {
  const name = /(?:^|\/)([^/]*)\.conf$/.exec(path)?.[1];
  if (name === undefined || !isInterfaceName(name))
    throw new AppError('usage', `${path}: the file must be named after its interface`, {
      hint: 'use NAME.conf, with a NAME of 1-15 letters, digits and _=+.-',
    });
  return name;
}

function finishPeer(draft: PeerDraft): PeerSection {
  const { line: _line, seen: _seen, isUntouched: _isUntouched, publicKey, ...rest } = draft;
  // checkWgConf has refused files with a peer that lacks its key.
  return { ...rest, publicKey: publicKey as PublicKey };
}

function quote(text: string): string {
  return JSON.stringify(text);
}
