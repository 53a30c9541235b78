/**
 * The outbound lane: TUN → allowed IPs → keypair → nonce → padding → seal → bind.
 * Packets are read to the place where their datagram will lie, so none is copied unless it must wait for a session.
 */
import type { Arena } from '../../core/arena.ts';
import { AeadBatch } from '../../noise/aead.ts';
import {
  AEAD_TAG_SIZE,
  MAX_STAGED_PACKETS,
  PADDING_MULTIPLE,
  REJECT_AFTER_MESSAGES_HIGH,
  REJECT_AFTER_MESSAGES_LOW,
  REJECT_AFTER_TIME,
  REKEY_AFTER_MESSAGES_HIGH,
  REKEY_AFTER_TIME,
} from '../../noise/constants.ts';
import { MESSAGE_TRANSPORT, TRANSPORT } from '../../noise/messages.ts';
import { encapsulateEcn } from '../../tun/ecn.ts';
import { flowOf } from '../../tun/flow.ts';
import { MAX_UNREACHABLE_SIZE, writeUnreachable } from '../../tun/icmp.ts';
import { PORT_GONE, type PacketPort } from '../../tun/tun.ts';
import { DatagramBatch, type DatagramPort } from '../bind.ts';
import { ENDPOINT, hasSource } from '../endpoint.ts';
import { ACTIVITY } from './control.ts';
import { DROP, type DropCounters } from './drops.ts';
import { GAUGE, type LaneGauges } from './gauges.ts';
import type { LaneNews, NewsListener } from './lane-news.ts';
import { PEER_RECORD, type LaneKeypair, type LanePeer, type LaneTables } from './tables.ts';

/** All packets of all peers that wait for a session; each peer has MAX_STAGED_PACKETS besides. */
export const MAX_STAGED_BYTES: number = 64 << 20;

/** Handshakes travel as AF41, like the kernel's HANDSHAKE_DSCP. */
const HANDSHAKE_TOS = 0x88;

const MAX_PACKET = 65_535;
/** Room of one packet in the send area: header, the largest packet, padding and tag, rounded up. */
const SLOT_MAX = (TRANSPORT.content + MAX_PACKET + 16 + AEAD_TAG_SIZE + 63) & ~63;
/** Sealed and sent when two thirds are full: enough to amortise the calls, and in the cache still. */
const AREA_SIZE = 3 * SLOT_MAX;

/** Bytes before the payload of a UDP packet without options. */
const IPV4_UDP_HEADERS = 20 + 8;
const IPV6_UDP_HEADERS = 40 + 8;

/** ICMP errors, at most so many in each window. */
const ICMP_BURST = 20;
const ICMP_WINDOW_MS = 100;

export class Outbound {
  readonly #tables: LaneTables;
  readonly #arena: Arena;
  readonly #tun: PacketPort;
  readonly #bind: DatagramPort;
  readonly #drops: DropCounters;
  readonly #gauges: LaneGauges;
  readonly #hears: LaneNews | undefined;
  readonly #seal: AeadBatch;
  readonly #datagrams: DatagramBatch;
  readonly #area: number;
  #cursor: number;
  /** Endpoint record of datagrams that no peer owns. */
  readonly #replyEndpoint: number;
  readonly #icmp: number;
  #icmpWindowStart = Number.NEGATIVE_INFINITY;
  #icmpSent = 0;
  /** As far as the reads that the TUN dropped were counted. */
  #malformed = 0;
  /** As far as the sources that the bind gave up were noted. */
  #lostSources: number | undefined;

  constructor(
    tables: LaneTables,
    tun: PacketPort,
    bind: DatagramPort,
    drops: DropCounters,
    gauges: LaneGauges,
    hears?: LaneNews,
  ) {
    this.#hears = hears;
    this.#tables = tables;
    this.#arena = tables.arena;
    this.#tun = tun;
    this.#bind = bind;
    this.#lostSources = bind.lostSources;
    this.#drops = drops;
    this.#gauges = gauges;
    this.#seal = new AeadBatch(this.#arena, bind.batchSize);
    this.#datagrams = new DatagramBatch(bind.batchSize);
    this.#area = this.#arena.alloc(AREA_SIZE);
    this.#cursor = this.#area;
    this.#replyEndpoint = this.#arena.alloc(ENDPOINT.size);
    // A port that coalesces writes its header before the packet.
    this.#icmp = this.#arena.alloc(64 + MAX_UNREACHABLE_SIZE) + 64;
  }

  /**
   * Moves up to `burst` packets. Returns how many it read, or PORT_GONE. While down, packets stay where they are: what
   * an application sends right after the interface came up must not be lost because the sockets are not open yet.
   * With `hurry` the first packet leaves before the TUN is asked for more, unless it is the first of a super-packet.
   */
  pump(now: number, burst: number, hurry = false): number {
    if (!this.#tables.isUp) return 0;
    let packets = 0;
    for (; packets < burst; packets++) {
      const at = this.#slot() + TRANSPORT.content;
      const length = this.#tun.read(at, MAX_PACKET);
      if (length === 0) break;
      if (length < 0) {
        this.flush();
        return PORT_GONE;
      }
      this.hear();
      this.#route(at, length, now);
      if (hurry && packets === 0 && this.#tun.holdsMore !== true) this.flush();
    }
    this.flush();
    this.#countMalformed();
    return packets;
  }

  /** Of a pair: what inbound has learnt from packets that it has delivered since. */
  hear(): void {
    if (this.#hears?.isWaiting) this.#hears.hear(this.#listener);
  }

  readonly #listener: NewsListener = {
    confirmed: (id, index) => {
      const peer = this.#tables.peer(id);
      if (peer?.next?.index !== index) return;
      peer.current = peer.next;
      peer.next = undefined;
    },
    roamed: (id, words, at) => {
      const peer = this.#tables.peer(id);
      if (!peer) return;
      const record = (peer.record + PEER_RECORD.endpoint) / 4;
      this.#arena.u32.set(words.subarray(at, at + ENDPOINT.size / 4), record);
    },
  };

  #countMalformed(): void {
    const { malformed = 0 } = this.#tun;
    if (malformed === this.#malformed) return;
    this.#drops.count(DROP.malformed_read, malformed - this.#malformed);
    this.#malformed = malformed;
  }

  /** Seals and sends what was queued. */
  flush(): void {
    if (this.#datagrams.count > 0) {
      this.#tables.aead.seal(this.#seal);
      this.#send();
    }
    this.#seal.clear();
    this.#datagrams.clear();
    this.#cursor = this.#area;
  }

  sendStaged(peer: LanePeer, now: number): void {
    this.hear();
    let sent = 0;
    for (const packet of this.#tables.hasEndpoint(peer) ? peer.staged : []) {
      const keypair = this.#usable(peer, now);
      if (!keypair) break;
      const at = this.#slot() + TRANSPORT.content;
      this.#arena.u8.set(packet, at);
      this.#enqueue(peer, keypair, at, packet.length, now);
      sent++;
    }
    this.#forgetStaged(peer, sent);
    if (peer.staged.length > 0) this.#tables.note(peer, ACTIVITY.needsSession);
    this.flush();
  }

  /** A keepalive is an empty packet; it is pointless when packets wait, for they do its work. */
  sendKeepalive(peer: LanePeer, now: number): void {
    if (peer.staged.length === 0) peer.staged.push(new Uint8Array(0));
    this.sendStaged(peer, now);
  }

  dropStaged(peer: LanePeer): void {
    for (const packet of peer.staged) if (packet.length > 0) this.#drops.count(DROP.no_session);
    this.#forgetStaged(peer, peer.staged.length);
  }

  /** Sends a handshake message to an endpoint record, or to a copy of it when `endpoint` is an array. */
  sendMessage(datagram: Uint8Array, endpoint: number | Uint8Array): void {
    this.flush();
    let record = this.#replyEndpoint;
    if (typeof endpoint === 'number') record = endpoint;
    else this.#arena.u8.set(endpoint, record);
    this.#arena.u8.set(datagram, this.#area);
    this.#datagrams.push(this.#area, datagram.length, record, HANDSHAKE_TOS);
    this.#send();
    this.#datagrams.clear();
  }

  #send(): void {
    this.#bind.send(this.#datagrams);
    if (this.#bind.lostSources === this.#lostSources) return;
    this.#lostSources = this.#bind.lostSources;
    if (this.#hears) this.#noteLostSources();
  }

  /** Of a pair, the inbound lane has the source still, and would not tell it again. */
  #noteLostSources(): void {
    const records = new Set(this.#datagrams.endpoint.subarray(0, this.#datagrams.count));
    for (const peer of this.#tables.peers()) {
      const record = peer.record + PEER_RECORD.endpoint;
      if (records.has(record) && !hasSource(this.#arena, record))
        this.#tables.note(peer, ACTIVITY.sourceLost);
    }
  }

  /** Where the next datagram starts; makes room first when there is none. */
  #slot(): number {
    if (
      this.#datagrams.count === this.#datagrams.capacity ||
      this.#cursor + SLOT_MAX > this.#area + AREA_SIZE
    )
      this.flush();
    return this.#cursor;
  }

  #route(at: number, length: number, now: number): void {
    const tables = this.#tables;
    const view = this.#arena.view;
    const version = (this.#arena.u8[at] as number) >> 4;
    let owner = 0;
    if (version === 4 && length >= 20) {
      owner = tables.ipv4.find4(view.getUint32(at + 16));
    } else if (version === 6 && length >= 40) {
      owner = tables.ipv6.find6(
        view.getUint32(at + 24),
        view.getUint32(at + 28),
        view.getUint32(at + 32),
        view.getUint32(at + 36),
      );
    } else {
      this.#drops.count(DROP.not_ip);
      return;
    }
    const peer = tables.peer(owner);
    if (!peer) {
      this.#refuse(at, length, DROP.no_route, now);
      return;
    }
    if (!tables.hasEndpoint(peer)) {
      this.#refuse(at, length, DROP.no_endpoint, now);
      return;
    }
    const keypair = this.#usable(peer, now);
    if (!keypair) {
      this.#stage(peer, at, length);
      return;
    }
    if (this.#isOwn(keypair, version, at, length)) {
      this.#drops.count(DROP.routing_loop);
      return;
    }
    if (peer.staged.length > 0) {
      // There is a session now, and the order to send what waited for it is on its way: nothing may overtake that.
      this.#keep(peer, at, length);
      this.sendStaged(peer, now);
      return;
    }
    this.#enqueue(peer, keypair, at, length, now);
  }

  /**
   * Whether the packet is one of the very datagrams that it would become, because the way to the peer leads through the
   * peer: without end, and more of them with every fragment. The kernel compares devices instead (-ELOOP in socket.c).
   */
  #isOwn(keypair: LaneKeypair, version: number, at: number, length: number): boolean {
    const payload = version === 4 ? IPV4_UDP_HEADERS : IPV6_UDP_HEADERS;
    if (length < payload + TRANSPORT.size) return false;
    const { view } = this.#arena;
    return (
      view.getUint32(at + payload, true) === MESSAGE_TRANSPORT &&
      view.getUint32(at + payload + TRANSPORT.receiver, true) === keypair.remoteIndex
    );
  }

  /** The sending keypair while it is young and has nonces left (whitepaper section 6.2). */
  #usable(peer: LanePeer, now: number): LaneKeypair | undefined {
    const keypair = peer.current;
    if (!keypair || now - keypair.createdAtMs >= REJECT_AFTER_TIME) return undefined;
    if (keypair.sendHigh === REJECT_AFTER_MESSAGES_HIGH && keypair.sendLow >= REJECT_AFTER_MESSAGES_LOW)
      return undefined;
    return keypair;
  }

  /** Completes the datagram around the packet at `at`: header, nonce, padding; queues it for sealing and sending. */
  #enqueue(peer: LanePeer, keypair: LaneKeypair, at: number, length: number, now: number): void {
    const { u8, view } = this.#arena;
    const padded = length + paddingFor(length, this.#tables.mtu);
    const size = TRANSPORT.content + padded + AEAD_TAG_SIZE;
    const { bandwidth } = this.#tables;
    // A keepalive is too little to matter and too much to miss.
    if (bandwidth && length > 0 && !bandwidth.allows(peer, size, now)) {
      this.#drops.count(DROP.outbound_limited);
      return;
    }
    if (padded > length) u8.fill(0, at + length, at + padded);
    // Before it is sealed; streams are the only ones who want to know.
    const flow = length > 0 && this.#tables.isInStream(peer) ? flowOf(this.#arena, at, length) : 0;
    const start = at - TRANSPORT.content;
    view.setUint32(start, MESSAGE_TRANSPORT, true);
    view.setUint32(start + TRANSPORT.receiver, keypair.remoteIndex, true);
    view.setUint32(start + TRANSPORT.counter, keypair.sendLow, true);
    view.setUint32(start + TRANSPORT.counter + 4, keypair.sendHigh, true);
    this.#seal.push(at, padded, keypair.sendLow, keypair.sendHigh, keypair.sendKey);
    keypair.sendLow = (keypair.sendLow + 1) >>> 0;
    if (keypair.sendLow === 0) keypair.sendHigh++;

    const endpoint = peer.record + PEER_RECORD.endpoint;
    const tos = length === 0 ? 0 : encapsulateEcn(this.#arena, at);
    this.#datagrams.push(start, size, endpoint, tos, flow);
    // No gap: a bind may send datagrams that touch each other as one message.
    this.#cursor = start + size;
    this.#tables.countBytes(peer, PEER_RECORD.txBytes, size);

    let bits = length === 0 ? ACTIVITY.sent : ACTIVITY.sent | ACTIVITY.dataSent;
    const old = keypair.isInitiator && now - keypair.createdAtMs >= REKEY_AFTER_TIME;
    if (old || keypair.sendHigh >= REKEY_AFTER_MESSAGES_HIGH) bits |= ACTIVITY.rekeyOnSend;
    this.#tables.note(peer, bits);
  }

  #stage(peer: LanePeer, at: number, length: number): void {
    this.#tables.note(peer, ACTIVITY.needsSession);
    const { staged } = peer;
    // A keepalive waits alone: packets do its work.
    if (staged[0]?.length === 0) staged.pop();
    while (
      staged.length >= MAX_STAGED_PACKETS ||
      this.#gauges.get(GAUGE.stagedBytes) + length > MAX_STAGED_BYTES
    ) {
      if (staged.length === 0) {
        // Nothing of this peer waits, so the total is used up by others: this packet is the one to go.
        this.#drops.count(DROP.staged_overflow);
        return;
      }
      this.#drops.count(DROP.staged_overflow);
      this.#forgetStaged(peer, 1);
    }
    this.#keep(peer, at, length);
  }

  #keep(peer: LanePeer, at: number, length: number): void {
    if (peer.staged.push(this.#arena.u8.slice(at, at + length)) === 1) this.#gauges.add(GAUGE.stagedPeers, 1);
    this.#gauges.add(GAUGE.stagedPackets, 1);
    this.#gauges.add(GAUGE.stagedBytes, length);
  }

  /** The oldest `count`. */
  #forgetStaged(peer: LanePeer, count: number): void {
    const forgotten = peer.staged.splice(0, count);
    // Nothing, or a keepalive.
    if ((forgotten[0]?.length ?? 0) === 0) return;
    if (peer.staged.length === 0) this.#gauges.add(GAUGE.stagedPeers, -1);
    this.#gauges.add(GAUGE.stagedPackets, -forgotten.length);
    for (const packet of forgotten) this.#gauges.add(GAUGE.stagedBytes, -packet.length);
  }

  /** Drops the packet and tells its sender by ICMP, as the kernel does and wireguard-go does not. */
  #refuse(at: number, length: number, reason: number, now: number): void {
    this.#drops.count(reason);
    if (now - this.#icmpWindowStart >= ICMP_WINDOW_MS) {
      this.#icmpWindowStart = now;
      this.#icmpSent = 0;
    }
    if (this.#icmpSent >= ICMP_BURST) return;
    const size = writeUnreachable(this.#arena, at, length, this.#icmp);
    if (size === 0) return;
    this.#icmpSent++;
    this.#tun.write(this.#icmp, size);
    this.#tun.flush();
  }
}

/**
 * Zero bytes to append: up to a multiple of 16, but never beyond the MTU (the kernel's calculate_skb_padding). For
 * packets larger than the MTU (a shrunk one) the last MTU-sized part counts.
 */
export function paddingFor(length: number, mtu: number): number {
  const mask = PADDING_MULTIPLE - 1;
  if (mtu === 0) return -length & mask;
  const last = length > mtu ? length % mtu : length;
  return Math.min(mtu, (last + mask) & ~mask) - last;
}
