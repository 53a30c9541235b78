/** What `culvert status` says about one machine's link. */
import type { AgentState } from '../../link/agent.ts';
import type { Transport } from '../../link/transport-policy.ts';
import { ageColour, formatBytes, formatDuration, palette } from '../show-values.ts';
import { formatPairs } from '../table.ts';
import type { PublishedService } from './overlay-services.ts';

/** Also the JSON of `culvert status --json`: members are added, never renamed. */
export interface MachineStatus {
  readonly kind: 'machine';
  readonly interface: string;
  readonly pid: number;
  readonly version: string;
  readonly state: AgentState;
  /** A handshake has been answered in the last 275 s, as Talos has it. */
  readonly isConnected: boolean;
  /** Why not, or what went wrong last. */
  readonly problem: string | null;
  /** What carries packets now; null before the first handshake. */
  readonly transport: 'udp' | 'grpc' | null;
  readonly wantedTransport: Transport;
  /** `host:port` of the join URL. */
  readonly gateway: string;
  readonly isPlaintext: boolean;
  /** Where datagrams go: a UDP address, or the machine's end of the tunnel. */
  readonly endpoint: string | null;
  readonly address: string | null;
  readonly serverAddress: string | null;
  readonly lastHandshakeAgeMs: number | null;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly uuid: string;
  readonly publicKey: string;
  /** Streams of the tunnel; null without one. */
  readonly streams: { readonly open: number; readonly opened: number; readonly broken: number } | null;
  readonly exposed: readonly PublishedService[];
}

const TRANSPORTS = { udp: 'UDP', grpc: 'a gRPC stream' } as const;

/** For people. */
export function formatStatus(status: MachineStatus, isColoured: boolean): string {
  const c = palette(isColoured);
  const plain = palette(false);
  const colour = status.isConnected ? c.green : c.red;
  const headline = status.isConnected
    ? `connected over ${TRANSPORTS[status.transport ?? 'udp']}`
    : `not connected (${status.state})`;
  const age = status.lastHandshakeAgeMs === null ? null : Math.round(status.lastHandshakeAgeMs / 1_000);
  const lines: (readonly [string, string | null, string?])[] = [
    ['gateway', `${status.gateway}${status.isPlaintext ? ' without TLS' : ''}`],
    ['endpoint', status.endpoint],
    ['address', status.address],
    ['gateway address', status.serverAddress],
    [
      'latest handshake',
      age === null ? null : `${formatDuration(age, plain) || 'less than a second'} ago`,
      ageColour(age ?? 0, c),
    ],
    [
      'transfer',
      `${formatBytes(BigInt(status.receivedBytes), plain)} received, ${formatBytes(BigInt(status.sentBytes), plain)} sent`,
    ],
    [
      'transport',
      status.wantedTransport === 'auto'
        ? 'auto: UDP first, else the tunnel'
        : `${status.wantedTransport} only`,
    ],
    ['streams', status.streams && `${status.streams.open} open, ${status.streams.broken} broken so far`],
    ...status.exposed.map(
      ({ port, targetHost, targetPort, accepted }) =>
        ['exposed', `port ${port} to ${targetHost} port ${targetPort}, ${accepted} connections`] as const,
    ),
    ['machine', status.uuid],
    ['problem', status.problem, c.red],
  ];
  const pairs = lines.flatMap(([name, value, paint = '']) =>
    value === null ? [] : [[`  ${name}`, value, paint] as const],
  );
  return `${c.bold}${status.interface}${c.reset}  ${colour}${headline}${c.reset}\n${formatPairs(pairs)}`;
}
