/** SaveConfig: the file as the running interface is, written when it goes down. */
import { networkInterfaces } from 'node:os';
import { formatAddress, parseAddress } from '../core/ip.ts';
import type { DeviceState } from '../tunnel/config.ts';
import type { Endpoint } from '../tunnel/endpoint.ts';
import type { Zones } from '../tunnel/uapi-change.ts';
import { writePrivately } from './private-file.ts';
import type { HostPort, InterfaceAddress, PeerSection, WgConf } from './wg-conf.ts';
import { formatInterfaceAddress, printWgConf } from './wg-conf-print.ts';

/** Replaces the file at once or not at all; only its owner can read it. */
export function saveConfig(
  path: string,
  interfaceName: string,
  conf: WgConf,
  state: DeviceState,
  zones: Zones,
): void {
  writePrivately(path, printWgConf(savedConf(conf, state, zones, addressesOf(interfaceName, conf))));
}

/**
 * What wg-quick saves: keys, port, mark and peers as they are; MTU, Table, DNS and hooks as the file has them.
 * `addresses` undefined: those of the file.
 */
export function savedConf(
  { device, peers }: WgConf,
  state: DeviceState,
  zones: Zones,
  addresses: readonly InterfaceAddress[] | undefined,
): WgConf {
  const { privateKey: _key, listenPort: _port, fwmark: _mark, ...kept } = device;
  const names = new Map(peers.map((peer) => [peer.publicKey.hex, peer.name]));
  return {
    device: {
      ...kept,
      addresses: addresses ?? device.addresses,
      ...(state.privateKey ? { privateKey: state.privateKey } : {}),
      ...(state.listenPort === 0 ? {} : { listenPort: state.listenPort }),
      ...(state.fwmark === 0 ? {} : { fwmark: state.fwmark }),
    },
    peers: state.peers.map((peer): PeerSection => {
      const name = names.get(peer.publicKey.hex);
      const { endpoint, persistentKeepalive } = peer;
      return {
        publicKey: peer.publicKey,
        ...(name === undefined ? {} : { name }),
        ...(peer.presharedKey.isZero ? {} : { presharedKey: peer.presharedKey }),
        ...(endpoint ? { endpoint: hostPort(endpoint, zones) } : {}),
        allowedIps: peer.allowedIps.map((prefix) => ({ prefix, remove: false })),
        ...(persistentKeepalive === 0 ? {} : { persistentKeepalive }),
      };
    }),
  };
}

function hostPort({ address, port, scope }: Endpoint, zones: Zones): HostPort {
  const host = formatAddress(address);
  return { host: scope === 0 ? host : `${host}%${zones.name(scope) ?? scope}`, port };
}

/** The present addresses of the interface, without the link-local one that the kernel adds. */
function addressesOf(interfaceName: string, conf: WgConf): InterfaceAddress[] | undefined {
  const wanted = new Set(conf.device.addresses.map(formatInterfaceAddress));
  return networkInterfaces()[interfaceName]?.flatMap(({ address, cidr }) => {
    const bytes = parseAddress(address);
    if (!bytes || cidr === null) return [];
    const found = { address: bytes, length: Number(cidr.split('/')[1]) };
    const isLinkLocal = bytes[0] === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80;
    return isLinkLocal && !wanted.has(formatInterfaceAddress(found)) ? [] : [found];
  });
}
