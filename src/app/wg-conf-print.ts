/** A WgConf back to text, and as the change it asks of a device. */
import { formatAddress, formatPrefix } from '../core/ip.ts';
import { PrivateKey } from '../noise/keys.ts';
import type { DeviceChange, PeerChange } from '../tunnel/config.ts';
import type { Endpoint } from '../tunnel/endpoint.ts';
import type { HostPort, InterfaceAddress, PeerSection, WgConf } from './wg-conf.ts';

/** Text that parses to the same WgConf. It holds the keys. */
export function printWgConf({ device, peers }: WgConf): string {
  const lines = ['[Interface]'];
  const add = (key: string, value: string | number | undefined) => {
    if (value !== undefined) lines.push(`${key} = ${value}`);
  };
  const list = (key: string, values: readonly string[]) => {
    if (values.length > 0) add(key, values.join(', '));
  };
  list('Address', device.addresses.map(formatInterfaceAddress));
  list('DNS', [...device.dns.map(formatAddress), ...device.dnsSearch]);
  add('MTU', device.mtu);
  add('Table', device.table);
  add('SaveConfig', device.saveConfig === undefined ? undefined : String(device.saveConfig));
  for (const command of device.preUp) add('PreUp', command);
  for (const command of device.postUp) add('PostUp', command);
  for (const command of device.preDown) add('PreDown', command);
  for (const command of device.postDown) add('PostDown', command);
  add('ListenPort', device.listenPort);
  add('FwMark', device.fwmark === undefined ? undefined : formatFwmark(device.fwmark));
  add('PrivateKey', device.privateKey?.exposeBase64());
  for (const peer of peers) {
    lines.push('', '[Peer]');
    if (peer.name !== undefined) lines.push(`# friendly_name = ${peer.name}`);
    add('PublicKey', peer.publicKey.base64);
    add('PresharedKey', peer.presharedKey?.exposeBase64());
    list('AllowedIPs', allowedIpTexts(peer));
    add('Endpoint', peer.endpoint && formatHostPort(peer.endpoint));
    add('PersistentKeepalive', peer.persistentKeepalive);
  }
  lines.push('');
  return lines.join('\n');
}

/** `off` or `0x...`, as `wg` prints it. */
export function formatFwmark(mark: number): string {
  return mark === 0 ? 'off' : `0x${mark.toString(16)}`;
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `10.0.0.1/24`, host bits and all. */
export function formatInterfaceAddress({ address, length }: InterfaceAddress): string {
  return `${formatAddress(address)}/${length}`;
}

function allowedIpTexts(peer: PeerSection): string[] {
  return peer.allowedIps.map(({ prefix, remove }) => {
    const sign = remove ? '-' : peer.isIncremental === true ? '+' : '';
    return sign + formatPrefix(prefix);
  });
}

/**
 * What `wg setconf` makes of the file: everything it does not mention is cleared. `endpointOf` gives the resolved
 * endpoint of a peer.
 */
export function toDeviceChange(
  conf: WgConf,
  endpointOf: (peer: PeerSection) => Endpoint | undefined,
): DeviceChange {
  const { privateKey, listenPort, fwmark } = conf.device;
  return {
    privateKey: privateKey ?? new PrivateKey(new Uint8Array(32)),
    listenPort: listenPort ?? 0,
    fwmark: fwmark ?? 0,
    replacePeers: true,
    peers: conf.peers.map((peer): PeerChange => {
      const endpoint = endpointOf(peer);
      return {
        publicKey: peer.publicKey,
        ...(peer.presharedKey ? { presharedKey: peer.presharedKey } : {}),
        ...(endpoint ? { endpoint } : {}),
        ...(peer.persistentKeepalive === undefined ? {} : { persistentKeepalive: peer.persistentKeepalive }),
        ...(peer.isIncremental === true ? {} : { replaceAllowedIps: true }),
        allowedIps: peer.allowedIps,
      };
    }),
  };
}
