/** The interface of the overlay: a WireGuard device with one peer, the gateway, reached by UDP or by streams. */
import { readFileSync, writeFileSync } from 'node:fs';
import { AppError } from '../../core/errors.ts';
import { type Address, formatAddress, parseAddress, type SocketAddress } from '../../core/ip.ts';
import type { Logger } from '../../core/log.ts';
import type { ConfiguredLink, Link } from '../../link/agent-link.ts';
import { OVERLAY_KEEPALIVE_S, OVERLAY_MTU } from '../../link/constants.ts';
import { parseKeyBytes, type PrivateKey, PublicKey } from '../../noise/keys.ts';
import { EADDRNOTAVAIL, EEXIST } from '../../sys/errno.ts';
import type { DeviceChange, DeviceState, PeerObservation } from '../../tunnel/config.ts';
import { type Endpoint, GRPC_CARRIER } from '../../tunnel/endpoint.ts';
import { ignoring, linkIndex, withRoutes } from '../routes.ts';

/** The parts of tunnel.Device in use here. */
export interface OverlayDevice {
  configure(change: DeviceChange): Promise<void>;
  state(): DeviceState;
  observe(publicKey: PublicKey): PeerObservation | undefined;
  setOnlyDestination(address: Address): void;
  startHandshake(publicKey: PublicKey): void;
  probe(publicKey: PublicKey, endpoint: Endpoint): boolean;
}

/** The interface's addresses and flags. */
export interface LinkSettings {
  setAddress(interfaceName: string, address: Address, previous: Address | undefined): void;
  setUp(interfaceName: string, isUp: boolean): void;
}

const PREFIX_LENGTH = 64;
const HOST_PREFIX_LENGTH = 128;

export class Overlay {
  readonly #interfaceName: string;
  readonly #privateKey: PrivateKey;
  readonly #device: OverlayDevice;
  readonly #settings: LinkSettings;
  readonly #logger: Logger;
  #link: Link | undefined;
  #publicKey: PublicKey | undefined;

  constructor(options: {
    readonly interfaceName: string;
    readonly privateKey: PrivateKey;
    readonly device: OverlayDevice;
    readonly settings: LinkSettings;
    readonly logger: Logger;
  }) {
    this.#interfaceName = options.interfaceName;
    this.#privateKey = options.privateKey;
    this.#device = options.device;
    this.#settings = options.settings;
    this.#logger = options.logger;
  }

  /** Makes the interface so. Only what is another than before is touched: sessions live on. */
  async apply({ link, endpoint, via }: ConfiguredLink): Promise<void> {
    const before = this.#link;
    const address = addressOf(link);
    const previous = before && addressOf(before);
    if (!previous || formatAddress(previous) !== formatAddress(address)) {
      // The gateway reaches this machine, and nothing through it.
      this.#device.setOnlyDestination(address);
      this.#settings.setAddress(this.#interfaceName, address, previous);
      this.#logger.log('info', 'overlay_address', { address: formatAddress(address) });
    }
    this.#link = link;
    const publicKey = new PublicKey(parseKeyBytes(link.serverPublicKey) as Uint8Array);
    const isSamePeer = this.#publicKey?.equals(publicKey) ?? false;
    this.#publicKey = publicKey;
    await this.#device.configure({
      ...(before ? {} : { privateKey: this.#privateKey }),
      replacePeers: !isSamePeer,
      peers: [
        {
          publicKey,
          endpoint: {
            address: endpoint.address,
            port: endpoint.port,
            scope: 0,
            carrier: via === 'grpc' ? GRPC_CARRIER : 0,
          },
          ...(isSamePeer && before?.serverAddress === link.serverAddress
            ? {}
            : {
                persistentKeepalive: OVERLAY_KEEPALIVE_S,
                replaceAllowedIps: true,
                allowedIps: [
                  { prefix: { address: serverAddressOf(link), length: HOST_PREFIX_LENGTH }, remove: false },
                ],
              }),
        },
      ],
    });
    if (!before) this.#settings.setUp(this.#interfaceName, true);
  }

  startHandshake(): void {
    if (this.#publicKey) this.#device.startHandshake(this.#publicKey);
  }

  /** Tries a handshake over UDP beside the tunnel. False: there may be none now. */
  probe({ address, port }: SocketAddress): boolean {
    const key = this.#publicKey;
    return key !== undefined && this.#device.probe(key, { address, port, scope: 0, carrier: 0 });
  }

  observe(): PeerObservation | undefined {
    return this.#publicKey && this.#device.observe(this.#publicKey);
  }

  /** The peer's counters. */
  transferred(): { receivedBytes: number; sentBytes: number } {
    const peer = this.#device.state().peers.find(({ publicKey }) => this.#publicKey?.equals(publicKey));
    return { receivedBytes: Number(peer?.rxBytes ?? 0n), sentBytes: Number(peer?.txBytes ?? 0n) };
  }
}

/** `address` of `address/64`. */
export function addressOf(link: Link): Address {
  return parseAddress(link.nodeAddressPrefix.split('/')[0] as string) as Address;
}

export function serverAddressOf(link: Link): Address {
  return parseAddress(link.serverAddress) as Address;
}

/** By rtnetlink. The new address comes before the old one goes. */
export const systemLinkSettings: LinkSettings = {
  setAddress: (interfaceName, address, previous) =>
    withRoutes((routes) => {
      const index = linkIndex(routes, interfaceName);
      allowIpv6(interfaceName);
      ignoring([EEXIST], () => routes.addAddress(index, address, PREFIX_LENGTH));
      if (previous) ignoring([EADDRNOTAVAIL], () => routes.deleteAddress(index, previous, PREFIX_LENGTH));
    }),
  setUp: (interfaceName, isUp) =>
    withRoutes((routes) => {
      const index = linkIndex(routes, interfaceName);
      routes.setLinkMtu(index, OVERLAY_MTU);
      routes.setLinkUp(index, isUp);
    }),
};

/** Hosts that switched IPv6 off for all interfaces get it for this one: the overlay knows nothing else. */
function allowIpv6(interfaceName: string): void {
  const path = `/proc/sys/net/ipv6/conf/${interfaceName}/disable_ipv6`;
  let value: string;
  try {
    value = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new AppError('unavailable', 'this kernel has no IPv6', {
      cause: error,
      hint: 'boot it without ipv6.disable=1',
    });
  }
  if (value !== '0') writeFileSync(path, '0');
}
