/**
 * Where datagrams go to and come from: a fixed record of 48 bytes, so that lanes compare and copy endpoints without
 * allocating, and the same bytes cross between threads.
 *
 *   0  u16 family: 0 none, 4, 6          24 bytes16 local source address (IPv4 in the first 4), zero = any
 *   2  u16 port, native                  40 u32 local interface index of the source, 0 = any
 *   4  u32 scope (IPv6 link-local zone)  44 u32 carrier: 0 UDP, 1 gRPC stream
 *   8  bytes16 address (IPv4 in the first 4)
 */
import type { Arena } from '../core/arena.ts';
import { type Address, formatAddress } from '../core/ip.ts';

export const ENDPOINT = {
  family: 0,
  port: 2,
  scope: 4,
  address: 8,
  source: 24,
  sourceInterface: 40,
  carrier: 44,
  size: 48,
} as const;

/** `carrier` of an endpoint that is reached through a gRPC stream. */
export const GRPC_CARRIER = 1;

/** The part that names the remote side; what lies behind is the sticky source. */
export const ENDPOINT_REMOTE_SIZE = 24;

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
  /** Interface index of a link-local IPv6 address, 0 otherwise. */
  readonly scope: number;
  /** Local address and interface to send from (sticky source), when known. */
  readonly source?: { readonly address: Address; readonly interfaceIndex: number };
  readonly carrier: number;
}

export function encodeEndpoint(endpoint: Endpoint, into: Uint8Array, at: number): void {
  into.fill(0, at, at + ENDPOINT.size);
  const view = new DataView(into.buffer, into.byteOffset + at, ENDPOINT.size);
  view.setUint16(ENDPOINT.family, endpoint.address.length === 4 ? 4 : 6, true);
  view.setUint16(ENDPOINT.port, endpoint.port, true);
  view.setUint32(ENDPOINT.scope, endpoint.scope, true);
  into.set(endpoint.address, at + ENDPOINT.address);
  if (endpoint.source) {
    into.set(endpoint.source.address, at + ENDPOINT.source);
    view.setUint32(ENDPOINT.sourceInterface, endpoint.source.interfaceIndex, true);
  }
  view.setUint32(ENDPOINT.carrier, endpoint.carrier, true);
}

/** Undefined for an empty record (family 0). The result shares nothing with `from`. */
export function decodeEndpoint(from: Uint8Array, at: number): Endpoint | undefined {
  const view = new DataView(from.buffer, from.byteOffset + at, ENDPOINT.size);
  const family = view.getUint16(ENDPOINT.family, true);
  if (family === 0) return undefined;
  const size = family === 4 ? 4 : 16;
  const source = from.slice(at + ENDPOINT.source, at + ENDPOINT.source + size);
  const interfaceIndex = view.getUint32(ENDPOINT.sourceInterface, true);
  const sticky = interfaceIndex !== 0 || source.some((byte) => byte !== 0);
  return {
    address: from.slice(at + ENDPOINT.address, at + ENDPOINT.address + size),
    port: view.getUint16(ENDPOINT.port, true),
    scope: view.getUint32(ENDPOINT.scope, true),
    ...(sticky ? { source: { address: source, interfaceIndex } } : {}),
    carrier: view.getUint32(ENDPOINT.carrier, true),
  };
}

/** `1.2.3.4:51820`, `[fe80::1%3]:51820` (zone as index). */
export function formatEndpoint(endpoint: Endpoint): string {
  const text = formatAddress(endpoint.address);
  if (endpoint.address.length === 4) return `${text}:${endpoint.port}`;
  return `[${text}${endpoint.scope === 0 ? '' : `%${endpoint.scope}`}]:${endpoint.port}`;
}

/** Whether the record at an arena offset has a sticky source. */
export function hasSource(arena: Arena, record: number): boolean {
  const { u32 } = arena;
  const word = (record + ENDPOINT.source) / 4;
  return (
    ((u32[word] as number) |
      (u32[word + 1] as number) |
      (u32[word + 2] as number) |
      (u32[word + 3] as number)) !==
    0
  );
}

/** Forgets the sticky source of the record at an arena offset. */
export function clearSource(arena: Arena, record: number): void {
  arena.u32.fill(0, (record + ENDPOINT.source) / 4, (record + ENDPOINT.carrier) / 4);
}
