/** The gateway's peers in a WireGuard device. */
import { AppError } from '../core/errors.ts';
import { parseAddress, parseSocketAddress } from '../core/ip.ts';
import { parseKeyBytes, PublicKey } from '../noise/keys.ts';
import type { PeerChange } from '../tunnel/config.ts';
import type { Device } from '../tunnel/device.ts';
import { type Endpoint, formatEndpoint, GRPC_CARRIER } from '../tunnel/endpoint.ts';
import { isVirtualAddress } from './addresses.ts';
import { OVERLAY_KEEPALIVE_S } from './constants.ts';
import type { OverlayDevice, OverlayPeerConfig, OverlayPeerState } from './gateway.ts';

/** The part of a device that is used here. */
export type OverlayTarget = Pick<Device, 'configure' | 'observe'>;

export class DeviceOverlay implements OverlayDevice {
  readonly #device: OverlayTarget;

  constructor(device: OverlayTarget) {
    this.#device = device;
  }

  async configure(remove: readonly string[], put: readonly OverlayPeerConfig[]): Promise<void> {
    const removals = remove.map((key): PeerChange => ({ publicKey: publicKeyOf(key), remove: true }));
    await this.#device.configure({ peers: [...removals, ...put.map(peerChange)] });
  }

  peer(publicKey: string): OverlayPeerState | undefined {
    const seen = this.#device.observe(publicKeyOf(publicKey));
    if (!seen) return undefined;
    const { handshakeAgeMs, receivedAgeMs, endpoint } = seen;
    // Before anything has come, the endpoint is merely what it was configured to be.
    const isHeard = receivedAgeMs < Infinity && endpoint !== undefined && endpoint.carrier !== GRPC_CARRIER;
    return { handshakeAgeMs, udpEndpoint: isHeard ? formatEndpoint(endpoint) : undefined };
  }
}

function peerChange({ publicKey, nodeAddress, endpoint }: OverlayPeerConfig): PeerChange {
  const address = parseAddress(nodeAddress);
  if (address?.length !== 16) throw new AppError('internal', `node address "${nodeAddress}" is not IPv6`);
  return {
    publicKey: publicKeyOf(publicKey),
    persistentKeepalive: OVERLAY_KEEPALIVE_S,
    replaceAllowedIps: true,
    allowedIps: [{ prefix: { address, length: 128 }, remove: false }],
    ...(endpoint === undefined ? {} : { endpoint: endpointOf(endpoint) }),
  };
}

/** Of `address:port` as in the records; virtual ones name streams. */
export function endpointOf(text: string): Endpoint {
  const parsed = parseSocketAddress(text);
  if (!parsed) throw new AppError('internal', `endpoint "${text}" is not address:port`);
  const { address, port, zone } = parsed;
  const carrier = isVirtualAddress(address) ? GRPC_CARRIER : 0;
  // formatEndpoint writes zones as numbers.
  return { address, port, scope: zone === undefined ? 0 : Number(zone), carrier };
}

function publicKeyOf(text: string): PublicKey {
  const bytes = parseKeyBytes(text);
  if (!bytes) throw new AppError('internal', `public key "${text}" is not a key`);
  return new PublicKey(bytes);
}
