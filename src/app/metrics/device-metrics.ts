/**
 * What a device has to say to Prometheus. Written by hand and in slices: for 10,000 peers a metrics library holds the
 * event loop up for 60 to 130 ms, and handshakes with it (docs/METRICS.md has figures).
 */
import { formatPrefix } from '../../core/ip.ts';
import { REJECT_AFTER_TIME } from '../../noise/constants.ts';
import type { PublicKey } from '../../noise/keys.ts';
import { threadCpuSeconds } from '../../sys/thread.ts';
import type { PeerState } from '../../tunnel/config.ts';
import { formatEndpoint } from '../../tunnel/endpoint.ts';
import { HANDSHAKE_SECONDS, type HandshakeStats } from '../../tunnel/handshake-stats.ts';
import { DROP_REASONS, OUTBOUND_DROPS } from '../../tunnel/lane/drops.ts';
import { allQueues, type QueueingDevice } from '../queues.ts';
import type { Engine } from '../runtime.ts';
import { MINDFLAVOR_FAMILIES, OWN_FAMILIES, PEER_FAMILIES } from './device-families.ts';
import {
  type Family,
  escapeLabel,
  formatFamily,
  formatHead,
  formatHistogram,
  formatLabels,
  formatSample,
} from './exposition.ts';

/** The parts of tunnel/device.ts in use here. */
export interface MeteredDevice extends QueueingDevice {
  readonly publicKey: PublicKey | undefined;
  readonly isUp: boolean;
  readonly peerCount: number;
  peerStates(): Iterable<PeerState>;
  readonly handshakes: HandshakeStats;
  readonly isUnderLoad: boolean;
}

export interface DeviceMetricsOptions {
  /** Interface name. */
  readonly name: string;
  readonly version: string;
  readonly engine: () => Engine;
  /** Whether the families of MindFlavor's exporter come, too. */
  readonly withMindFlavor: boolean;
  readonly perPeer: 'auto' | 'on' | 'off';
  /** Friendly name of a peer, by its public key in hexadecimal. */
  readonly names: ReadonlyMap<string, string>;
  /** Milliseconds since the Unix epoch. */
  readonly wall: () => number;
  /** Lets the event loop have its turn. */
  readonly pause: () => Promise<void>;
}

/** Above this `perPeer: auto` leaves the families of peers out: nobody's Prometheus likes so many series by surprise. */
export const MAX_PEERS_AUTO = 2_000;
/** About half a millisecond of work. */
const PEERS_PER_SLICE = 100;

/** All families of the device, as pieces of text: one of megabytes would be put together in one go. */
export async function deviceMetrics(
  device: MeteredDevice,
  options: DeviceMetricsOptions,
): Promise<readonly Buffer[]> {
  const { perPeer, withMindFlavor } = options;
  const isPerPeer = perPeer === 'on' || (perPeer === 'auto' && device.peerCount <= MAX_PEERS_AUTO);
  const samples = new PeerSamples(options, isPerPeer, withMindFlavor);
  let left = PEERS_PER_SLICE;
  for (const peer of device.peerStates()) {
    samples.add(peer);
    if (--left > 0) continue;
    left = PEERS_PER_SLICE;
    samples.endSlice();
    await options.pause();
  }
  samples.endSlice();
  return [...samples.families(device.publicKey), Buffer.from(ownFamilies(device, options, samples))];
}

/** Lines of all families of peers, filled in one go over the peers: the parts of a line that repeat are made once. */
class PeerSamples {
  readonly #options: DeviceMetricsOptions;
  readonly #isPerPeer: boolean;
  readonly #withMindFlavor: boolean;
  /** Of the slice in progress, and of those before. */
  readonly #lines = new Map<Family, string>();
  readonly #slices = new Map<Family, Buffer[]>();
  active = 0;
  stale = 0;
  never = 0;

  constructor(options: DeviceMetricsOptions, isPerPeer: boolean, withMindFlavor: boolean) {
    this.#options = options;
    this.#isPerPeer = isPerPeer;
    this.#withMindFlavor = withMindFlavor;
  }

  add(peer: PeerState): void {
    const { lastHandshakeMs } = peer;
    if (lastHandshakeMs === 0) this.never++;
    else if (this.#options.wall() - lastHandshakeMs < REJECT_AFTER_TIME) this.active++;
    else this.stale++;
    if (!this.#isPerPeer) return;
    this.#addPeer(peer);
    if (this.#withMindFlavor) this.#addMindFlavor(peer);
  }

  families(publicKey: PublicKey | undefined): Buffer[] {
    const { deviceInfo, ...perPeer } = PEER_FAMILIES;
    const labels = formatLabels({ device: this.#options.name, public_key: publicKey?.base64 ?? '' });
    return [
      Buffer.from(formatFamily(deviceInfo, formatSample(deviceInfo.name, labels, 1))),
      ...[...Object.values(perPeer), ...Object.values(MINDFLAVOR_FAMILIES)].flatMap((family) => {
        const slices = this.#slices.get(family);
        return slices ? [Buffer.from(formatHead(family)), ...slices] : [];
      }),
    ];
  }

  endSlice(): void {
    for (const [family, lines] of this.#lines) {
      const slices = this.#slices.get(family) ?? [];
      slices.push(Buffer.from(lines));
      this.#slices.set(family, slices);
    }
    this.#lines.clear();
  }

  #addPeer(peer: PeerState): void {
    const f = PEER_FAMILIES;
    const { name, names } = this.#options;
    const labels = `device="${name}",public_key="${peer.publicKey.base64}"`;
    const endpoint = peer.endpoint ? formatEndpoint(peer.endpoint) : '';
    const friendly = escapeLabel(names.get(peer.publicKey.hex) ?? '');
    this.#line(f.peerInfo, `${labels},endpoint="${endpoint}",name="${friendly}"`, 1);
    for (const prefix of peer.allowedIps) {
      const version = prefix.address.length === 4 ? 'IPv4' : 'IPv6';
      this.#line(f.allowedIps, `${labels},allowed_ips="${formatPrefix(prefix)}",family="${version}"`, 1);
    }
    this.#line(f.received, labels, peer.rxBytes);
    this.#line(f.transmitted, labels, peer.txBytes);
    this.#line(f.lastHandshake, labels, Math.floor(peer.lastHandshakeMs / 1_000));
  }

  #addMindFlavor(peer: PeerState): void {
    const f = MINDFLAVOR_FAMILIES;
    const { name, names, wall } = this.#options;
    const friendly = names.get(peer.publicKey.hex);
    const labels = formatLabels({
      interface: name,
      public_key: peer.publicKey.base64,
      allowed_ips: peer.allowedIps.map(formatPrefix).join(','),
      friendly_name: friendly,
    });
    this.#line(f.sent, labels, peer.txBytes);
    this.#line(f.received, labels, peer.rxBytes);
    this.#line(f.latestHandshake, labels, Math.floor(peer.lastHandshakeMs / 1_000));
    // An age that nobody has is not a sample.
    if (peer.lastHandshakeMs !== 0)
      this.#line(f.handshakeDelay, labels, Math.max(0, Math.floor((wall() - peer.lastHandshakeMs) / 1_000)));
  }

  #line(family: Family, labels: string, value: number | bigint): void {
    this.#lines.set(family, (this.#lines.get(family) ?? '') + formatSample(family.name, labels, value));
  }
}

function ownFamilies(
  device: MeteredDevice,
  { name, version, engine }: DeviceMetricsOptions,
  peers: Pick<PeerSamples, 'active' | 'stale' | 'never'>,
): string {
  const f = OWN_FAMILIES;
  const { lanes, tunFormat, transport, x25519, blake2s, laneThreads, gso, gro, queues: outer } = engine();
  const queues = allQueues(device, outer);
  const { stagedPackets, stagedPeers, sendErrors } = device.laneFigures();
  const { handshakes } = device;
  type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | bigint];
  const each = (family: Family, samples: readonly Sample[]): string =>
    formatFamily(
      family,
      samples
        .map(([labels, value]) => formatSample(family.name, formatLabels({ device: name, ...labels }), value))
        .join(''),
    );
  /** What nobody can tell is not a sample. */
  const known = (labels: Sample[0], value: number | undefined): Sample[] =>
    value === undefined ? [] : [[labels, value]];
  const backends = Object.entries({ transport, x25519, blake2s }).filter(([, backend]) => backend !== '');
  return [
    formatFamily(f.build, formatSample(f.build.name, formatLabels({ version, node: process.version }), 1)),
    each(f.engine, [[{ lanes, tun: tunFormat }, 1]]),
    each(
      f.crypto,
      backends.map(([op, backend]) => [{ op, backend }, 1]),
    ),
    each(f.up, [[{}, Number(device.isUp)]]),
    each(f.peers, [
      [{ state: 'active' }, peers.active],
      [{ state: 'stale' }, peers.stale],
      [{ state: 'never' }, peers.never],
    ]),
    each(
      f.dropped,
      DROP_REASONS.map((reason) => [
        { direction: OUTBOUND_DROPS.has(reason) ? 'out' : 'in', reason },
        device.dropped(reason),
      ]),
    ),
    each(f.handshakes, [
      [{ role: 'initiator', result: 'completed' }, handshakes.completedAsInitiator],
      [{ role: 'initiator', result: 'gave_up' }, handshakes.gaveUp],
      [{ role: 'responder', result: 'completed' }, handshakes.completedAsResponder],
    ]),
    each(f.initiations, [
      [{ direction: 'out' }, handshakes.initiationsSent],
      [{ direction: 'in' }, handshakes.initiationsReceived],
    ]),
    formatFamily(
      f.handshakeDuration,
      formatHistogram(f.handshakeDuration.name, formatLabels({ device: name }), {
        bounds: HANDSHAKE_SECONDS,
        counts: handshakes.durations,
        sum: handshakes.durationSumSeconds,
      }),
    ),
    each(f.underLoad, [[{}, Number(device.isUnderLoad)]]),
    each(
      f.queueDepth,
      queues.flatMap(({ name: queue, unit, depth }) => known({ queue, unit }, depth)),
    ),
    each(
      f.queueCapacity,
      queues.map(({ name: queue, unit, capacity }) => [{ queue, unit }, capacity]),
    ),
    each(
      f.queueDropped,
      queues.flatMap(({ name: queue, dropped }) => known({ queue }, dropped)),
    ),
    each(f.stagedPackets, [[{}, stagedPackets]]),
    each(f.stagedPeers, [[{}, stagedPeers]]),
    each(f.sendErrors, [
      [{ cause: 'full' }, sendErrors.full],
      [{ cause: 'too_large' }, sendErrors.tooLarge],
      [{ cause: 'unreachable' }, sendErrors.unreachable],
      [{ cause: 'other' }, sendErrors.other],
    ]),
    each(f.offload, [
      [{ offload: 'gso', state: gso }, 1],
      [{ offload: 'gro', state: gro }, 1],
    ]),
    each(
      f.laneCpu,
      laneThreads.flatMap((thread, lane): Sample[] => {
        const seconds = threadCpuSeconds(thread);
        return seconds === undefined ? [] : [[{ lane: String(lane) }, seconds]];
      }),
    ),
  ].join('');
}
