/** The `set` half of the UAPI: `key=value` lines to a DeviceChange, and back. Nothing is applied here. */
import { toHex } from '../core/bytes.ts';
import { quote } from '../core/errors.ts';
import { formatPrefix, parsePrefix, parseSocketAddress } from '../core/ip.ts';
import { KEY_SIZE, PresharedKey, PrivateKey, PublicKey } from '../noise/keys.ts';
import type { AllowedIpChange, DeviceChange, PeerChange } from './config.ts';
import type { Endpoint } from './endpoint.ts';

/** Names of network interfaces and their indices, for link-local endpoints (`[fe80::1%eth0]:51820`). */
export interface Zones {
  /** Undefined when there is no such interface. */
  index(name: string): number | undefined;
  name(index: number): string | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface PeerDraft extends Mutable<Omit<PeerChange, 'allowedIps'>> {
  allowedIps: AllowedIpChange[];
}

/** Collects the lines of one `set`. Every method answers with the problem of a line, or undefined when it is good. */
export class ChangeBuilder {
  readonly #zones: Zones;
  readonly #device: Mutable<Omit<DeviceChange, 'peers'>> = {};
  readonly #peers: PeerDraft[] = [];
  #peer: PeerDraft | undefined;

  constructor(zones: Zones) {
    this.#zones = zones;
  }

  /** `value` is a view that the caller may overwrite afterwards. */
  line(key: string, value: Uint8Array): string | undefined {
    if (key === 'public_key') return this.#openPeer(value);
    return this.#peer === undefined ? this.#deviceLine(key, value) : this.#peerLine(this.#peer, key, value);
  }

  finish(): DeviceChange {
    return { ...this.#device, peers: this.#peers };
  }

  /** Wipes the secrets of a request that will not be applied. */
  discard(): void {
    this.#device.privateKey?.zero();
    for (const peer of this.#peers) peer.presharedKey?.zero();
  }

  #openPeer(value: Uint8Array): string | undefined {
    const bytes = parseKey(value);
    if (!bytes) return 'public_key must be 64 hexadecimal digits';
    this.#peer = { publicKey: new PublicKey(bytes), allowedIps: [] };
    this.#peers.push(this.#peer);
    return undefined;
  }

  #deviceLine(key: string, value: Uint8Array): string | undefined {
    const device = this.#device;
    switch (key) {
      case 'private_key': {
        const bytes = parseKey(value);
        if (!bytes) return 'private_key must be 64 hexadecimal digits';
        device.privateKey?.zero();
        device.privateKey = new PrivateKey(bytes);
        bytes.fill(0);
        return undefined;
      }
      case 'listen_port': {
        const port = parseUint(value, 0xffff);
        if (port === undefined) return `listen_port ${quoted(value)}: expected 0-65535`;
        device.listenPort = port;
        return undefined;
      }
      case 'fwmark': {
        const mark = parseUint(value, 0xffff_ffff);
        if (mark === undefined) return `fwmark ${quoted(value)}: expected a decimal number below 2^32`;
        device.fwmark = mark;
        return undefined;
      }
      case 'replace_peers':
        if (!isTrue(value)) return onlyTrue(key, value);
        device.replacePeers = true;
        return undefined;
      default:
        return `unknown device key ${quote(key)}`;
    }
  }

  #peerLine(peer: PeerDraft, key: string, value: Uint8Array): string | undefined {
    switch (key) {
      case 'update_only':
        if (!isTrue(value)) return onlyTrue(key, value);
        peer.updateOnly = true;
        return undefined;
      case 'remove':
        if (!isTrue(value)) return onlyTrue(key, value);
        peer.remove = true;
        return undefined;
      case 'preshared_key': {
        const bytes = parseKey(value);
        if (!bytes) return 'preshared_key must be 64 hexadecimal digits';
        peer.presharedKey?.zero();
        peer.presharedKey = new PresharedKey(bytes);
        bytes.fill(0);
        return undefined;
      }
      case 'endpoint': {
        const endpoint = this.#parseEndpoint(text(value));
        if (!endpoint) return `endpoint ${quoted(value)}: expected IP:PORT or [IPv6]:PORT, no names`;
        peer.endpoint = endpoint;
        return undefined;
      }
      case 'persistent_keepalive_interval': {
        const seconds = parseUint(value, 0xffff);
        if (seconds === undefined)
          return `persistent_keepalive_interval ${quoted(value)}: expected 0-65535 seconds`;
        peer.persistentKeepalive = seconds;
        return undefined;
      }
      case 'replace_allowed_ips':
        if (!isTrue(value)) return onlyTrue(key, value);
        peer.replaceAllowedIps = true;
        // Lines take effect in order: what was added before this line goes with the rest.
        peer.allowedIps.length = 0;
        return undefined;
      case 'allowed_ip': {
        const remove = value[0] === 0x2d;
        const prefix = parsePrefix(text(remove ? value.subarray(1) : value));
        if (!prefix) return `allowed_ip ${quoted(value)}: expected ADDRESS/LENGTH`;
        peer.allowedIps.push({ prefix, remove });
        return undefined;
      }
      case 'protocol_version':
        return text(value) === '1' ? undefined : `protocol_version ${quoted(value)}: only 1 is known`;
      default:
        return `unknown peer key ${quote(key)}`;
    }
  }

  #parseEndpoint(value: string): Endpoint | undefined {
    const parsed = parseSocketAddress(value);
    if (!parsed) return undefined;
    let scope: number | undefined = 0;
    if (parsed.zone !== undefined)
      scope = /^\d{1,9}$/.test(parsed.zone) ? Number(parsed.zone) : this.#zones.index(parsed.zone);
    return scope === undefined
      ? undefined
      : { address: parsed.address, port: parsed.port, scope, carrier: 0 };
  }
}

/** The lines of a `set` request that asks for `change`, operation line and closing blank line included. */
export function printChange(change: DeviceChange, printEndpoint: (endpoint: Endpoint) => string): string {
  const lines = ['set=1'];
  if (change.privateKey) lines.push(`private_key=${change.privateKey.exposeHex()}`);
  if (change.listenPort !== undefined) lines.push(`listen_port=${change.listenPort}`);
  if (change.fwmark !== undefined) lines.push(`fwmark=${change.fwmark}`);
  if (change.replacePeers === true) lines.push('replace_peers=true');
  for (const peer of change.peers) {
    lines.push(`public_key=${toHex(peer.publicKey.bytes)}`);
    if (peer.updateOnly === true) lines.push('update_only=true');
    if (peer.remove === true) lines.push('remove=true');
    if (peer.presharedKey) lines.push(`preshared_key=${peer.presharedKey.exposeHex()}`);
    if (peer.endpoint) lines.push(`endpoint=${printEndpoint(peer.endpoint)}`);
    if (peer.persistentKeepalive !== undefined)
      lines.push(`persistent_keepalive_interval=${peer.persistentKeepalive}`);
    if (peer.replaceAllowedIps === true) lines.push('replace_allowed_ips=true');
    for (const { prefix, remove } of peer.allowedIps ?? [])
      lines.push(`allowed_ip=${remove ? '-' : ''}${formatPrefix(prefix)}`);
  }
  lines.push('', '');
  return lines.join('\n');
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function quoted(bytes: Uint8Array): string {
  return quote(text(bytes));
}

function isTrue(value: Uint8Array): boolean {
  return text(value) === 'true';
}

function onlyTrue(key: string, value: Uint8Array): string {
  return `${key} ${quoted(value)}: only "true" is known`;
}

function parseUint(value: Uint8Array, max: number): number | undefined {
  const digits = text(value);
  if (!/^\d{1,20}$/.test(digits)) return undefined;
  const number = Number(digits);
  return number <= max ? number : undefined;
}

/** 32 bytes from 64 hexadecimal digits, without ever making a string, which could not be wiped. */
function parseKey(value: Uint8Array): Uint8Array | undefined {
  if (value.length !== 2 * KEY_SIZE) return undefined;
  const key = new Uint8Array(KEY_SIZE);
  let bad = 0;
  for (let i = 0; i < KEY_SIZE; i++) {
    const high = nibble(value[2 * i] as number);
    const low = nibble(value[2 * i + 1] as number);
    bad |= high | low;
    key[i] = (high << 4) | (low & 15);
  }
  if (bad >= 0) return key;
  key.fill(0);
  return undefined;
}

/** -1 for anything but a hexadecimal digit. */
function nibble(character: number): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30;
  const lower = character | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
