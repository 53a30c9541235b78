/** A wg-quick file that has changed, against the device that runs: what to apply, as `wg syncconf`, and what it cannot. */
import { formatAddress, formatPrefix, type Prefix } from '../core/ip.ts';
import { PresharedKey, type PublicKey } from '../noise/keys.ts';
import type { DeviceChange, DeviceState, PeerChange, PeerState } from '../tunnel/config.ts';
import type { Endpoint } from '../tunnel/endpoint.ts';
import type { SettingChange } from './config/effective.ts';
import type { PeerSection, WgConf } from './wg-conf.ts';
import { formatFwmark, formatHostPort, formatInterfaceAddress } from './wg-conf-print.ts';

export interface ConfSync {
  readonly change: DeviceChange;
  readonly changed: readonly SettingChange[];
}

/**
 * Peers become those of the file; of a peer that stays, what is so already is not touched, and its endpoint only when
 * the file names another one than before. A key, port or mark that the file leaves out may have been set by a hook, and
 * stays.
 */
export function syncChange(
  before: WgConf,
  after: WgConf,
  state: DeviceState,
  endpointOf: (peer: PeerSection) => Endpoint | undefined,
): ConfSync {
  const sync = new Sync();
  const { privateKey, listenPort, fwmark } = after.device;
  if (privateKey && !(state.privateKey?.equals(privateKey) ?? false)) {
    sync.note('PrivateKey', '(hidden)', '(hidden)');
    sync.device.privateKey = privateKey;
  }
  if (listenPort !== undefined && listenPort !== 0 && listenPort !== state.listenPort) {
    sync.note('ListenPort', String(state.listenPort), String(listenPort));
    sync.device.listenPort = listenPort;
  }
  if (fwmark !== undefined && fwmark !== state.fwmark && !hasDefaultRoute(after)) {
    sync.note('FwMark', formatFwmark(state.fwmark), formatFwmark(fwmark));
    sync.device.fwmark = fwmark;
  }
  const running = new Map(state.peers.map((peer) => [peer.publicKey.hex, peer]));
  const old = new Map(before.peers.map((peer) => [peer.publicKey.hex, peer]));
  const wanted = new Set(after.peers.map(({ publicKey }) => publicKey.hex));
  for (const { publicKey } of state.peers) {
    if (wanted.has(publicKey.hex)) continue;
    sync.note(label(publicKey, old.get(publicKey.hex)), 'there', 'removed');
    sync.peers.push({ publicKey, remove: true });
  }
  for (const peer of after.peers) {
    sync.peer(peer, running.get(peer.publicKey.hex), old.get(peer.publicKey.hex), endpointOf(peer));
  }
  return { change: { ...sync.device, peers: sync.peers }, changed: sync.changed };
}

class Sync {
  readonly device: { -readonly [Key in 'privateKey' | 'listenPort' | 'fwmark']?: DeviceChange[Key] } = {};
  readonly peers: PeerChange[] = [];
  readonly changed: SettingChange[] = [];

  note(key: string, before: string | undefined, after: string | undefined): void {
    this.changed.push({ key, before, after });
  }

  peer(
    wanted: PeerSection,
    running: PeerState | undefined,
    old: PeerSection | undefined,
    endpoint: Endpoint | undefined,
  ): void {
    const { publicKey } = wanted;
    const name = label(publicKey, wanted);
    if (!running) this.note(name, undefined, 'added');
    const change: { -readonly [Key in keyof PeerChange]: PeerChange[Key] } = { publicKey };
    const set = <Key extends keyof PeerChange>(
      key: Key,
      value: PeerChange[Key],
      told: readonly [key: string, before: string | undefined, after: string | undefined],
    ) => {
      change[key] = value;
      if (running) this.note(`${name} ${told[0]}`, told[1], told[2]);
    };
    const presharedKey = wanted.presharedKey ?? PresharedKey.none;
    if (!(running?.presharedKey ?? PresharedKey.none).equals(presharedKey)) {
      set('presharedKey', presharedKey, ['PresharedKey', '(hidden)', '(hidden)']);
    }
    const keepalive = wanted.persistentKeepalive ?? 0;
    const keepaliveNow = running?.persistentKeepalive ?? 0;
    if (keepalive !== keepaliveNow) {
      set('persistentKeepalive', keepalive, ['PersistentKeepalive', String(keepaliveNow), String(keepalive)]);
    }
    const endpointText = wanted.endpoint && formatHostPort(wanted.endpoint);
    const endpointBefore = old?.endpoint && formatHostPort(old.endpoint);
    if (endpoint && (!running || endpointText !== endpointBefore)) {
      set('endpoint', endpoint, ['Endpoint', endpointBefore, endpointText]);
    }
    const prefixes = wantedPrefixes(wanted, running?.allowedIps ?? []);
    const textNow = textOf(running?.allowedIps ?? []);
    if (textOf(prefixes) !== textNow) {
      set('replaceAllowedIps', true, ['AllowedIPs', textNow, textOf(prefixes)]);
      change.allowedIps = prefixes.map((prefix) => ({ prefix, remove: false }));
    }
    if (!running || Object.keys(change).length > 1) this.peers.push(change);
  }
}

/** A list with `+` and `-` changes what is there. */
function wantedPrefixes({ allowedIps, isIncremental }: PeerSection, present: readonly Prefix[]): Prefix[] {
  const prefixes = new Map<string, Prefix>();
  if (isIncremental === true) for (const prefix of present) prefixes.set(formatPrefix(prefix), prefix);
  for (const { prefix, remove } of allowedIps) {
    if (remove) prefixes.delete(formatPrefix(prefix));
    else prefixes.set(formatPrefix(prefix), prefix);
  }
  return [...prefixes.values()];
}

function textOf(prefixes: readonly Prefix[]): string {
  return prefixes.map(formatPrefix).toSorted().join(', ');
}

function label(publicKey: PublicKey, section: PeerSection | undefined): string {
  return `Peer ${section?.name ?? publicKey.base64}`;
}

/** What only `culvert down` and `up` can change: it is set up in the system, once. */
export function restartChanges(before: WgConf, after: WgConf): SettingChange[] {
  const texts = (conf: WgConf): readonly (readonly [string, readonly string[]])[] => {
    const { device } = conf;
    const { addresses, dns, dnsSearch, mtu, table, saveConfig, fwmark } = device;
    const isRouted = table !== 'off';
    return [
      ['Address', addresses.map(formatInterfaceAddress)],
      ['DNS', [...dns.map(formatAddress), ...dnsSearch]],
      ['MTU', mtu === undefined ? [] : [String(mtu)]],
      ['Table', table === undefined ? [] : [table]],
      ['SaveConfig', saveConfig === undefined ? [] : [String(saveConfig)]],
      ['PreUp', device.preUp],
      ['PostUp', device.postUp],
      ['PreDown', device.preDown],
      ['PostDown', device.postDown],
      // Rules keep the tunnel's own packets out of it by the mark.
      ['FwMark', hasDefaultRoute(conf) && fwmark !== undefined ? [formatFwmark(fwmark)] : []],
      ['routes of AllowedIPs', isRouted ? routes(conf) : []],
    ];
  };
  const now = new Map(texts(after));
  return texts(before).flatMap(([key, was]) => {
    const [old, fresh] = [joined(was), joined(now.get(key) ?? [])];
    return old === fresh ? [] : [{ key, before: old, after: fresh }];
  });
}

function routes({ peers }: WgConf): string[] {
  const prefixes = peers.flatMap((peer) => wantedPrefixes(peer, []));
  return [...new Set(prefixes.map(formatPrefix))].toSorted();
}

function hasDefaultRoute({ device, peers }: WgConf): boolean {
  return (
    device.table !== 'off' &&
    peers.some(({ allowedIps }) => allowedIps.some(({ prefix, remove }) => !remove && prefix.length === 0))
  );
}

function joined(texts: readonly string[]): string | undefined {
  return texts.length === 0 ? undefined : texts.join(', ');
}
