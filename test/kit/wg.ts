/** The tool `wg` of wireguard-tools as a typed client of one interface. It speaks UAPI to the daemon's socket. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Base64, as all keys here. */
export function newKeyPair(): KeyPair {
  const privateKey = wg(['genkey']).trim();
  return { privateKey, publicKey: wg(['pubkey'], privateKey).trim() };
}

export function newPresharedKey(): string {
  return wg(['genpsk']).trim();
}

/** The interfaces of this machine that `wg` knows of, in whatever network namespace. */
export function listInterfaces(): string[] {
  return wg(['show', 'interfaces']).split(/\s+/).filter(Boolean);
}

export interface PeerSettings {
  readonly publicKey: string;
  readonly presharedKey?: string | undefined;
  /** `192.0.2.1:51820`, `[2001:db8::1]:51820`. */
  readonly endpoint?: string | undefined;
  readonly allowedIps?: readonly string[];
  readonly persistentKeepalive?: number | undefined;
}

export interface Settings {
  readonly privateKey?: string | undefined;
  readonly listenPort?: number | undefined;
  readonly fwmark?: number | undefined;
  readonly peers?: readonly PeerSettings[];
}

/** The configuration file that `wg setconf` reads. */
export function configText(settings: Settings): string {
  const lines = ['[Interface]'];
  const add = (key: string, value: string | number | undefined): void => {
    if (value !== undefined) lines.push(`${key} = ${value}`);
  };
  add('PrivateKey', settings.privateKey);
  add('ListenPort', settings.listenPort);
  add('FwMark', settings.fwmark);
  for (const peer of settings.peers ?? []) {
    lines.push('[Peer]');
    add('PublicKey', peer.publicKey);
    add('PresharedKey', peer.presharedKey);
    add('Endpoint', peer.endpoint);
    add('PersistentKeepalive', peer.persistentKeepalive);
    for (const prefix of peer.allowedIps ?? []) add('AllowedIPs', prefix);
  }
  return `${lines.join('\n')}\n`;
}

export interface PeerState {
  readonly publicKey: string;
  readonly presharedKey: string | undefined;
  readonly endpoint: string | undefined;
  readonly allowedIps: readonly string[];
  /** Unix seconds; 0 when there was no handshake. */
  readonly latestHandshake: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Seconds; 0 when off. */
  readonly persistentKeepalive: number;
}

export interface InterfaceState {
  readonly privateKey: string | undefined;
  readonly publicKey: string | undefined;
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: readonly PeerState[];
}

export interface WgResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Wg {
  readonly link: string;

  constructor(link: string) {
    this.link = link;
  }

  /** `wg set LINK WORDS`. A secret stands for itself in `words`, after `private-key` or `preshared-key`. */
  set(words: string): void {
    withFiles((fileOf) => {
      const args = words.split(/\s+/);
      const passed = args.map((word, i) => (isSecret(word, args[i - 1]) ? fileOf(word) : word));
      wg(['set', this.link, ...passed]);
    });
  }

  setconf(config: Settings | string): void {
    this.#feed('setconf', config);
  }

  addconf(config: Settings | string): void {
    this.#feed('addconf', config);
  }

  syncconf(config: Settings | string): void {
    this.#feed('syncconf', config);
  }

  showconf(): string {
    return wg(['showconf', this.link]);
  }

  /** `wg show LINK FIELD`, as printed. */
  show(field: string): string {
    return wg(['show', this.link, field]);
  }

  /** `wg COMMAND LINK WORDS`, where failing is a result and not an error. */
  try(command: string, words = ''): WgResult {
    return tryWg([command, this.link, ...words.split(/\s+/).filter(Boolean)]);
  }

  state(): InterfaceState {
    const [head = '', ...rows] = this.show('dump').trimEnd().split('\n');
    const [privateKey = '', publicKey = '', listenPort, fwmark] = head.split('\t');
    return {
      privateKey: present(privateKey),
      publicKey: present(publicKey),
      listenPort: Number(listenPort),
      fwmark: fwmark === 'off' ? 0 : Number(fwmark),
      peers: rows.map(parsePeer),
    };
  }

  /** The state of the only peer, or of the one named. */
  peer(publicKey?: string): PeerState {
    const { peers } = this.state();
    const found = publicKey === undefined ? peers[0] : peers.find((peer) => peer.publicKey === publicKey);
    if (found === undefined) throw new Error(`${this.link} has no peer ${publicKey ?? ''}`);
    return found;
  }

  #feed(command: string, config: Settings | string): void {
    const text = typeof config === 'string' ? config : configText(config);
    withFiles((fileOf) => wg([command, this.link, fileOf(text)]));
  }
}

/** The other thing that can stand there is a file, such as /dev/null. */
function isSecret(word: string, after: string | undefined): boolean {
  return (after === 'private-key' || after === 'preshared-key') && /^[A-Za-z0-9+/]{43}=$/.test(word);
}

/** `wg` reads secrets from files only, and /dev/stdin cannot be opened when it is a socket, as under Node. */
function withFiles<T>(use: (fileOf: (text: string) => string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-wg-'));
  let count = 0;
  try {
    return use((text) => {
      const path = join(folder, `${count++}`);
      writeFileSync(path, text, { mode: 0o600 });
      return path;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function parsePeer(row: string): PeerState {
  const [publicKey = '', psk = '', endpoint = '', allowedIps = '', handshake, rx, tx, keepalive] =
    row.split('\t');
  return {
    publicKey,
    presharedKey: present(psk),
    endpoint: present(endpoint),
    allowedIps: present(allowedIps)?.split(',') ?? [],
    latestHandshake: Number(handshake),
    rxBytes: Number(rx),
    txBytes: Number(tx),
    persistentKeepalive: keepalive === 'off' ? 0 : Number(keepalive),
  };
}

function present(text: string): string | undefined {
  return text === '(none)' ? undefined : text;
}

function tryWg(args: readonly string[], input?: string): WgResult {
  const result = spawnSync('wg', args, {
    encoding: 'utf8',
    input,
    timeout: 30_000,
    maxBuffer: 64 << 20,
    env: { ...process.env, WG_HIDE_KEYS: 'never', WG_COLOR_MODE: 'never' },
  });
  if (result.error) throw result.error;
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

function wg(args: readonly string[], input?: string): string {
  const { status, stdout, stderr } = tryWg(args, input);
  if (status !== 0) throw new Error(`wg ${args.join(' ')} exited with ${status}: ${stderr.trim()}`);
  return stdout;
}
