/** The overlay's addresses: where the prefixes come from and how machines get theirs. */
import { createHash } from 'node:crypto';
import { AppError } from '../core/errors.ts';
import {
  type Address,
  formatAddress,
  formatSocketAddress,
  type Prefix,
  prefixContains,
  type SocketAddress,
} from '../core/ip.ts';
import type { Random } from '../core/random.ts';

/** Last byte of the prefix: what a SideroLink network is for. */
const PURPOSE_OVERLAY = 3;
const PURPOSE_VIRTUAL = 4;

/**
 * A unique local /64 (RFC 4193): the ninth to sixteenth byte from the end of SHA-256(installation id), byte 0 set to fd
 * and byte 7 to the purpose.
 */
export function derivePrefix(purpose: number, installationId = ''): Prefix {
  const digest = createHash('sha256').update(installationId, 'utf8').digest();
  const address = new Uint8Array(16);
  address.set(digest.subarray(16, 24));
  address[0] = 0xfd;
  address[7] = purpose;
  return { address, length: 64 };
}

/**
 * Overlay addresses of gateway and machines. Every deployment has installation id "" and so the same prefix, and it has
 * to: Talos trusts its management API to peers of fdXX:XXXX:XXXX:XX03::/64 only.
 */
export const OVERLAY_PREFIX: Prefix = derivePrefix(PURPOSE_OVERLAY);

/** Labels for machines reached through a gRPC stream; no packet ever carries such an address on a wire. */
export const VIRTUAL_PREFIX: Prefix = derivePrefix(PURPOSE_VIRTUAL);

/** The first address of the overlay. */
export const SERVER_ADDRESS: Address = withLow(OVERLAY_PREFIX, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1));

/** Cosmetic; the value that Omni hands out. */
export const VIRTUAL_PORT = 50_889;

export function isOverlayAddress(address: Address): boolean {
  return prefixContains(OVERLAY_PREFIX, address);
}

export function isVirtualAddress(address: Address): boolean {
  return prefixContains(VIRTUAL_PREFIX, address);
}

/** A node address nobody has. `isTaken` is asked with the printed form. */
export function randomNodeAddress(random: Random, isTaken: (address: string) => boolean): Address {
  return randomIn(OVERLAY_PREFIX, random, isTaken);
}

/** A virtual endpoint nobody has. */
export function randomVirtualEndpoint(random: Random, isTaken: (address: string) => boolean): SocketAddress {
  return { address: randomIn(VIRTUAL_PREFIX, random, isTaken), port: VIRTUAL_PORT };
}

/** `fdae:…/64`, as in `node_address_prefix`. */
export function nodeAddressPrefix(nodeAddress: string): string {
  return `${nodeAddress}/${OVERLAY_PREFIX.length}`;
}

/** The one spelling used as a key everywhere: RFC 5952 in brackets, port behind. */
export function virtualKey(endpoint: SocketAddress): string {
  return formatSocketAddress(endpoint);
}

/** 64 random bits collide about never; more than a few tries mean that the random source is broken. */
const MAX_TRIES = 16;

function randomIn(prefix: Prefix, random: Random, isTaken: (address: string) => boolean): Address {
  const low = new Uint8Array(8);
  for (let i = 0; i < MAX_TRIES; i++) {
    random.fill(low);
    const address = withLow(prefix, low);
    // The low 256 addresses stay free for the gateway and for services to come.
    if (low.subarray(0, 7).some((byte) => byte !== 0) && !isTaken(formatAddress(address))) return address;
  }
  throw new AppError(
    'internal',
    `no free address in ${MAX_TRIES} random ones: the random source repeats itself`,
  );
}

function withLow(prefix: Prefix, low: Uint8Array): Address {
  const address = prefix.address.slice();
  address.set(low, 8);
  return address;
}
