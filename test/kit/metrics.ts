/** Devices for tests of metrics, and the programs that read what they say. */
import { spawnSync } from 'node:child_process';
import { parsePrefix } from '../../src/core/ip.ts';
import { PresharedKey, PublicKey } from '../../src/noise/keys.ts';
import type { DeviceMetricsOptions, MeteredDevice } from '../../src/app/metrics/device-metrics.ts';
import type { PeerState } from '../../src/tunnel/config.ts';
import type { LaneFigures } from '../../src/tunnel/lane/control.ts';
import { HandshakeStats } from '../../src/tunnel/handshake-stats.ts';

export function meteredPeer(number: number, state: Partial<PeerState> = {}): PeerState {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, number);
  const prefix = parsePrefix(`10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}/32`);
  return {
    publicKey: new PublicKey(bytes),
    presharedKey: PresharedKey.none,
    endpoint: undefined,
    lastHandshakeMs: 0,
    txBytes: 0n,
    rxBytes: 0n,
    persistentKeepalive: 0,
    allowedIps: prefix ? [prefix] : [],
    ...state,
  };
}

export function meteredDevice(peers: readonly PeerState[], more: Partial<MeteredDevice> = {}): MeteredDevice {
  return {
    publicKey: new PublicKey(new Uint8Array(32).fill(1)),
    isUp: true,
    peerCount: peers.length,
    peerStates: () => peers,
    dropped: () => 0n,
    handshakes: new HandshakeStats(),
    laneFigures: () => NO_FIGURES,
    queuedHandshakes: 0,
    isUnderLoad: false,
    ...more,
  };
}

export const NO_FIGURES: LaneFigures = {
  stagedPackets: 0,
  stagedPeers: 0,
  stagedBytes: 0,
  handshakesInFlight: 0,
  sendErrors: { full: 0, tooLarge: 0, unreachable: 0, other: 0 },
  usesGso: true,
};

/** The wall clock of `meteredOptions`. */
export const NOW_MS = 1_700_000_000_000;

export function meteredOptions(more: Partial<DeviceMetricsOptions> = {}): DeviceMetricsOptions {
  return {
    name: 'wg0',
    version: '1.2.3',
    engine: () => ({
      lanes: 'worker',
      tunFormat: 'tcp_and_udp',
      transport: 'wasm',
      x25519: 'node',
      blake2s: 'wasm',
      laneThreads: [],
      gso: 'on',
      gro: 'on',
      queues: [],
    }),
    withMindFlavor: false,
    perPeer: 'on',
    names: new Map(),
    wall: () => NOW_MS,
    pause: () => Promise.resolve(),
    ...more,
  };
}

/** Standard output and error of `promtool`; throws with them when it refuses. */
export function promtool(args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`promtool ${args.join(' ')}: exit ${status}\n${stdout}${stderr}`);
  return stdout + stderr;
}

/** `name{labels}` and value of every sample on a page. */
export function samplesOf(page: string): Map<string, string> {
  const lines = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]),
  );
}
