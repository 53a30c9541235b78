/** A gateway over any store, with a device that only keeps its peers. */
import { type Address, parseAddress } from '../../src/core/ip.ts';
import { type Logger, silentLogger } from '../../src/core/log.ts';
import type { Random } from '../../src/core/random.ts';
import { Gateway, type OverlayDevice, type OverlayPeerConfig } from '../../src/link/gateway.ts';
import type { ProvisionCall } from '../../src/link/provision-context.ts';
import type { Store } from '../../src/link/store.ts';
import { StreamTable } from '../../src/link/stream-table.ts';
import type { RateLimit } from '../../src/link/token-bucket.ts';
import { FakeClock } from './clock.ts';

export const CALLER = parseAddress('192.0.2.1') as Address;

/** Fails when two peers have one address. */
export class PeerList implements OverlayDevice {
  readonly #peers = new Map<string, OverlayPeerConfig>();

  get size(): number {
    return this.#peers.size;
  }

  async configure(remove: readonly string[], put: readonly OverlayPeerConfig[]): Promise<void> {
    for (const publicKey of remove) this.#peers.delete(publicKey);
    for (const peer of put) this.#peers.set(peer.publicKey, peer);
    const addresses = Array.from(this.#peers.values(), ({ nodeAddress }) => nodeAddress);
    if (new Set(addresses).size !== addresses.length) throw new Error('two peers with one allowed IP');
  }

  peer(): undefined {}
}

export function randomKey(random: Random): string {
  const bytes = new Uint8Array(32);
  random.fill(bytes);
  return Buffer.from(bytes).toString('base64');
}

const NO_LIMIT: RateLimit = { perSecond: 1e9, burst: 1e9 };

export async function startGatewayOn(
  store: Store,
  random: Random,
  logger: Logger = silentLogger,
  device: OverlayDevice = new PeerList(),
  rateLimit: RateLimit = NO_LIMIT,
): Promise<Gateway> {
  return Gateway.start({
    store,
    device,
    streams: new StreamTable({ deliver: () => true }),
    settings: {
      joinMode: 'legacyAllowed',
      accept: 'auto',
      requireUniqueToken: false,
      pinUniqueTokens: true,
      tunnel: 'hint',
      endpoints: ['gw:50180'],
      serverPublicKey: randomKey(random),
      maxPending: 10,
      predefinedAddresses: new Map(),
    },
    clock: new FakeClock(),
    random,
    logger,
    rateLimit,
    useLastEndpoints: true,
  });
}

/** What a current Talos machine sends, with a unique token that goes with its name. */
export function callOf(name: string, publicKey: string, joinToken: string): ProvisionCall {
  return {
    nodeUuid: name,
    nodePublicKey: publicKey,
    joinToken,
    talosVersion: 'v1.9.0',
    nodeUniqueToken: JSON.stringify({ Fingerprint: name, Token: `unique token of ${name}` }),
  };
}
