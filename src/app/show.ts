/** What `wg show` prints about a device, byte for byte, and the same as JSON. */
import type { Prefix } from '../core/ip.ts';
import type { PrivateKey, PublicKey } from '../noise/keys.ts';
import type { UapiDevice, UapiPeer } from '../tunnel/uapi-reply.ts';
import { formatFwmark } from './wg-conf-print.ts';
import {
  ageColour,
  formatAgo,
  formatAsGlibc,
  formatBytes,
  formatDuration,
  formatEndpointAsGlibc,
  type Palette,
  palette,
} from './show-values.ts';

export interface ShownDevice extends UapiDevice {
  readonly name: string;
  readonly publicKey: PublicKey | undefined;
}

export interface ShowStyle {
  readonly isColoured: boolean;
  /** Green, yellow or red: how old a handshake is. Else as wg has it. */
  readonly coloursAge?: boolean;
  /** WG_HIDE_KEYS=never. */
  readonly showsKeys: boolean;
  /** Seconds since the Unix epoch. */
  readonly nowSeconds: number;
}

/** The human form. */
export function formatDevice(device: ShownDevice, style: ShowStyle): string {
  const c = palette(style.isColoured);
  const lines: string[] = [];
  const attribute = (name: string, value: string) => {
    lines.push(`  ${c.bold}${name}${c.reset}: ${value}`);
  };
  const heading = (kind: string, colour: string, name: string) => {
    lines.push(`${colour}${c.bold}${kind}${c.reset}: ${colour}${name}${c.reset}`);
  };
  const secret = (key: { exposeBase64(): string }) => (style.showsKeys ? key.exposeBase64() : '(hidden)');

  heading('interface', c.green, device.name);
  if (device.publicKey) attribute('public key', device.publicKey.base64);
  if (device.privateKey) attribute('private key', secret(device.privateKey));
  if (device.listenPort !== 0) attribute('listening port', String(device.listenPort));
  if (device.fwmark !== 0) attribute('fwmark', formatFwmark(device.fwmark));
  for (const peer of latestFirst(device.peers)) {
    lines.push('');
    heading('peer', c.yellow, peer.publicKey.base64);
    if (!peer.presharedKey.isZero) attribute('preshared key', secret(peer.presharedKey));
    if (peer.endpoint) attribute('endpoint', formatEndpointAsGlibc(peer.endpoint));
    const slash = `${c.cyan}/${c.reset}`;
    const prefixes = peer.allowedIps.map(
      ({ address, length }) => `${formatAsGlibc(address)}${slash}${length}`,
    );
    attribute('allowed ips', prefixes.length === 0 ? '(none)' : prefixes.join(', '));
    const handshakeSeconds = secondsOf(peer);
    if (handshakeSeconds !== 0) attribute('latest handshake', formatHandshake(handshakeSeconds, style, c));
    if (peer.rxBytes !== 0n || peer.txBytes !== 0n)
      attribute('transfer', `${formatBytes(peer.rxBytes, c)} received, ${formatBytes(peer.txBytes, c)} sent`);
    if (peer.persistentKeepalive !== 0)
      attribute('persistent keepalive', `every ${formatDuration(peer.persistentKeepalive, c)}`);
  }
  return `${c.reset}${lines.join('\n')}\n`;
}

function formatHandshake(
  thenSeconds: number,
  { coloursAge = false, nowSeconds }: ShowStyle,
  c: Palette,
): string {
  if (!coloursAge || nowSeconds < thenSeconds) return formatAgo(thenSeconds, nowSeconds, c);
  const colour = ageColour(nowSeconds - thenSeconds, c);
  return `${colour}${formatAgo(thenSeconds, nowSeconds, palette(false))}${c.reset}`;
}

/** The single-value forms of `wg show INTERFACE FIELD`. */
export const SHOW_FIELDS = [
  'public-key',
  'private-key',
  'listen-port',
  'fwmark',
  'peers',
  'preshared-keys',
  'endpoints',
  'allowed-ips',
  'latest-handshakes',
  'transfer',
  'persistent-keepalive',
  'dump',
] as const;

export type ShowField = (typeof SHOW_FIELDS)[number];

/** Tab-separated lines for scripts. `withName`: each line begins with the interface, as for `wg show all FIELD`. */
export function formatField(device: ShownDevice, field: ShowField, withName: boolean): string {
  const rows: string[][] = [];
  const perPeer = (values: (peer: UapiPeer) => string[]) => {
    for (const peer of device.peers) rows.push([peer.publicKey.base64, ...values(peer)]);
  };
  switch (field) {
    case 'public-key':
      rows.push([orNone(device.publicKey?.base64)]);
      break;
    case 'private-key':
      rows.push([orNone(device.privateKey?.exposeBase64())]);
      break;
    case 'listen-port':
      rows.push([String(device.listenPort)]);
      break;
    case 'fwmark':
      rows.push([formatFwmark(device.fwmark)]);
      break;
    case 'peers':
      perPeer(() => []);
      break;
    case 'preshared-keys':
      perPeer((peer) => [presharedKey(peer)]);
      break;
    case 'endpoints':
      perPeer((peer) => [endpoint(peer)]);
      break;
    case 'allowed-ips':
      perPeer((peer) => [allowedIps(peer, ' ')]);
      break;
    case 'latest-handshakes':
      perPeer((peer) => [String(secondsOf(peer))]);
      break;
    case 'transfer':
      perPeer((peer) => [String(peer.rxBytes), String(peer.txBytes)]);
      break;
    case 'persistent-keepalive':
      perPeer((peer) => [keepalive(peer)]);
      break;
    case 'dump':
      rows.push([
        orNone(device.privateKey?.exposeBase64()),
        orNone(device.publicKey?.base64),
        String(device.listenPort),
        formatFwmark(device.fwmark),
      ]);
      perPeer((peer) => [
        presharedKey(peer),
        endpoint(peer),
        allowedIps(peer, ','),
        String(secondsOf(peer)),
        String(peer.rxBytes),
        String(peer.txBytes),
        keepalive(peer),
      ]);
      break;
    default:
      field satisfies never;
  }
  return rows.map((row) => `${(withName ? [device.name, ...row] : row).join('\t')}\n`).join('');
}

/**
 * The shape of wireguard-tools' contrib/json/wg-json: an object of interfaces, each with an object of peers; what is
 * unset is left out. Unlike there, secrets are left out unless asked for.
 */
export function toJson(devices: readonly ShownDevice[], showsKeys: boolean): unknown {
  const result = new Map<string, unknown>();
  for (const device of devices) {
    const peers = device.peers.map((peer) => [
      peer.publicKey.base64,
      {
        ...(showsKeys && !peer.presharedKey.isZero ? { presharedKey: peer.presharedKey.exposeBase64() } : {}),
        ...(peer.endpoint ? { endpoint: formatEndpointAsGlibc(peer.endpoint) } : {}),
        ...(secondsOf(peer) === 0 ? {} : { latestHandshake: secondsOf(peer) }),
        // A double is exact for 8 pebibytes.
        ...(peer.rxBytes === 0n ? {} : { transferRx: Number(peer.rxBytes) }),
        ...(peer.txBytes === 0n ? {} : { transferTx: Number(peer.txBytes) }),
        ...(peer.persistentKeepalive === 0 ? {} : { persistentKeepalive: peer.persistentKeepalive }),
        allowedIps: peer.allowedIps.map(formatPrefixAsGlibc),
      },
    ]);
    result.set(device.name, {
      ...(showsKeys && device.privateKey ? { privateKey: device.privateKey.exposeBase64() } : {}),
      ...(device.publicKey ? { publicKey: device.publicKey.base64 } : {}),
      ...(device.listenPort === 0 ? {} : { listenPort: device.listenPort }),
      ...(device.fwmark === 0 ? {} : { fwmark: device.fwmark }),
      peers: Object.fromEntries(peers) as unknown,
    });
  }
  return Object.fromEntries(result);
}

/** A device as its UAPI describes it, with the public key that the UAPI leaves to the client to compute. */
export function shownDevice(
  name: string,
  device: UapiDevice,
  publicKeyOf: (privateKey: PrivateKey) => PublicKey,
): ShownDevice {
  return { ...device, name, publicKey: device.privateKey && publicKeyOf(device.privateKey) };
}

/** The most recent handshake first, never-connected peers last, otherwise in the order of the device. */
function latestFirst(peers: readonly UapiPeer[]): UapiPeer[] {
  return [...peers].sort((a, b) => b.lastHandshakeMs - a.lastHandshakeMs);
}

function secondsOf(peer: UapiPeer): number {
  return Math.floor(peer.lastHandshakeMs / 1000);
}

function orNone(text: string | undefined): string {
  return text ?? '(none)';
}

function presharedKey(peer: UapiPeer): string {
  return orNone(peer.presharedKey.isZero ? undefined : peer.presharedKey.exposeBase64());
}

function endpoint(peer: UapiPeer): string {
  return orNone(peer.endpoint && formatEndpointAsGlibc(peer.endpoint));
}

function allowedIps(peer: UapiPeer, separator: string): string {
  return peer.allowedIps.length === 0 ? '(none)' : peer.allowedIps.map(formatPrefixAsGlibc).join(separator);
}

function formatPrefixAsGlibc({ address, length }: Prefix): string {
  return `${formatAsGlibc(address)}/${length}`;
}

function keepalive(peer: UapiPeer): string {
  return peer.persistentKeepalive === 0 ? 'off' : String(peer.persistentKeepalive);
}
