/** The `get` half of the UAPI: the state of a device as text, in slices, and back. */
import {
  type Prefix,
  type SocketAddress,
  formatPrefix,
  parsePrefix,
  parseSocketAddress,
} from '../core/ip.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../noise/keys.ts';
import { parseHex } from '../core/bytes.ts';
import { formatSocketAddress } from '../core/ip.ts';
import { AppError } from '../core/errors.ts';
import type { DeviceState, PeerState } from './config.ts';
import type { Endpoint } from './endpoint.ts';
import type { Zones } from './uapi-change.ts';

const SLICE_BYTES = 64 * 1024;
/** More than the lines of one peer without its allowed IPs take. */
const PEER_ROOM_BYTES = 2048;
const HEX_DIGITS = Buffer.from('0123456789abcdef', 'latin1');

/**
 * The answer to `get=1` without its errno line, in slices of at most 64 KiB, in wireguard-go's order. The slices hold
 * keys: fill them with zeros once they are sent.
 */
export function* printState(state: DeviceState, zones: Zones): Generator<Buffer, void> {
  const out = new Slices();
  if (state.privateKey) out.key('private_key', state.privateKey.bytes);
  if (state.listenPort !== 0) out.line(`listen_port=${state.listenPort}`);
  if (state.fwmark !== 0) out.line(`fwmark=${state.fwmark}`);
  for (const peer of state.peers) {
    out.key('public_key', peer.publicKey.bytes);
    out.key('preshared_key', peer.presharedKey.bytes);
    out.line('protocol_version=1');
    if (peer.endpoint) out.line(`endpoint=${printEndpoint(peer.endpoint, zones)}`);
    out.line(`last_handshake_time_sec=${Math.floor(peer.lastHandshakeMs / 1000)}`);
    out.line(`last_handshake_time_nsec=${Math.floor(peer.lastHandshakeMs % 1000) * 1_000_000}`);
    out.line(`tx_bytes=${peer.txBytes}`);
    out.line(`rx_bytes=${peer.rxBytes}`);
    out.line(`persistent_keepalive_interval=${peer.persistentKeepalive}`);
    if (out.isFull) yield out.take();
    for (const prefix of peer.allowedIps) {
      out.line(`allowed_ip=${formatPrefix(prefix)}`);
      if (out.isFull) yield out.take();
    }
  }
  const rest = out.take();
  if (rest.length > 0) yield rest;
}

/** `[fe80::1%eth0]:51820`; the index where the interface has no name any more. */
export function printEndpoint(endpoint: Endpoint, zones: Zones): string {
  const { address, port, scope } = endpoint;
  if (address.length === 4 || scope === 0) return formatSocketAddress({ address, port });
  return formatSocketAddress({ address, port, zone: zones.name(scope) ?? String(scope) });
}

/** Appends lines to a buffer that the reader takes away when it is nearly full. */
class Slices {
  #buffer = Buffer.allocUnsafeSlow(SLICE_BYTES);
  #size = 0;

  /** True when the lines of one more peer might not fit. */
  get isFull(): boolean {
    return this.#size > SLICE_BYTES - PEER_ROOM_BYTES;
  }

  line(text: string): void {
    this.#size += this.#buffer.write(text, this.#size);
    this.#buffer[this.#size++] = 0x0a;
  }

  /** Writes the digits straight into the buffer: a string could not be wiped. */
  key(name: string, bytes: Uint8Array): void {
    this.#size += this.#buffer.write(`${name}=`, this.#size);
    for (const byte of bytes) {
      this.#buffer[this.#size++] = HEX_DIGITS[byte >> 4] as number;
      this.#buffer[this.#size++] = HEX_DIGITS[byte & 15] as number;
    }
    this.#buffer[this.#size++] = 0x0a;
  }

  take(): Buffer {
    const slice = this.#buffer.subarray(0, this.#size);
    this.#buffer = Buffer.allocUnsafeSlow(SLICE_BYTES);
    this.#size = 0;
    return slice;
  }
}

/** What a client learns of a device. The zone of an endpoint stays a name: it may belong to another namespace. */
export interface UapiDevice {
  readonly privateKey: PrivateKey | undefined;
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: readonly UapiPeer[];
}

export interface UapiPeer extends Omit<PeerState, 'endpoint'> {
  readonly endpoint: SocketAddress | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Parses an answer to `get=1` up to its errno line. Keys it does not know are skipped, as `wg` does. */
export function parseState(answer: string): { readonly device: UapiDevice; readonly errno: number } {
  const device: Mutable<UapiDevice> = { privateKey: undefined, listenPort: 0, fwmark: 0, peers: [] };
  const peers: (Mutable<UapiPeer> & { allowedIps: Prefix[] })[] = [];
  let peer: (typeof peers)[number] | undefined;
  for (const line of answer.split('\n')) {
    const equals = line.indexOf('=');
    if (equals < 0) throw malformed(line);
    const key = line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (key === 'errno') return { device: { ...device, peers }, errno: integer(key, value) };
    if (key === 'public_key') {
      peer = emptyPeer(new PublicKey(keyBytes(key, value)));
      peers.push(peer);
      continue;
    }
    if (!peer) {
      if (key === 'private_key') device.privateKey = new PrivateKey(keyBytes(key, value));
      else if (key === 'listen_port') device.listenPort = integer(key, value);
      else if (key === 'fwmark') device.fwmark = integer(key, value);
      continue;
    }
    switch (key) {
      case 'preshared_key':
        peer.presharedKey = new PresharedKey(keyBytes(key, value));
        break;
      case 'endpoint':
        peer.endpoint = parseSocketAddress(value);
        if (!peer.endpoint) throw malformed(line);
        break;
      case 'last_handshake_time_sec':
        peer.lastHandshakeMs += 1000 * integer(key, value);
        break;
      case 'last_handshake_time_nsec':
        peer.lastHandshakeMs += integer(key, value) / 1_000_000;
        break;
      case 'tx_bytes':
        peer.txBytes = BigInt(digits(key, value));
        break;
      case 'rx_bytes':
        peer.rxBytes = BigInt(digits(key, value));
        break;
      case 'persistent_keepalive_interval':
        peer.persistentKeepalive = integer(key, value);
        break;
      case 'allowed_ip': {
        const prefix = parsePrefix(value);
        if (!prefix) throw malformed(line);
        peer.allowedIps.push(prefix);
        break;
      }
      default:
    }
  }
  throw new AppError('protocol', 'the UAPI answer ends without an errno line');
}

function emptyPeer(publicKey: PublicKey): Mutable<UapiPeer> & { allowedIps: Prefix[] } {
  return {
    publicKey,
    presharedKey: PresharedKey.none,
    endpoint: undefined,
    lastHandshakeMs: 0,
    txBytes: 0n,
    rxBytes: 0n,
    persistentKeepalive: 0,
    allowedIps: [],
  };
}

function malformed(line: string): AppError {
  // Only the key: the value may be a secret.
  return new AppError(
    'protocol',
    `the UAPI answer has a malformed line ${JSON.stringify(line.split('=')[0])}`,
  );
}

function digits(key: string, value: string): string {
  if (!/^-?\d{1,20}$/.test(value)) throw malformed(key);
  return value;
}

function integer(key: string, value: string): number {
  return Number(digits(key, value));
}

function keyBytes(key: string, value: string): Uint8Array {
  const bytes = parseHex(value, 32);
  if (!bytes) throw malformed(key);
  return bytes;
}
