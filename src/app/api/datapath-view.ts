/** How packets fare in a device, for people and programs: queues, threads, backends, drops. Plain data. */
import { threadCpuSeconds } from '../../sys/thread.ts';
import { DROP_REASONS, type DropReason, OUTBOUND_DROPS } from '../../tunnel/lane/drops.ts';
import type { StreamCounters } from '../../link/stream-table.ts';
import type { MeteredDevice } from '../metrics/device-metrics.ts';
import { allQueues, type QueueName, type QueueUnit } from '../queues.ts';
import type { Engine, Offload } from '../runtime.ts';

export interface DeviceView {
  readonly interface: string;
  /** Base64; null without a key. */
  readonly publicKey: string | null;
  readonly isUp: boolean;
  readonly peers: number;
  /** Where packets are moved: on threads of their own, or on the main one. */
  readonly lanes: Engine['lanes'];
  /** Form in which the TUN gives packets. */
  readonly tun: string;
  readonly backends: BackendsView;
  readonly offloads: OffloadsView;
  readonly threads: readonly ThreadView[];
  /** Handshakes come faster than they are served: cookies are demanded. */
  readonly isUnderLoad: boolean;
  /** In the order in which packets meet them. */
  readonly queues: readonly QueueView[];
  readonly staged: StagedView;
  readonly sendErrors: SendErrorsView;
  readonly handshakes: HandshakesView;
  /** Every reason, also those that never happened. */
  readonly drops: readonly DropView[];
}

/** Which implementation does which operation. */
export interface BackendsView {
  /** Null while it is being chosen. */
  readonly transport: string | null;
  /** The same by the size of the packet; empty while it is being chosen. */
  readonly transportBySize: readonly SizedBackendView[];
  readonly x25519: string;
  readonly blake2s: string;
}

export interface SizedBackendView {
  readonly backend: string;
  /** Bytes; null: any. */
  readonly longest: number | null;
}

/** UDP datagrams joined for the kernel to cut, and by the kernel. */
export interface OffloadsView {
  readonly gso: Offload;
  readonly gro: Offload;
}

export interface ThreadView {
  /** `main`, `lane 0` … */
  readonly name: string;
  /** User and system time since its start. */
  readonly cpuSeconds: number;
}

export interface QueueView {
  readonly name: QueueName;
  readonly unit: QueueUnit;
  /** What waits; null where nobody tells. */
  readonly depth: number | null;
  readonly capacity: number;
  /** What found it full; null where that is not counted. */
  readonly dropped: number | null;
}

/** Packets that wait for a session. */
export interface StagedView {
  readonly packets: number;
  readonly bytes: number;
  /** That they are for. */
  readonly peers: number;
}

/** Datagrams that could not be sent. */
export interface SendErrorsView {
  readonly full: number;
  readonly tooLarge: number;
  readonly unreachable: number;
  readonly other: number;
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
  const figures = device.laneFigures();
  return {
    interface: name,
    publicKey: device.publicKey?.base64 ?? null,
    isUp: device.isUp,
    peers: device.peerCount,
    lanes: engine.lanes,
    tun: engine.tunFormat,
    backends: {
      transport: engine.transport === '' ? null : engine.transport,
      transportBySize: bySize(engine),
      x25519: engine.x25519,
      blake2s: engine.blake2s,
    },
    offloads: { gso: engine.gso, gro: engine.gro },
    threads: threadViews(engine.laneThreads),
    isUnderLoad: device.isUnderLoad,
    queues: allQueues(device, engine.queues).map(({ name, unit, depth, capacity, dropped }) => ({
      name,
      unit,
      depth: depth ?? null,
      capacity,
      dropped: dropped ?? null,
    })),
    staged: {
      packets: figures.stagedPackets,
      bytes: figures.stagedBytes,
      peers: figures.stagedPeers,
    },
    sendErrors: { ...figures.sendErrors },
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

function bySize({ transport, longestShort }: Engine): SizedBackendView[] {
  if (transport === '') return [];
  const [first = transport, second] = transport.split('+');
  return second === undefined || longestShort === undefined
    ? [{ backend: transport, longest: null }]
    : [
        { backend: first, longest: longestShort },
        { backend: second, longest: null },
      ];
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
