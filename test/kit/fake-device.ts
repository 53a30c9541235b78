/** A device without crypto or sockets: it keeps what it is told, by the rules of `Configurable`. */
import { type Prefix, formatPrefix } from '../../src/core/ip.ts';
import { PresharedKey, PrivateKey } from '../../src/noise/keys.ts';
import type { Configurable, DeviceChange, DeviceState, PeerState } from '../../src/tunnel/config.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface FakePeer extends Mutable<Omit<PeerState, 'allowedIps'>> {
  readonly allowedIps: Map<string, Prefix>;
}

function withOwnKeys(change: DeviceChange): DeviceChange {
  const { privateKey, peers } = change;
  return {
    ...change,
    ...(privateKey ? { privateKey: new PrivateKey(privateKey.bytes) } : {}),
    peers: peers.map((peer) => ({
      ...peer,
      ...(peer.presharedKey ? { presharedKey: new PresharedKey(peer.presharedKey.bytes) } : {}),
    })),
  };
}

export class FakeDevice implements Configurable {
  /** Everything `configure` was called with; callers may wipe their keys afterwards. */
  readonly changes: DeviceChange[] = [];
  /** The same, as given. */
  readonly given: DeviceChange[] = [];
  /** When set, `configure` rejects with it. */
  failure: Error | undefined;
  /** Awaited inside `configure`. */
  gate: Promise<void> = Promise.resolve();
  readonly #device: Mutable<Omit<DeviceState, 'peers'>> = {
    privateKey: undefined,
    publicKey: undefined,
    listenPort: 0,
    fwmark: 0,
  };
  readonly #peers = new Map<string, FakePeer>();
  /** Each prefix belongs to one peer at most. */
  readonly #owners = new Map<string, FakePeer>();

  async configure(change: DeviceChange): Promise<void> {
    this.given.push(change);
    this.changes.push(withOwnKeys(change));
    await this.gate;
    if (this.failure) throw this.failure;
    if (change.privateKey)
      this.#device.privateKey = change.privateKey.isZero
        ? undefined
        : new PrivateKey(change.privateKey.bytes);
    if (change.listenPort !== undefined) this.#device.listenPort = change.listenPort;
    if (change.fwmark !== undefined) this.#device.fwmark = change.fwmark;
    if (change.replacePeers === true) {
      this.#peers.clear();
      this.#owners.clear();
    }
    for (const peerChange of change.peers) {
      const id = peerChange.publicKey.hex;
      let peer = this.#peers.get(id);
      if (peerChange.remove === true) {
        this.#peers.delete(id);
        for (const text of peer?.allowedIps.keys() ?? []) this.#owners.delete(text);
        continue;
      }
      if (!peer) {
        if (peerChange.updateOnly === true) continue;
        peer = emptyPeer(peerChange.publicKey);
        this.#peers.set(id, peer);
      }
      if (peerChange.presharedKey) peer.presharedKey = new PresharedKey(peerChange.presharedKey.bytes);
      if (peerChange.endpoint) peer.endpoint = peerChange.endpoint;
      if (peerChange.persistentKeepalive !== undefined)
        peer.persistentKeepalive = peerChange.persistentKeepalive;
      if (peerChange.replaceAllowedIps === true) {
        for (const text of peer.allowedIps.keys()) this.#owners.delete(text);
        peer.allowedIps.clear();
      }
      for (const { prefix, remove } of peerChange.allowedIps ?? []) {
        const text = formatPrefix(prefix);
        const owner = this.#owners.get(text);
        if (remove ? owner === peer : owner !== peer) {
          owner?.allowedIps.delete(text);
          this.#owners.delete(text);
        }
        if (remove) continue;
        this.#owners.set(text, peer);
        peer.allowedIps.set(text, prefix);
      }
    }
  }

  state(): DeviceState {
    return {
      ...this.#device,
      peers: Array.from(this.#peers.values(), (peer) => ({
        ...peer,
        allowedIps: [...peer.allowedIps.values()],
      })),
    };
  }

  /** What a running device would have counted. */
  observe(
    publicKeyHex: string,
    seen: Partial<Pick<PeerState, 'lastHandshakeMs' | 'txBytes' | 'rxBytes'>>,
  ): void {
    const peer = this.#peers.get(publicKeyHex);
    if (peer) Object.assign(peer, seen);
  }
}

function emptyPeer(publicKey: PeerState['publicKey']): FakePeer {
  return {
    publicKey,
    presharedKey: PresharedKey.none,
    endpoint: undefined,
    lastHandshakeMs: 0,
    txBytes: 0n,
    rxBytes: 0n,
    persistentKeepalive: 0,
    allowedIps: new Map(),
  };
}
