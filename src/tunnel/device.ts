/**
 * A WireGuard device: its peers and their configuration, up and down. Sans-I/O: time, chance, sockets and packets come
 * in through interfaces; `advance` is called when `nextDeadline` has come.
 */
import type { Clock } from '../core/clock.ts';
import { AppError, configError } from '../core/errors.ts';
import { type Address, formatPrefix } from '../core/ip.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { CookieChecker } from '../noise/cookie.ts';
import type { Crypto } from '../noise/crypto.ts';
import { LocalIdentity } from '../noise/identity.ts';
import { PrivateKey, type PublicKey } from '../noise/keys.ts';
import type { Bind } from './bind.ts';
import type {
  Configurable,
  DeviceChange,
  DeviceState,
  PeerChange,
  PeerObservation,
  PeerState,
} from './config.ts';
import { Deadlines } from './deadlines.ts';
import { encodeEndpoint, ENDPOINT, type Endpoint } from './endpoint.ts';
import { HandshakeQueue } from './handshake-queue.ts';
import { HandshakeStats } from './handshake-stats.ts';
import { IndexTable } from './index-table.ts';
import type { BandwidthLimits } from './lane/bandwidth.ts';
import type { LaneEvents, LaneFigures, LaneHost } from './lane/control.ts';
import { DROP_REASONS, DropCounters, type DropReason } from './lane/drops.ts';
import { Peer, type PeerContext } from './peer.ts';

/** As in wireguard-go. */
export const MAX_PEERS = 65_536;

/** Until the TUN device says otherwise. */
const DEFAULT_MTU = 1420;

export interface DeviceOptions {
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly bind: Bind;
  /** Makes the lane host; the device is its event sink. */
  readonly createLane: (events: LaneEvents) => LaneHost;
  /** Runs a task in a later turn of the event loop. */
  readonly defer: (task: () => void) => void;
  /** Told when the next deadline moves forward. */
  readonly onEarlierDeadline?: (at: number) => void;
}

export class Device implements Configurable, LaneEvents {
  readonly #options: DeviceOptions;
  readonly #lane: LaneHost;
  readonly #deadlines: Deadlines;
  readonly #indices: IndexTable<Peer>;
  readonly #drops = new DropCounters();
  readonly #handshakes: HandshakeQueue;
  readonly handshakes: HandshakeStats = new HandshakeStats();
  readonly #peerContext: PeerContext;
  readonly #peers = new Map<string, Peer>();
  readonly #peersById = new Map<number, Peer>();
  /** Who has a prefix, so that it can move. */
  readonly #owners = new Map<string, Peer>();
  #lastPeerId = 0;
  #privateKey: PrivateKey | undefined;
  #identity: LocalIdentity | undefined;
  #cookies: CookieChecker | undefined;
  #listenPort = 0;
  #fwmark = 0;
  #mtu = DEFAULT_MTU;
  #onlyDestination: Address | undefined;
  /** As set while it runs. */
  #bandwidth: BandwidthLimits | undefined;
  #isUp = false;
  #isClosed = false;
  /** Configuration, up and down happen one after the other. */
  #serial: Promise<unknown> = Promise.resolve();

  constructor(options: DeviceOptions) {
    this.#options = options;
    const { clock, crypto, random, logger, defer } = options;
    this.#deadlines = new Deadlines(options.onEarlierDeadline);
    this.#indices = new IndexTable<Peer>(random);
    this.#lane = options.createLane(this);
    this.#peerContext = {
      crypto,
      clock,
      random,
      logger,
      lane: this.#lane,
      indices: this.#indices,
      deadlines: this.#deadlines,
      handshakes: this.handshakes,
    };
    this.#handshakes = new HandshakeQueue({
      clock,
      logger,
      defer,
      lane: this.#lane,
      indices: this.#indices,
      drops: this.#drops,
      identity: () => this.#identity,
      cookies: () => this.#cookies,
      findPeer: (publicKey) => this.#peers.get(publicKey.hex),
    });
    this.#lane.start();
  }

  // Time.

  get nextDeadline(): number {
    return this.#deadlines.next;
  }

  /** Fires what is due. Returns the next deadline (Clock.now() scale), Infinity when there is none. */
  advance(now: number): number {
    return this.#deadlines.advance(now);
  }

  /** Names and times of armed timers, for diagnostics and tests. */
  timers(): { name: string; at: number }[] {
    return this.#deadlines.armed().map(({ name, at }) => ({ name, at }));
  }

  // Life cycle.

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Opens the sockets and starts the peers. Rejects with SystemError when the port is taken. */
  up(): Promise<void> {
    return this.#serially(async () => {
      if (this.#isUp || this.#isClosed) return;
      this.#listenPort = await this.#options.bind.open(this.#listenPort);
      this.#isUp = true;
      for (const peer of this.#peers.values()) peer.start();
      // Last: packets may wait in the TUN already, and want a handshake.
      this.#lane.setUp(true);
      this.#options.logger.log('info', 'device_up', { port: this.#listenPort });
    });
  }

  /** Ends all sessions and closes the sockets. The configuration stays. */
  down(): Promise<void> {
    return this.#serially(() => this.#down());
  }

  /** Down for good; wipes keys. */
  close(): Promise<void> {
    return this.#serially(async () => {
      if (this.#isClosed) return;
      await this.#down();
      this.#isClosed = true;
      this.#options.logger.log('debug', 'dropped_packets', this.#dropped());
      for (const peer of this.#peers.values()) peer.remove();
      this.#peers.clear();
      this.#peersById.clear();
      this.#owners.clear();
      this.#setPrivateKey(undefined);
      await this.#lane.close();
    });
  }

  /** MTU of the TUN device. */
  setMtu(mtu: number): void {
    this.#mtu = mtu;
    this.#lane.setMtu(mtu);
  }

  /**
   * IPv6: peers reach this machine under `address` and nothing through it. For devices whose address is not known when
   * they start; LanePolicy has it for the others.
   */
  setOnlyDestination(address: Address): void {
    this.#onlyDestination = address;
    this.#lane.setOnlyDestination(address);
  }

  /** In place of those of LanePolicy; without members there are none. */
  setBandwidth(limits: BandwidthLimits): void {
    this.#bandwidth = limits;
    this.#lane.setBandwidth(limits);
  }

  /** The lane host had to start anew. Sessions are lost and made again. */
  laneRestarted(): void {
    this.#lane.setMtu(this.#mtu);
    if (this.#onlyDestination) this.#lane.setOnlyDestination(this.#onlyDestination);
    if (this.#bandwidth) this.#lane.setBandwidth(this.#bandwidth);
    this.#lane.setUp(this.#isUp);
    for (const peer of this.#peers.values()) peer.rejoin();
  }

  /**
   * Routes or addresses of the machine changed. Sources that they contradict are given up; a server that gave up all of
   * them would answer from addresses that clients behind a NAT do not know.
   */
  routesChanged(): void {
    this.#lane.routesChanged();
  }

  // Configuration.

  configure(change: DeviceChange): Promise<void> {
    return this.#serially(async () => {
      // What a closed device is given would never be wiped.
      if (this.#isClosed) throw new AppError('not_found', 'the device is closed');
      // The steps that can fail come first, so that a refused change has changed nothing.
      this.#checkPeerCount(change);
      const { fwmark = this.#fwmark, listenPort = this.#listenPort } = change;
      if (fwmark !== this.#fwmark) this.#options.bind.setMark(fwmark);
      if (listenPort !== this.#listenPort) {
        try {
          this.#listenPort = this.#isUp ? await this.#options.bind.open(listenPort) : listenPort;
        } catch (error) {
          this.#options.bind.setMark(this.#fwmark);
          throw error;
        }
      }
      if (change.fwmark !== undefined || change.listenPort !== undefined) this.#lane.clearSource(0);
      this.#fwmark = fwmark;
      this.#apply(change);
    });
  }

  state(): DeviceState {
    return {
      privateKey: this.#privateKey,
      publicKey: this.#identity?.publicKey,
      listenPort: this.#listenPort,
      fwmark: this.#fwmark,
      peers: [...this.#peers.values()].map((peer) => peer.state()),
    };
  }

  get publicKey(): PublicKey | undefined {
    return this.#identity?.publicKey;
  }

  /** Of UDP; 0 when never bound. */
  get listenPort(): number {
    return this.#listenPort;
  }

  /** MTU of the TUN device. */
  get mtu(): number {
    return this.#mtu;
  }

  get peerCount(): number {
    return this.#peers.size;
  }

  /** Each peer as it is when it is asked for, so that a reader may take its time; peers may come and go meanwhile. */
  *peerStates(): Generator<PeerState, void> {
    for (const peer of this.#peers.values()) yield peer.state();
  }

  /** Undefined for an unknown peer. */
  observe(publicKey: PublicKey): PeerObservation | undefined {
    return this.#peers.get(publicKey.hex)?.observe();
  }

  /** Starts a handshake, unless one was started in the last 5 s; then it follows as soon as may be. */
  startHandshake(publicKey: PublicKey): void {
    this.#peers.get(publicKey.hex)?.startHandshake();
  }

  /**
   * Asks the peer for a handshake by way of another endpoint than its own, which follows when it answers; until then
   * packets go where they went. False when that cannot be done now, as within 5 s of another handshake.
   */
  probe(publicKey: PublicKey, endpoint: Endpoint): boolean {
    const record = new Uint8Array(ENDPOINT.size);
    encodeEndpoint(endpoint, record, 0);
    return this.#peers.get(publicKey.hex)?.probe(record) ?? false;
  }

  /** Packets dropped since the start, on either plane. */
  dropped(reason: DropReason): bigint {
    return this.#drops.get(reason) + this.#lane.dropped(reason);
  }

  #dropped(): Record<string, number> {
    const counts = DROP_REASONS.map((reason) => [reason, Number(this.dropped(reason))] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  /** What waits in the lanes, and what their bind has met. */
  laneFigures(): LaneFigures {
    return this.#lane.figures();
  }

  /** Handshake messages that wait to be served. */
  get queuedHandshakes(): number {
    return this.#handshakes.length;
  }

  /** Handshakes come faster than they are served: cookies are demanded. */
  get isUnderLoad(): boolean {
    return this.#handshakes.isUnderLoad(this.#options.clock.now());
  }

  // LaneEvents.

  handshake(datagram: Uint8Array, endpoint: Uint8Array): void {
    if (this.#isUp) this.#handshakes.push(datagram, endpoint);
  }

  activity(peer: number, bits: number): void {
    this.#peersById.get(peer)?.activity(bits);
  }

  confirmed(peer: number, index: number): void {
    this.#peersById.get(peer)?.confirmed(index);
  }

  roamed(peer: number, endpoint: Uint8Array): void {
    this.#peersById.get(peer)?.roamed(endpoint);
  }

  #serially<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#serial.then(task);
    this.#serial = result.catch(() => {});
    return result;
  }

  async #down(): Promise<void> {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#lane.setUp(false);
    this.#handshakes.clear();
    for (const peer of this.#peers.values()) peer.stop();
    await this.#options.bind.close();
    this.#options.logger.log('info', 'device_down');
  }

  #checkPeerCount({ replacePeers = false, peers }: DeviceChange): void {
    const names = new Set(replacePeers ? [] : this.#peers.keys());
    for (const { publicKey, remove = false, updateOnly = false } of peers) {
      if (remove) names.delete(publicKey.hex);
      else if (!updateOnly) names.add(publicKey.hex);
    }
    if (names.size > MAX_PEERS) {
      throw configError('peers', `${names.size} are more than the ${MAX_PEERS} that a device can have`);
    }
  }

  #apply(change: DeviceChange): void {
    if (change.privateKey) this.#setPrivateKey(change.privateKey.isZero ? undefined : change.privateKey);
    if (change.replacePeers) for (const peer of this.#peers.values()) this.#removePeer(peer);
    for (const peerChange of change.peers) this.#applyPeer(peerChange);
  }

  #setPrivateKey(key: PrivateKey | undefined): void {
    if (key && this.#privateKey?.equals(key)) return;
    this.#identity?.zero();
    this.#cookies?.zero();
    this.#privateKey?.zero();
    this.#privateKey = key && new PrivateKey(key.bytes);
    this.#identity = this.#privateKey && new LocalIdentity(this.#options.crypto, this.#privateKey);
    this.#cookies = this.#identity && new CookieChecker(this.#identity, this.#options.random);
    const self = this.#identity && this.#peers.get(this.#identity.publicKey.hex);
    if (self) this.#removePeer(self);
    for (const peer of this.#peers.values()) peer.setIdentity(this.#identity);
  }

  #applyPeer(change: PeerChange): void {
    const peer = this.#peers.get(change.publicKey.hex);
    if (change.remove) {
      if (peer) this.#removePeer(peer);
      return;
    }
    if (!peer && change.updateOnly) return;
    const target = peer ?? this.#addPeer(change.publicKey);
    if (!target) return;
    if (change.presharedKey) target.setPresharedKey(change.presharedKey);
    if (change.endpoint) target.setEndpoint(change.endpoint);
    if (change.replaceAllowedIps) {
      for (const prefix of target.allowedIps) {
        target.removeAllowedIp(prefix);
        this.#owners.delete(formatPrefix(prefix));
      }
    }
    for (const { prefix, remove } of change.allowedIps ?? []) {
      const key = formatPrefix(prefix);
      const owner = this.#owners.get(key);
      if (remove) {
        if (owner === target && target.removeAllowedIp(prefix)) this.#owners.delete(key);
      } else if (owner !== target) {
        owner?.removeAllowedIp(prefix);
        target.addAllowedIp(prefix);
        this.#owners.set(key, target);
      }
    }
    // Last, because a keepalive may start a handshake, which wants everything above.
    if (change.persistentKeepalive !== undefined) target.setPersistentKeepalive(change.persistentKeepalive);
    if (!this.#isUp) return;
    target.start();
    this.#lane.sendStaged(target.id);
  }

  /** A device's own key is no peer: such a section is ignored without a word, as in the kernel. */
  #addPeer(publicKey: PublicKey): Peer | undefined {
    if (this.#identity?.publicKey.equals(publicKey)) return undefined;
    const peer = new Peer(++this.#lastPeerId, publicKey, this.#identity, this.#peerContext);
    this.#peers.set(publicKey.hex, peer);
    this.#peersById.set(peer.id, peer);
    return peer;
  }

  #removePeer(peer: Peer): void {
    for (const prefix of peer.allowedIps) this.#owners.delete(formatPrefix(prefix));
    peer.remove();
    this.#peers.delete(peer.publicKey.hex);
    this.#peersById.delete(peer.id);
  }
}
