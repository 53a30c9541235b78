/**
 * The inbound lane: bind → classify → index → open → replay → endpoint → inner checks → TUN (whitepaper sections 5.4.6
 * and 6; the order of checks is that of the kernel's receive.c).
 */
import type { Arena } from '../../core/arena.ts';
import { AEAD_OK, AeadBatch } from '../../noise/aead.ts';
import {
  AEAD_TAG_SIZE,
  REJECT_AFTER_MESSAGES_HIGH,
  REJECT_AFTER_MESSAGES_LOW,
  REJECT_AFTER_TIME,
  REKEY_AFTER_TIME_RECEIVING,
} from '../../noise/constants.ts';
import { MESSAGE_TRANSPORT, TRANSPORT, classify } from '../../noise/messages.ts';
import { decapsulateEcn } from '../../tun/ecn.ts';
import { innerLength } from '../../tun/packet.ts';
import type { PacketPort } from '../../tun/tun.ts';
import { DatagramBatch, type DatagramPort } from '../bind.ts';
import { ENDPOINT } from '../endpoint.ts';
import { ACTIVITY, type LaneEvents } from './control.ts';
import { DROP, type DropCounters } from './drops.ts';
import type { LaneNews } from './lane-news.ts';
import { PEER_RECORD, type LaneKeypair, type LanePeer, type LaneTables } from './tables.ts';

const ENDPOINT_WORDS = ENDPOINT.size / 4;
const REMOTE_WORDS = ENDPOINT.source / 4;
const CARRIER_WORD = ENDPOINT.carrier / 4;

/** As LaneOptions has them. */
export interface InboundHooks {
  readonly catchUp?: (() => void) | undefined;
  readonly tells?: LaneNews | undefined;
}

export class Inbound {
  readonly #tables: LaneTables;
  readonly #arena: Arena;
  readonly #tun: PacketPort;
  readonly #bind: DatagramPort;
  readonly #drops: DropCounters;
  readonly #events: LaneEvents;
  readonly #catchUp: (() => void) | undefined;
  readonly #tells: LaneNews | undefined;
  readonly #datagrams: DatagramBatch;
  readonly #open: AeadBatch;
  /** For each entry of the AEAD batch: its keypair and its place in the datagram batch. */
  readonly #keypairs: (LaneKeypair | undefined)[] = [];
  readonly #source: Uint32Array;
  readonly #handshakes: number[] = [];
  readonly #confirmed: LaneKeypair[] = [];
  readonly #roamed = new Set<LanePeer>();
  /** One of the three has something. */
  #hasEvents = false;

  constructor(
    tables: LaneTables,
    tun: PacketPort,
    bind: DatagramPort,
    drops: DropCounters,
    events: LaneEvents,
    { catchUp, tells }: InboundHooks = {},
  ) {
    this.#tables = tables;
    this.#arena = tables.arena;
    this.#tun = tun;
    this.#bind = bind;
    this.#drops = drops;
    this.#events = events;
    this.#catchUp = catchUp;
    this.#tells = tells;
    this.#datagrams = new DatagramBatch(bind.batchSize);
    this.#open = new AeadBatch(this.#arena, bind.batchSize);
    this.#source = new Uint32Array(bind.batchSize);
  }

  /** Takes one batch. Returns the number of datagrams. `report` must follow. */
  pump(now: number): number {
    const count = this.#bind.receive(this.#datagrams);
    if (count === 0) return 0;
    this.#catchUp?.();
    this.#open.clear();
    for (let i = 0; i < count; i++) this.#classify(i, now);
    if (this.#open.count > 0) {
      this.#tables.aead.open(this.#open);
      for (let entry = 0; entry < this.#open.count; entry++) this.#accept(entry, now);
      this.#drops.count(DROP.tun_refused, this.#tun.flush());
    }
    return count;
  }

  #classify(i: number, now: number): void {
    const at = this.#datagrams.at[i] as number;
    const length = this.#datagrams.length[i] as number;
    const { view } = this.#arena;
    if (length < TRANSPORT.size) {
      this.#drops.count(DROP.too_short);
      return;
    }
    const type = classify(this.#arena.u8, at, length);
    if (type !== MESSAGE_TRANSPORT) {
      if (type === 0) this.#drops.count(DROP.unknown_type);
      else {
        this.#handshakes.push(i);
        this.#hasEvents = true;
      }
      return;
    }
    const keypair = this.#tables.keypair(view.getUint32(at + TRANSPORT.receiver, true));
    if (!keypair) {
      this.#drops.count(DROP.unknown_index);
      return;
    }
    if (now - keypair.createdAtMs >= REJECT_AFTER_TIME) {
      this.#drops.count(DROP.expired_keypair);
      return;
    }
    const low = view.getUint32(at + TRANSPORT.counter, true);
    const high = view.getUint32(at + TRANSPORT.counter + 4, true);
    if (high === REJECT_AFTER_MESSAGES_HIGH && low >= REJECT_AFTER_MESSAGES_LOW) {
      this.#drops.count(DROP.counter_too_large);
      return;
    }
    const entry = this.#open.count;
    this.#keypairs[entry] = keypair;
    this.#source[entry] = i;
    this.#open.push(
      at + TRANSPORT.content,
      length - TRANSPORT.content - AEAD_TAG_SIZE,
      low,
      high,
      keypair.receiveKey,
    );
  }

  #accept(entry: number, now: number): void {
    const keypair = this.#keypairs[entry] as LaneKeypair;
    const open = this.#open;
    if (open.status(entry) !== AEAD_OK) {
      this.#drops.count(DROP.bad_tag);
      return;
    }
    // After authentication only, so that nobody else can move the window (RFC 6479).
    if (!keypair.replay.accept(open.counterLow(entry), open.counterHigh(entry))) {
      this.#drops.count(DROP.replayed);
      return;
    }
    const { peer } = keypair;
    const i = this.#source[entry] as number;
    const length = open.length(entry);
    this.#tables.countBytes(peer, PEER_RECORD.rxBytes, TRANSPORT.content + length + AEAD_TAG_SIZE);
    if (!keypair.isConfirmed) {
      keypair.isConfirmed = true;
      this.#confirmed.push(keypair);
      this.#hasEvents = true;
    }
    if (keypair === peer.next) {
      peer.current = keypair;
      peer.next = undefined;
      this.#tells?.confirmed(peer.id, keypair.index);
    }
    this.#roam(peer, this.#datagrams.endpoint[i] as number);

    let bits = length === 0 ? ACTIVITY.received : ACTIVITY.received | ACTIVITY.dataReceived;
    const { current } = peer;
    if (
      current?.isInitiator &&
      !current.rekeyAsked &&
      now - current.createdAtMs >= REKEY_AFTER_TIME_RECEIVING
    ) {
      current.rekeyAsked = true;
      bits |= ACTIVITY.rekeyOnReceive;
    }
    this.#tables.note(peer, bits);
    if (length > 0) this.#deliver(peer, open.at(entry), length, this.#datagrams.tos[i] as number, now);
  }

  /** The endpoint follows the latest authenticated packet, whatever the packet contains (whitepaper section 2.1). */
  #roam(peer: LanePeer, from: number): void {
    const { u32 } = this.#arena;
    const a = from >> 2;
    const b = (peer.record + PEER_RECORD.endpoint) >> 2;
    let word = 0;
    while (word < ENDPOINT_WORDS && u32[a + word] === u32[b + word]) word++;
    if (word === ENDPOINT_WORDS) return;
    const isElsewhere = word < REMOTE_WORDS || u32[a + CARRIER_WORD] !== u32[b + CARRIER_WORD];
    u32.copyWithin(b, a, a + ENDPOINT_WORDS);
    this.#tells?.roamed(peer.id, this.#arena, from);
    if (isElsewhere || this.#tells) {
      this.#roamed.add(peer);
      this.#hasEvents = true;
    }
  }

  #deliver(peer: LanePeer, at: number, length: number, outerTos: number, now: number): void {
    const size = innerLength(this.#arena, at, length);
    if (size === 0) {
      this.#drops.count(DROP.bad_inner_packet);
      return;
    }
    const { view } = this.#arena;
    const owner =
      (this.#arena.u8[at] as number) >> 4 === 4
        ? this.#tables.ipv4.find4(view.getUint32(at + 12))
        : this.#tables.ipv6.find6(
            view.getUint32(at + 8),
            view.getUint32(at + 12),
            view.getUint32(at + 16),
            view.getUint32(at + 20),
          );
    if (owner !== peer.id) {
      this.#drops.count(DROP.source_not_allowed);
      return;
    }
    const { filter, bandwidth } = this.#tables;
    if (filter && !filter.passes(this.#arena, at, size)) {
      this.#drops.count(DROP.destination_not_allowed);
      return;
    }
    if (bandwidth && !bandwidth.allows(peer, size, now)) {
      this.#drops.count(DROP.inbound_limited);
      return;
    }
    if (!decapsulateEcn(this.#arena, at, outerTos)) {
      this.#drops.count(DROP.ecn_mismatch);
      return;
    }
    if (this.#tun.write(at, size) < 0) this.#drops.count(DROP.tun_refused);
  }

  /**
   * Raises the events of the batch, activity excepted. That comes first: a confirmation makes the peer send what waited,
   * and the timers must not take those packets for older than the one that confirmed.
   */
  report(): void {
    if (!this.#hasEvents) return;
    this.#hasEvents = false;
    for (const keypair of this.#confirmed) this.#events.confirmed(keypair.peer.id, keypair.index);
    this.#confirmed.length = 0;
    for (const peer of this.#roamed) {
      const at = peer.record + PEER_RECORD.endpoint;
      this.#events.roamed(peer.id, this.#arena.u8.slice(at, at + ENDPOINT.size));
    }
    this.#roamed.clear();
    for (const i of this.#handshakes) {
      const at = this.#datagrams.at[i] as number;
      const endpoint = this.#datagrams.endpoint[i] as number;
      this.#events.handshake(
        this.#arena.u8.slice(at, at + (this.#datagrams.length[i] as number)),
        this.#arena.u8.slice(endpoint, endpoint + ENDPOINT.size),
      );
    }
    this.#handshakes.length = 0;
  }
}
