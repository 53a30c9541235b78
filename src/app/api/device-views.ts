/** What is seen of a WireGuard device and its peers: plain data for JSON, an allow-list without keys but public ones. */
import { formatPrefix } from '../../core/ip.ts';
import { REJECT_AFTER_TIME } from '../../noise/constants.ts';
import type { PeerState } from '../../tunnel/config.ts';
import { formatEndpoint, GRPC_CARRIER } from '../../tunnel/endpoint.ts';
import type { MeteredDevice } from '../metrics/device-metrics.ts';

/** The parts of tunnel/device.ts in use here. */
export interface ShownDevice extends MeteredDevice {
  readonly listenPort: number;
  readonly mtu: number;
}

export interface DeviceStatusView {
  /** What runs here; gateway/admin-views.ts has the other. */
  readonly kind: 'device';
  readonly version: string;
  /** ISO 8601. */
  readonly started: string;
  readonly interface: string;
  /** Base64; null without a key. */
  readonly publicKey: string | null;
  /** UDP; 0 when never bound. */
  readonly listenPort: number;
  readonly mtu: number;
  readonly isUp: boolean;
  /** How many are in each state. */
  readonly peers: Readonly<Record<PeerViewState, number>>;
}

/** active: a handshake within 180 s, so that there is a session. stale: an older one. never: none. As in metrics. */
export type PeerViewState = 'active' | 'stale' | 'never';

export const PEER_STATES: readonly PeerViewState[] = ['active', 'stale', 'never'];

export interface PeerView {
  /** Base64. */
  readonly publicKey: string;
  /** The friendly_name of its file. */
  readonly name: string | null;
  readonly state: PeerViewState;
  /** What it is reached through; null without an endpoint. */
  readonly transport: 'udp' | 'grpc' | null;
  readonly endpoint: string | null;
  readonly allowedIps: readonly string[];
  /** ISO 8601. */
  readonly lastHandshake: string | null;
  /** UDP payload. */
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Seconds; 0: off. */
  readonly persistentKeepalive: number;
  /** Which one, nobody is told. */
  readonly hasPresharedKey: boolean;
}

export interface DeviceFacts {
  /** Of the interface. */
  readonly name: string;
  readonly version: string;
  /** Wall clock, milliseconds. */
  readonly startedAtMs: number;
  /** Friendly names of peers, by public key in hexadecimal. */
  readonly names: ReadonlyMap<string, string>;
}

export function deviceStatusView(
  device: ShownDevice,
  { name, version, startedAtMs }: DeviceFacts,
  peers: Iterable<PeerView>,
): DeviceStatusView {
  const counts = { active: 0, stale: 0, never: 0 };
  for (const { state } of peers) counts[state]++;
  return {
    kind: 'device',
    version,
    started: new Date(startedAtMs).toISOString(),
    interface: name,
    publicKey: device.publicKey?.base64 ?? null,
    listenPort: device.listenPort,
    mtu: device.mtu,
    isUp: device.isUp,
    peers: counts,
  };
}

export function peerView(peer: PeerState, name: string | undefined, wallMs: number): PeerView {
  const { endpoint, lastHandshakeMs } = peer;
  return {
    publicKey: peer.publicKey.base64,
    name: name ?? null,
    state:
      lastHandshakeMs === 0 ? 'never' : wallMs - lastHandshakeMs < REJECT_AFTER_TIME ? 'active' : 'stale',
    transport: endpoint ? (endpoint.carrier === GRPC_CARRIER ? 'grpc' : 'udp') : null,
    endpoint: endpoint ? formatEndpoint(endpoint) : null,
    allowedIps: peer.allowedIps.map(formatPrefix),
    lastHandshake: lastHandshakeMs === 0 ? null : new Date(lastHandshakeMs).toISOString(),
    rxBytes: Number(peer.rxBytes),
    txBytes: Number(peer.txBytes),
    persistentKeepalive: peer.persistentKeepalive,
    hasPresharedKey: !peer.presharedKey.isZero,
  };
}
