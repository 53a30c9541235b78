/** Every queue between the parts of a device, by the names that metrics and the status page use; docs/METRICS.md says what each is. */
import type { QueueFill } from '../core/queue.ts';
import type { SocketFill } from '../sys/udp-socket.ts';
import { MAX_QUEUED_HANDSHAKES } from '../tunnel/handshake-queue.ts';
import type { LaneFigures } from '../tunnel/lane/control.ts';
import type { DropReason } from '../tunnel/lane/drops.ts';
import { MAX_STAGED_BYTES } from '../tunnel/lane/outbound.ts';
import { MAX_HANDSHAKES_IN_FLIGHT } from '../tunnel/lane/worker-protocol.ts';
import type { StreamFill } from '../tunnel/stream-bridge.ts';

/** In the order in which a packet meets them: first those of packets to send. */
export const QUEUE_NAMES = [
  'tun',
  'staged',
  'udp4_out',
  'udp6_out',
  'streams_out',
  'udp4_in',
  'udp6_in',
  'streams_in',
  'handshake_in_flight',
  'handshake',
] as const;

export type QueueName = (typeof QUEUE_NAMES)[number];
export type QueueUnit = 'packets' | 'bytes' | 'messages';

export interface Queue extends QueueFill {
  readonly name: QueueName;
  readonly unit: QueueUnit;
}

export const QUEUE_UNITS: Readonly<Record<QueueName, QueueUnit>> = {
  tun: 'packets',
  staged: 'bytes',
  udp4_out: 'bytes',
  udp6_out: 'bytes',
  streams_out: 'bytes',
  udp4_in: 'bytes',
  udp6_in: 'bytes',
  streams_in: 'bytes',
  handshake_in_flight: 'messages',
  handshake: 'messages',
};

/** `fill` is undefined for what is not there. */
function queue(name: QueueName, fill: QueueFill | undefined): Queue[] {
  return fill ? [{ name, unit: QUEUE_UNITS[name], ...fill }] : [];
}

/** Queues around a device: in the kernel, and those of streams. */
export interface Surroundings {
  readonly tun: QueueFill | undefined;
  readonly sockets: readonly (SocketFill & { readonly family: 4 | 6 })[];
  readonly streams: StreamFill | undefined;
}

export function outerQueues({ tun, sockets, streams }: Surroundings): Queue[] {
  return [
    ...queue('tun', tun),
    ...sockets.flatMap(({ family, receive, send }) => [
      ...queue(`udp${family}_out`, send),
      ...queue(`udp${family}_in`, receive),
    ]),
    ...queue('streams_out', streams?.toStreams),
    ...queue('streams_in', streams?.toLane),
  ];
}

/** The parts of tunnel/device.ts in use here. */
export interface QueueingDevice {
  dropped(reason: DropReason): bigint;
  laneFigures(): LaneFigures;
  readonly queuedHandshakes: number;
}

/** All queues; `outer` are those of `outerQueues`. */
export function allQueues(device: QueueingDevice, outer: readonly Queue[]): Queue[] {
  const { stagedBytes, handshakesInFlight } = device.laneFigures();
  const own = [
    ...queue('staged', {
      depth: stagedBytes,
      capacity: MAX_STAGED_BYTES,
      dropped: Number(device.dropped('staged_overflow')),
    }),
    ...queue(
      'handshake_in_flight',
      handshakesInFlight === undefined
        ? undefined
        : { depth: handshakesInFlight, capacity: MAX_HANDSHAKES_IN_FLIGHT, dropped: undefined },
    ),
    ...queue('handshake', {
      depth: device.queuedHandshakes,
      capacity: MAX_QUEUED_HANDSHAKES,
      dropped: Number(device.dropped('handshake_queue_full')),
    }),
  ];
  return [...own, ...outer].toSorted((a, b) => QUEUE_NAMES.indexOf(a.name) - QUEUE_NAMES.indexOf(b.name));
}
