/** Every family of a device, in the order of its page. docs/METRICS.md lists the same; a test keeps both equal. */
import type { Family } from './exposition.ts';

type Families<Names extends string> = { readonly [Name in Names]: Family };

function family(type: Family['type'], name: string, help: string): Family {
  return { name, type, help };
}

/** Names, labels and meaning of mdlayher/wireguard_exporter, so that what was made for it works (Grafana 12177). */
export const PEER_FAMILIES: Families<
  'deviceInfo' | 'peerInfo' | 'allowedIps' | 'received' | 'transmitted' | 'lastHandshake'
> = {
  deviceInfo: family('gauge', 'wireguard_device_info', 'Metadata about a device.'),
  peerInfo: family(
    'gauge',
    'wireguard_peer_info',
    "Metadata about a peer. The public_key label on peer metrics refers to the peer's public key; not the device's public key.",
  ),
  allowedIps: family(
    'gauge',
    'wireguard_peer_allowed_ips_info',
    "Metadata about each of a peer's allowed IP subnets for a given device.",
  ),
  received: family(
    'counter',
    'wireguard_peer_receive_bytes_total',
    'Number of bytes received from a given peer.',
  ),
  transmitted: family(
    'counter',
    'wireguard_peer_transmit_bytes_total',
    'Number of bytes transmitted to a given peer.',
  ),
  lastHandshake: family(
    'gauge',
    'wireguard_peer_last_handshake_seconds',
    'UNIX timestamp for the last handshake with a given peer, 0 when there was none.',
  ),
};

/** Those of MindFlavor/prometheus_wireguard_exporter, on request. */
export const MINDFLAVOR_FAMILIES: Families<'sent' | 'received' | 'latestHandshake' | 'handshakeDelay'> = {
  sent: family('counter', 'wireguard_sent_bytes_total', 'Bytes sent to the peer'),
  received: family('counter', 'wireguard_received_bytes_total', 'Bytes received from the peer'),
  latestHandshake: family(
    'gauge',
    'wireguard_latest_handshake_seconds',
    'UNIX timestamp of the last handshake, 0 when there was none',
  ),
  handshakeDelay: family(
    'gauge',
    'wireguard_latest_handshake_delay_seconds',
    'Seconds from the last handshake',
  ),
};

export const OWN_FAMILIES: Families<
  | 'build'
  | 'engine'
  | 'crypto'
  | 'up'
  | 'peers'
  | 'dropped'
  | 'handshakes'
  | 'initiations'
  | 'handshakeDuration'
  | 'underLoad'
  | 'queueDepth'
  | 'queueCapacity'
  | 'queueDropped'
  | 'stagedPackets'
  | 'stagedPeers'
  | 'sendErrors'
  | 'offload'
  | 'laneCpu'
> = {
  build: family('gauge', 'culvert_build_info', 'Versions of culvert and of Node.js.'),
  engine: family(
    'gauge',
    'culvert_engine_info',
    'How packets are moved: where the lanes run, and the form of the TUN.',
  ),
  crypto: family('gauge', 'culvert_crypto_backend_info', 'Which implementation does which operation.'),
  up: family('gauge', 'culvert_device_up', 'Whether the device is up: 1 or 0.'),
  peers: family(
    'gauge',
    'culvert_peers',
    'Peers by their latest handshake: active (younger than 180 s), stale (older), never.',
  ),
  dropped: family('counter', 'culvert_dropped_packets_total', 'Packets dropped, by direction and reason.'),
  handshakes: family(
    'counter',
    'culvert_handshakes_total',
    'Handshakes that ended, by role and result. An initiator gives up after 90 s of retries.',
  ),
  initiations: family(
    'counter',
    'culvert_handshake_initiations_total',
    'Handshake initiations sent, retries included, and valid ones received from peers.',
  ),
  handshakeDuration: family(
    'histogram',
    'culvert_handshake_duration_seconds',
    'From an initiation of this device to its answer.',
  ),
  underLoad: family(
    'gauge',
    'culvert_under_load',
    'Whether handshakes come faster than they are served, so that cookies are demanded: 1 or 0.',
  ),
  queueDepth: family('gauge', 'culvert_queue_depth', 'What waits in a queue. Absent where nobody tells.'),
  queueCapacity: family('gauge', 'culvert_queue_capacity', 'What a queue holds at most, in the same unit.'),
  queueDropped: family(
    'counter',
    'culvert_queue_dropped_total',
    'Packets and messages that found a queue full. Absent where that is not counted.',
  ),
  stagedPackets: family('gauge', 'culvert_staged_packets', 'Packets that wait for a session.'),
  stagedPeers: family('gauge', 'culvert_staged_peers', 'Peers with packets that wait for a session.'),
  sendErrors: family('counter', 'culvert_send_errors_total', 'Datagrams that could not be sent, by cause.'),
  offload: family(
    'gauge',
    'culvert_udp_offload_info',
    'Whether UDP datagrams travel joined: on, off, or failed after it was wanted.',
  ),
  laneCpu: family(
    'counter',
    'culvert_lane_cpu_seconds_total',
    'CPU time of the threads that move packets. Absent when that is the main thread.',
  ),
};
