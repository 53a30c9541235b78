/**
 * Both lanes over one set of tables, for a host that runs them on one thread. Of a pair, each host uses one of them and
 * the other stays idle.
 */
import type { Clock } from '../../core/clock.ts';
import type { TransportAead } from '../../noise/aead.ts';
import type { Arena } from '../../core/arena.ts';
import { DestinationFilter } from '../../tun/destination-filter.ts';
import type { PacketPort } from '../../tun/tun.ts';
import type { DatagramPort } from '../bind.ts';
import { ENDPOINT } from '../endpoint.ts';
import type { BandwidthLimits } from './bandwidth.ts';
import type {
  LaneCommands,
  LaneEvents,
  LaneFigures,
  LaneKeypairInit,
  LaneReadings,
  PeerCounters,
} from './control.ts';
import { DropCounters, type DropReason } from './drops.ts';
import { LaneGauges } from './gauges.ts';
import { Inbound } from './inbound.ts';
import type { LaneNews } from './lane-news.ts';
import { Outbound } from './outbound.ts';
import type { LanePolicy } from './policy.ts';
import { LaneTables, PEER_RECORD } from './tables.ts';

export interface LaneOptions {
  readonly arena: Arena;
  readonly aead: TransportAead;
  readonly clock: Clock;
  readonly tun: PacketPort;
  readonly bind: DatagramPort;
  readonly events: LaneEvents;
  readonly policy?: LanePolicy;
  /** Of two lanes that move one direction each: inbound tells, outbound hears. */
  readonly tells?: LaneNews | undefined;
  readonly hears?: LaneNews | undefined;
  /** Called between receiving datagrams and serving them; may give commands. */
  readonly catchUp?: (() => void) | undefined;
}

export class Lane implements LaneCommands, LaneReadings {
  readonly #clock: Clock;
  readonly #events: LaneEvents;
  readonly #arena: Arena;
  readonly #bind: DatagramPort;
  readonly #tables: LaneTables;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #drops: DropCounters;
  /** Arena offsets of the drop counters and of the gauges. */
  readonly dropCountersAt: number;
  readonly gaugesAt: number;
  readonly gauges: LaneGauges;
  #reporting = false;
  #reportedAt = 0;
  readonly #reportActivity = (peer: number, bits: number): void =>
    this.#events.activity(peer, bits, this.#reportedAt);

  constructor(options: LaneOptions) {
    this.#clock = options.clock;
    this.#events = options.events;
    this.#arena = options.arena;
    this.#bind = options.bind;
    this.dropCountersAt = options.arena.alloc(DropCounters.words * 4);
    this.gaugesAt = options.arena.alloc(LaneGauges.words * 4);
    this.#drops = new DropCounters(options.arena.words(this.dropCountersAt, DropCounters.words));
    this.gauges = new LaneGauges(options.arena.words(this.gaugesAt, LaneGauges.words));
    this.#tables = new LaneTables(options.arena, options.aead, options.policy);
    const { tun, bind, events, catchUp, tells, hears } = options;
    this.#outbound = new Outbound(this.#tables, tun, bind, this.#drops, this.gauges, hears);
    this.#inbound = new Inbound(this.#tables, tun, bind, this.#drops, events, { catchUp, tells });
  }

  /**
   * Moves up to `burst` packets from the TUN. Returns how many, or PORT_GONE. With `hurry` the first one leaves before
   * the TUN is asked for more.
   */
  pumpOutbound(burst: number, hurry = false): number {
    const now = this.#clock.now();
    const moved = this.#outbound.pump(now, burst, hurry);
    this.#report(now);
    return moved;
  }

  /** Takes one batch from the bind. Returns the number of datagrams. */
  pumpInbound(): number {
    const now = this.#clock.now();
    const moved = this.#inbound.pump(now);
    this.#report(now);
    this.#inbound.report();
    return moved;
  }

  /** Arena offset of a peer's record (PEER_RECORD), for readers on other threads; 0 when there is no such peer. */
  recordOf(peer: number): number {
    return this.#tables.peer(peer)?.record ?? 0;
  }

  addPeer(peer: number): void {
    this.#tables.addPeer(peer);
  }

  removePeer(peer: number): void {
    this.dropStaged(peer);
    this.#tables.removePeer(peer);
  }

  setEndpoint(id: number, endpoint: Uint8Array): void {
    // What was learnt before must not come after.
    this.#outbound.hear();
    const peer = this.#tables.peer(id);
    if (peer) this.#arena.u8.set(endpoint, peer.record + PEER_RECORD.endpoint);
  }

  clearSource(id: number): void {
    this.#outbound.hear();
    const peer = this.#tables.peer(id);
    for (const each of id === 0 ? this.#tables.peers() : peer ? [peer] : []) {
      const at = each.record + PEER_RECORD.endpoint;
      this.#arena.u8.fill(0, at + ENDPOINT.source, at + ENDPOINT.carrier);
    }
  }

  routesChanged(): void {
    this.#bind.routesChanged?.();
  }

  addAllowedIp(peer: number, address: Uint8Array, length: number): void {
    this.#tables.trie(address).insert(address, length, peer);
  }

  removeAllowedIp(peer: number, address: Uint8Array, length: number): void {
    this.#tables.trie(address).remove(address, length, peer);
  }

  addKeypair(keypair: LaneKeypairInit): void {
    this.#tables.addKeypair(keypair);
  }

  removeKeypair(index: number): void {
    this.#tables.removeKeypair(index);
  }

  useKeypair(id: number, index: number): void {
    const peer = this.#tables.peer(id);
    if (!peer) return;
    const keypair = this.#tables.keypair(index);
    peer.current = keypair?.peer === peer ? keypair : undefined;
    // Whatever the choice, it is newer than a keypair that waits to be confirmed.
    peer.next = undefined;
  }

  sendStaged(id: number): void {
    const peer = this.#tables.peer(id);
    if (!peer) return;
    const now = this.#clock.now();
    this.#outbound.sendStaged(peer, now);
    this.#report(now);
  }

  sendHandshake(id: number, datagram: Uint8Array): void {
    const peer = this.#tables.peer(id);
    if (peer && this.#tables.hasEndpoint(peer)) {
      this.#outbound.sendMessage(datagram, peer.record + PEER_RECORD.endpoint);
    }
  }

  sendTo(endpoint: Uint8Array, datagram: Uint8Array): void {
    this.#outbound.sendMessage(datagram, endpoint);
  }

  sendKeepalive(id: number): void {
    const peer = this.#tables.peer(id);
    if (!peer) return;
    const now = this.#clock.now();
    this.#outbound.sendKeepalive(peer, now);
    this.#report(now);
  }

  dropStaged(id: number): void {
    const peer = this.#tables.peer(id);
    if (peer) this.#outbound.dropStaged(peer);
  }

  setMtu(mtu: number): void {
    this.#tables.mtu = mtu;
  }

  setOnlyDestination(address: Uint8Array): void {
    this.#tables.filter = new DestinationFilter(address);
  }

  setBandwidth(limits: BandwidthLimits): void {
    this.#tables.setBandwidth(limits);
  }

  setUp(up: boolean): void {
    this.#tables.isUp = up;
  }

  /** For hosts, which may drop as well: `reason` is an index of DROP. */
  countDrop(reason: number): void {
    this.#drops.count(reason);
  }

  dropped(reason: DropReason): bigint {
    return this.#drops.get(reason);
  }

  counters(peer: number): PeerCounters {
    return this.#tables.counters(peer);
  }

  figures(): LaneFigures {
    this.showBind();
    return this.gauges.figures(undefined);
  }

  /** Brings the gauges of the bind up to date, for readers on other threads. */
  showBind(): void {
    this.gauges.showBind(this.#bind);
  }

  /** A command given while an event is being handled must not start a second round inside the first. */
  #report(at: number): void {
    if (this.#reporting) return;
    this.#reporting = true;
    this.#reportedAt = at;
    this.#tables.takeActivity(this.#reportActivity);
    this.#reporting = false;
  }
}
