/** What operators see of machines and tokens: plain data for JSON, without secrets. docs/GATEWAY.md lists the members. */
import { PEER_DOWN_AFTER } from '../../link/constants.ts';
import type { StoredEvent } from '../../link/event-sink.ts';
import type { Entry } from '../../link/journal.ts';
import type { MachineRecord, PendingReason, PendingRecord } from '../../link/records.ts';
import type { Registry } from '../../link/registry.ts';
import { type TokenRecord, type TokenStatus, tokenStatus } from '../../link/tokens.ts';

/** What the device and the streams know of a peer. */
export interface LivePeer {
  /** Milliseconds since the last handshake, Infinity when there was none. */
  readonly handshakeAgeMs: number;
  /** Where it was last heard from over UDP; undefined when never, or through a stream. */
  readonly udpEndpoint: string | undefined;
  readonly isStreamOpen: boolean;
  /** Since the gateway started. */
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** Undefined for a key that is no peer. */
export type LiveLookup = (publicKey: string) => LivePeer | undefined;

/**
 * connected: a handshake within 275 s. down: none. pending: waits for acceptance. removing: being taken away. unknown:
 * the gateway does not run.
 */
export type MachineState = 'connected' | 'down' | 'pending' | 'removing' | 'unknown';

export const MACHINE_STATES: readonly MachineState[] = ['connected', 'down', 'pending', 'removing'];

export type MachineTransport = 'udp' | 'grpc';

export interface MachineView {
  /** The UUID; `UUID#2` … for further machines with a UUID that somebody has. */
  readonly id: string;
  readonly uuid: string;
  readonly state: MachineState;
  /** Why it waits. */
  readonly pendingReason: PendingReason | null;
  /** What it speaks through now. */
  readonly transport: MachineTransport | null;
  /** Overlay address. */
  readonly address: string;
  readonly publicKey: string;
  /** Where it was last heard from over UDP. */
  readonly endpoint: string | null;
  /** ISO 8601. */
  readonly lastHandshake: string | null;
  readonly rxBytes: number | null;
  readonly txBytes: number | null;
  readonly talosVersion: string;
  /** What the operator wants: auto is what the machine asks for. */
  readonly tunnel: TunnelChoice;
  readonly labels: Readonly<Record<string, string>>;
  /** ISO 8601: when it joined, or first asked to. */
  readonly since: string;
}

export type TunnelChoice = 'auto' | 'on' | 'off';

export const TUNNEL_CHOICES: readonly TunnelChoice[] = ['auto', 'on', 'off'];

export function isMember(record: MachineRecord | PendingRecord): record is MachineRecord {
  return 'id' in record;
}

export function machineView(
  record: MachineRecord | PendingRecord,
  live: LiveLookup | undefined,
  registry: Registry,
  wallMs: number,
): MachineView {
  const peer = live?.(record.publicKey);
  const isMachine = isMember(record);
  const isConnected = peer !== undefined && peer.handshakeAgeMs < PEER_DOWN_AFTER;
  const tunnel = isMachine ? record.tunnel : undefined;
  return {
    id: isMachine ? record.id : record.uuid,
    uuid: record.uuid,
    state: stateOf(record, live !== undefined, isConnected),
    pendingReason: isMachine ? null : record.reason,
    transport: isConnected ? transportOf(peer) : null,
    address: record.nodeAddress,
    publicKey: record.publicKey,
    endpoint: peer?.udpEndpoint ?? registry.endpointOf(record.publicKey) ?? null,
    lastHandshake:
      peer && Number.isFinite(peer.handshakeAgeMs) ? isoTime(wallMs - peer.handshakeAgeMs) : null,
    rxBytes: peer?.rxBytes ?? null,
    txBytes: peer?.txBytes ?? null,
    talosVersion: record.talosVersion,
    tunnel: tunnel === undefined ? 'auto' : tunnel ? 'on' : 'off',
    labels: record.labels,
    since: isoTime(isMachine ? record.joinedAtMs : record.createdAtMs),
  };
}

function stateOf(
  record: MachineRecord | PendingRecord,
  isRunning: boolean,
  isConnected: boolean,
): MachineState {
  if (!isMember(record)) return 'pending';
  if (record.isRemoving) return 'removing';
  if (!isRunning) return 'unknown';
  return isConnected ? 'connected' : 'down';
}

function transportOf({ udpEndpoint, isStreamOpen }: LivePeer): MachineTransport | null {
  if (udpEndpoint !== undefined) return 'udp';
  return isStreamOpen ? 'grpc' : null;
}

export interface TokenView {
  readonly name: string;
  readonly description: string;
  readonly status: TokenStatus;
  readonly isDefault: boolean;
  readonly uses: number;
  readonly useLimit: number | null;
  /** ISO 8601. */
  readonly expires: string | null;
  readonly created: string;
  /** Of an infra provider, which signs tokens of its own with it. */
  readonly provider: string | null;
}

export function tokenView(record: TokenRecord, registry: Registry, wallMs: number): TokenView {
  const uses = registry.usesOf(record.token);
  return {
    name: record.name,
    description: record.description ?? '',
    status: tokenStatus(record, uses, wallMs),
    isDefault: record.token === registry.defaultToken,
    uses,
    useLimit: record.useLimit ?? null,
    expires: record.expiresAtMs === undefined ? null : isoTime(record.expiresAtMs),
    created: isoTime(record.createdAtMs),
    provider: record.provider ?? null,
  };
}

/** What a machine said, and when that arrived. */
export type EntryView = {
  /** Grows with every entry. */
  readonly sequence: number;
  /** ISO 8601. */
  readonly at: string;
} & ({ readonly kind: 'log'; readonly line: string } | ({ readonly kind: 'event' } & EventView));

export interface EventView {
  readonly id: string;
  readonly actorId: string;
  /** Full name of the protobuf message. */
  readonly type: string;
  /** The message, base64. */
  readonly value: string;
}

export function entryView({ sequence, atMs, kind, body }: Entry): EntryView {
  const head = { sequence, at: isoTime(atMs) };
  if (kind === 'log') return { ...head, kind, line: body };
  const { id, actorId, type, value } = JSON.parse(body) as StoredEvent;
  return { ...head, kind, id, actorId, type, value };
}

/** Everything that a machine can be joined with. Holds the token. */
export interface JoinView {
  /** Of the token. */
  readonly name: string;
  readonly joinUrl: string;
  readonly kernelArguments: readonly string[];
  /** YAML. */
  readonly documents: string;
  readonly command: string;
}

export interface StatusView {
  /** What runs here; device-views.ts has the other. */
  readonly kind: 'gateway';
  readonly version: string;
  /** ISO 8601. */
  readonly started: string;
  readonly interface: string;
  readonly address: string;
  readonly apiUrl: string;
  readonly wireGuardEndpoints: readonly string[];
  readonly tunnel: string;
  readonly accept: string;
  readonly joinTokensMode: string;
  /** Address of the status page; null: off. */
  readonly page: string | null;
  readonly machines: Readonly<Record<string, number>>;
  readonly streams: number;
}

function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
