/** Two sides of a session without a control plane: keys are given, events are only recorded. */
import { NobleTransportAead } from '../../src/noise/aead-noble.ts';
import { MemoryTun } from '../../src/tun/memory.ts';
import { MemoryBind, MemoryNetwork, type WireDatagram } from '../../src/tunnel/bind-memory.ts';
import { encodeEndpoint, type Endpoint } from '../../src/tunnel/endpoint.ts';
import type { LaneEvents } from '../../src/tunnel/lane/control.ts';
import { DROP_REASONS, DropCounters, type DropReason } from '../../src/tunnel/lane/drops.ts';
import { LaneGauges } from '../../src/tunnel/lane/gauges.ts';
import { Inbound } from '../../src/tunnel/lane/inbound.ts';
import { Outbound } from '../../src/tunnel/lane/outbound.ts';
import { LaneTables, PEER_RECORD, type LaneKeypair, type LanePeer } from '../../src/tunnel/lane/tables.ts';
import { GuardedArena } from './guarded-arena.ts';
import { address, prefix } from './pair.ts';

/** The one peer of a side. */
export const PEER = 1;
/** Packets of one `pump`; more than a batch. */
const BURST = 1024;

export class LaneSide {
  readonly arena = new GuardedArena({ bytes: 2 << 20 });
  readonly tun = new MemoryTun(this.arena, 'lane');
  readonly drops = new DropCounters();
  readonly gauges = new LaneGauges();
  readonly tables: LaneTables;
  readonly bind: MemoryBind;
  readonly outbound: Outbound;
  readonly inbound: Inbound;
  /** Name and arguments of each event. */
  readonly events: (readonly [string, ...unknown[]])[] = [];
  now = 1_000;
  /** What the inbound lane does between receiving datagrams and serving them. */
  catchUp = (): void => {};

  constructor(network: MemoryNetwork, host: string) {
    this.bind = new MemoryBind(network, this.arena, [address(host)]);
    this.tables = new LaneTables(this.arena, new NobleTransportAead(this.arena));
    this.tables.isUp = true;
    this.outbound = new Outbound(this.tables, this.tun, this.bind, this.drops, this.gauges);
    const events: LaneEvents = {
      handshake: (...event) => this.events.push(['handshake', ...event]),
      activity: (...event) => this.events.push(['activity', ...event]),
      confirmed: (...event) => this.events.push(['confirmed', ...event]),
      roamed: (...event) => this.events.push(['roamed', ...event]),
    };
    this.inbound = new Inbound(this.tables, this.tun, this.bind, this.drops, events, {
      catchUp: () => this.catchUp(),
    });
    this.tun.setLink(true);
  }

  addPeer(id: number, endpoint: Endpoint, allowed: string): LanePeer {
    this.tables.addPeer(id);
    const peer = this.tables.peer(id) as LanePeer;
    encodeEndpoint(endpoint, this.arena.u8, peer.record + PEER_RECORD.endpoint);
    const { address: network, length } = prefix(allowed);
    this.tables.trie(network).insert(network, length, id);
    return peer;
  }

  get peer(): LanePeer {
    return this.tables.peer(PEER) as LanePeer;
  }

  /** Sends packets of the TUN. Returns the ACTIVITY bits that this left. */
  send(...packets: readonly Uint8Array[]): number {
    this.tun.inject(...packets);
    while (this.outbound.pump(this.now, BURST) === BURST);
    this.arena.verify();
    return this.activity();
  }

  /** Takes all datagrams. Returns the ACTIVITY bits that this left. */
  receive(): number {
    while (this.inbound.pump(this.now) > 0) this.inbound.report();
    this.arena.verify();
    return this.activity();
  }

  activity(): number {
    let bits = 0;
    this.tables.takeActivity((_, each) => (bits |= each));
    return bits;
  }

  received(): Uint8Array[] {
    return this.tun.delivered.splice(0);
  }

  counts(): { [Reason in DropReason]?: number } {
    const counts = DROP_REASONS.map((reason) => [reason, Number(this.drops.get(reason))] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }
}

export interface LanePair {
  readonly network: MemoryNetwork;
  /** Everything on the wire so far. */
  readonly sent: WireDatagram[];
  readonly left: LaneSide;
  readonly right: LaneSide;
  /** The keypair that the left side sends with. */
  readonly keypair: LaneKeypair;
}

/** Left has 10.0.0.1 and is the initiator, right has 10.0.0.2. */
export async function lanePair(): Promise<LanePair> {
  const network = new MemoryNetwork();
  const sent: WireDatagram[] = [];
  network.intercept((datagram) => {
    sent.push(datagram);
    return [datagram];
  });
  const left = new LaneSide(network, '192.0.2.1');
  const right = new LaneSide(network, '192.0.2.2');
  for (const side of [left, right]) await side.bind.open(51_820);
  const keys = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)] as const;
  for (const [side, isInitiator, far, inner] of [
    [left, true, right, '10.0.0.2/32'],
    [right, false, left, '10.0.0.1/32'],
  ] as const) {
    const endpoint = { address: far.bind.addresses[0] as Uint8Array, port: 51_820, scope: 0, carrier: 0 };
    side.addPeer(PEER, endpoint, inner);
    side.tables.addKeypair({
      peer: PEER,
      index: isInitiator ? 11 : 22,
      remoteIndex: isInitiator ? 22 : 11,
      sendKey: keys[isInitiator ? 0 : 1],
      receiveKey: keys[isInitiator ? 1 : 0],
      isInitiator,
      createdAtMs: side.now,
    });
    side.peer.current = side.tables.keypair(isInitiator ? 11 : 22);
  }
  return { network, sent, left, right, keypair: left.peer.current as LaneKeypair };
}
