/** The configuration files of `wg` (wg(8), CONFIGURATION FILE FORMAT) and `wg-quick` (wg-quick(8)), as typed data. */
import { AppError, configError, nearest, quote } from '../core/errors.ts';
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
  const reader = new ConfReader();
  for (const [index, line] of text.split('\n').entries()) reader.read(index + 1, line);
  return reader.finish();
}

class ConfReader {
  readonly #problems: ConfProblem[] = [];
  readonly #warnings: ConfProblem[] = [];
  readonly #device = emptyInterface();
  readonly #peers: PeerDraft[] = [];
  /** The section that the next key belongs to. */
  #section: InterfaceDraft | PeerDraft | 'none' | 'unknown' = 'none';
  /** A friendly_name whose peer has not come yet. */
  #pendingName: string | undefined;

  read(line: number, raw: string): void {
    const name = FRIENDLY_NAME.exec(raw)?.[1];
    if (name !== undefined && name !== '') {
      this.#readName(name);
      return;
    }
    const stripped = raw.replace(/#.*/s, '').trim();
    if (stripped === '') return;
    if (stripped.startsWith('[')) this.#readSection(line, stripped);
    else this.#readKey(line, stripped);
  }

  finish(): WgConfCheck {
    const last = this.#peers.at(-1);
    if (this.#pendingName !== undefined && last && last.name === undefined) last.name = this.#pendingName;
    this.#checkPeers();
    const byLine = (a: ConfProblem, b: ConfProblem) => a.line - b.line;
    const problems = this.#problems.sort(byLine);
    const warnings = this.#warnings.sort(byLine);
    if (problems.length > 0) return { conf: undefined, problems, warnings };
    return { conf: { device: this.#device.section, peers: this.#peers.map(finishPeer) }, problems, warnings };
  }

  /** Both habits exist: the comment right below [Peer], and the one above it. */
  #readName(name: string): void {
    const peer = this.#peers.at(-1);
    if (peer && peer === this.#section && peer.isUntouched && peer.name === undefined) peer.name = name;
    else this.#pendingName = name;
  }

  #readSection(line: number, text: string): void {
    const name = text.replace(/\s/g, '').toLowerCase();
    if (name === '[interface]') {
      this.#section = this.#device;
    } else if (name === '[peer]') {
      const peer = emptyPeer(line, this.#pendingName);
      this.#pendingName = undefined;
      this.#peers.push(peer);
      this.#section = peer;
    } else {
      this.#section = 'unknown';
      const near = nearest(name.replace(/[[\]]/g, ''), ['Interface', 'Peer']);
      this.#problem(line, `unknown section ${quote(text)}`, near && `did you mean [${near}]?`);
    }
  }

  #readKey(line: number, text: string): void {
    const equals = text.indexOf('=');
    if (equals < 0) {
      this.#problem(line, 'expected "Key = Value" or a [Section]');
      return;
    }
    const section = this.#section;
    if (section === 'unknown') return;
    const name = text.slice(0, equals).replace(/\s/g, '');
    const key = KEYS.get(name.toLowerCase());
    if (!key) {
      const near = nearest(
        name,
        Array.from(KEYS.values(), (one) => one.name),
      );
      // A longer name may be a secret that lost its key; it ends in the "=" of its base64.
      const problem = name.length > 32 ? 'unknown key' : `unknown key ${quote(name)}`;
      this.#problem(line, problem, near && `did you mean ${near}?`);
      return;
    }
    if (section === 'none') {
      this.#problem(line, `${key.name} stands before any section`, `put [${key.section}] above it`);
      return;
    }
    if (key.section !== section.kind) {
      this.#problem(
        line,
        `${key.name} does not belong into [${section.kind}]`,
        `move it to [${key.section}]`,
      );
      return;
    }
    if (key.isSingle && section.seen.has(key.name))
      this.#warnings.push({ line, message: `${key.name} occurs again; the last one counts` });
    section.seen.add(key.name);
    if (section.kind === 'Peer') section.isUntouched = false;
    const { problem, warning } = key.read(section, text.slice(equals + 1).trim());
    if (problem !== undefined) this.#problem(line, `${key.name} ${problem}`);
    if (warning !== undefined) this.#warnings.push({ line, message: `${key.name} ${warning}` });
  }

  #checkPeers(): void {
    const lines = new Map<string, number>();
    for (const { publicKey, line, seen } of this.#peers) {
      if (!publicKey) {
        // A key that is there but wrong was reported in its own line.
        if (!seen.has('PublicKey')) this.#problem(line, '[Peer] lacks a PublicKey');
        continue;
      }
      const before = lines.get(publicKey.hex);
      if (before !== undefined)
        this.#warnings.push({
          line,
          message: `the [Peer] of line ${before} occurs again; its AllowedIPs are replaced`,
        });
      lines.set(publicKey.hex, line);
    }
  }

  #problem(line: number, message: string, hint?: string): void {
    this.#problems.push(hint === undefined ? { line, message } : { line, message, hint });
  }
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
  const { kind: _kind, line: _line, seen: _seen, isUntouched: _isUntouched, publicKey, ...rest } = draft;
  // ConfReader has refused files with a peer that lacks its key.
  return { ...rest, publicKey: publicKey as PublicKey };
}
