/** How packets fare in a device, for people and programs: queues, threads, backends, drops. Plain data. */
import { threadCpuSeconds } from '../../sys/thread.ts';
import { MAX_QUEUED_HANDSHAKES } from '../../tunnel/handshake-queue.ts';
import { DROP_REASONS, type DropReason, OUTBOUND_DROPS } from '../../tunnel/lane/drops.ts';
import type { StreamCounters } from '../../link/stream-table.ts';
import type { MeteredDevice } from '../metrics/device-metrics.ts';
import type { Engine } from '../runtime.ts';

export interface DeviceView {
  readonly interface: string;
  /** Base64; null without a key. */
  readonly publicKey: string | null;
  readonly isUp: boolean;
  readonly peers: number;
  /** Where packets are moved: on threads of their own, or on the main one. */
  readonly lanes: 'inline' | 'worker';
  /** Form in which the TUN gives packets. */
  readonly tun: string;
  readonly backends: BackendsView;
  readonly threads: readonly ThreadView[];
  /** Handshakes come faster than they are served: cookies are demanded. */
  readonly isUnderLoad: boolean;
  readonly queues: readonly QueueView[];
  readonly handshakes: HandshakesView;
  /** Every reason, also those that never happened. */
  readonly drops: readonly DropView[];
}

/** Which implementation does which operation. */
export interface BackendsView {
  /** Null while it is being chosen. */
  readonly transport: string | null;
  readonly x25519: string;
  readonly blake2s: string;
}

export interface ThreadView {
  /** `main`, `lane 0` … */
  readonly name: string;
  /** User and system time since its start. */
  readonly cpuSeconds: number;
}

export interface QueueView {
  readonly name: 'handshake';
  readonly depth: number;
  readonly capacity: number;
}

export interface HandshakesView {
  /** Retries included. */
  readonly initiationsSent: number;
  readonly initiationsReceived: number;
  readonly completedAsInitiator: number;
  readonly completedAsResponder: number;
  /** No answer for 90 s. */
  readonly gaveUp: number;
}

export interface DropView {
  readonly reason: DropReason;
  readonly direction: 'in' | 'out';
  readonly packets: number;
}

/** Tunnel streams: WireGuard inside gRPC. */
export interface StreamsView {
  readonly open: number;
  readonly opened: number;
  readonly refused: number;
  readonly receivedDatagrams: number;
  readonly sentDatagrams: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Datagrams dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** Streams that ended, by reason. */
  readonly ends: Readonly<Record<string, number>>;
}

export interface DatapathView {
  readonly device: DeviceView;
  /** Null where there are none. */
  readonly streams: StreamsView | null;
}

export function deviceView(name: string, device: MeteredDevice, engine: Engine): DeviceView {
  const { handshakes } = device;
  return {
    interface: name,
    publicKey: device.publicKey?.base64 ?? null,
    isUp: device.isUp,
    peers: device.peerCount,
    lanes: engine.lanes,
    tun: engine.tunFormat,
    backends: {
      transport: engine.transport === '' ? null : engine.transport,
      x25519: engine.x25519,
      blake2s: engine.blake2s,
    },
    threads: threadViews(engine.laneThreads),
    isUnderLoad: device.isUnderLoad,
    queues: [{ name: 'handshake', depth: device.queuedHandshakes, capacity: MAX_QUEUED_HANDSHAKES }],
    handshakes: {
      initiationsSent: handshakes.initiationsSent,
      initiationsReceived: handshakes.initiationsReceived,
      completedAsInitiator: handshakes.completedAsInitiator,
      completedAsResponder: handshakes.completedAsResponder,
      gaveUp: handshakes.gaveUp,
    },
    drops: DROP_REASONS.map((reason) => ({
      reason,
      direction: OUTBOUND_DROPS.has(reason) ? 'out' : 'in',
      packets: Number(device.dropped(reason)),
    })),
  };
}

function threadViews(lanes: readonly number[]): ThreadView[] {
  const named = [
    // The main thread has the number of the process.
    { name: 'main', id: process.pid },
    ...lanes.map((id, lane) => ({ name: `lane ${lane}`, id })),
  ];
  return named.flatMap(({ name, id }) => {
    const cpuSeconds = threadCpuSeconds(id);
    return cpuSeconds === undefined ? [] : [{ name, cpuSeconds }];
  });
}

export function streamsView(counters: StreamCounters, open: number): StreamsView {
  return {
    open,
    opened: counters.opened,
    refused: counters.refused,
    receivedDatagrams: counters.rxDatagrams,
    sentDatagrams: counters.txDatagrams,
    receivedBytes: counters.rxBytes,
    sentBytes: counters.txBytes,
    drops: { ...counters.drops },
    ends: { ...counters.ends },
  };
}
