/** What a lane knows: peers, keypairs by receiver index, allowed IPs. Filled by commands only. */
import type { Arena } from '../../core/arena.ts';
import type { TransportAead } from '../../noise/aead.ts';
import { ReplayWindow } from '../../noise/replay.ts';
import { DestinationFilter } from '../../tun/destination-filter.ts';
import { ENDPOINT, GRPC_CARRIER } from '../endpoint.ts';
import { Bandwidth, type BandwidthLimits, type TokenBucket } from './bandwidth.ts';
import type { LaneKeypairInit, PeerCounters } from './control.ts';
import type { LanePolicy } from './policy.ts';
import { PrefixTrie } from './prefix-trie.ts';

/** A peer's record in the arena: the endpoint, then its counters as u64 (two u32 words, low first). */
export const PEER_RECORD = {
  endpoint: 0,
  txBytes: ENDPOINT.size,
  rxBytes: ENDPOINT.size + 8,
  size: 64,
} as const;

const RECORDS_PER_CHUNK = 256;

export class LaneKeypair {
  readonly peer: LanePeer;
  readonly index: number;
  readonly remoteIndex: number;
  /** Handles of the AEAD. */
  readonly sendKey: number;
  readonly receiveKey: number;
  readonly isInitiator: boolean;
  readonly createdAtMs: number;
  /** The next nonce to send with. */
  sendLow = 0;
  sendHigh = 0;
  readonly replay = new ReplayWindow();
  /** Something authenticated came on it. An initiator's keypair is confirmed by the response. */
  isConfirmed: boolean;
  /** The early rekey on receive was asked for; once per session. */
  rekeyAsked = false;

  constructor(peer: LanePeer, init: LaneKeypairInit, aead: TransportAead) {
    this.peer = peer;
    this.index = init.index;
    this.remoteIndex = init.remoteIndex;
    this.sendKey = aead.addKey(init.sendKey);
    this.receiveKey = aead.addKey(init.receiveKey);
    this.isInitiator = init.isInitiator;
    this.createdAtMs = init.createdAtMs;
    this.isConfirmed = init.isInitiator;
  }
}

export class LanePeer {
  readonly id: number;
  /** Arena offset of its record. */
  readonly record: number;
  /** The keypair to send with. */
  current: LaneKeypair | undefined;
  /**
   * The latest one that this side made as responder, until something authenticated comes on it. Then the lane sends
   * with it at once, without waiting to be told: the answer to that very packet must not leave with older keys, which
   * the peer may have lost.
   */
  next: LaneKeypair | undefined;
  readonly keypairs = new Set<LaneKeypair>();
  /** Copies of packets that wait for a session, oldest first; an empty one is a keepalive. */
  readonly staged: Uint8Array[] = [];
  /** ACTIVITY bits not yet reported; nonzero means that the peer is in the list of LaneTables. */
  activity = 0;
  /** The next one in that list. */
  nextActive: LanePeer | undefined;
  /** Made when its bandwidth is limited. */
  bucket: TokenBucket | undefined;

  constructor(id: number, record: number) {
    this.id = id;
    this.record = record;
  }
}

export class LaneTables {
  readonly arena: Arena;
  readonly aead: TransportAead;
  readonly ipv4 = new PrefixTrie(32);
  readonly ipv6 = new PrefixTrie(128);
  readonly #peers = new Map<number, LanePeer>();
  readonly #keypairs = new Map<number, LaneKeypair>();
  readonly #freeRecords: number[] = [];
  /** Peers with unreported activity: a linked list, which costs no memory. */
  #firstActive: LanePeer | undefined;
  #lastActive: LanePeer | undefined;
  mtu = 1420;
  isUp = false;
  /** For decrypted packets. */
  filter: DestinationFilter | undefined;
  bandwidth: Bandwidth | undefined;

  constructor(arena: Arena, aead: TransportAead, policy: LanePolicy = {}) {
    this.arena = arena;
    this.aead = aead;
    this.filter = policy.onlyDestination && new DestinationFilter(policy.onlyDestination);
    this.setBandwidth(policy.bandwidth ?? {});
  }

  setBandwidth(limits: BandwidthLimits): void {
    this.bandwidth = limits.total || limits.perPeer ? new Bandwidth(limits) : undefined;
    for (const peer of this.#peers.values()) peer.bucket = undefined;
  }

  peer(id: number): LanePeer | undefined {
    return this.#peers.get(id);
  }

  peers(): IterableIterator<LanePeer> {
    return this.#peers.values();
  }

  keypair(index: number): LaneKeypair | undefined {
    return this.#keypairs.get(index);
  }

  addPeer(id: number): void {
    if (this.#freeRecords.length === 0) {
      const chunk = this.arena.alloc(RECORDS_PER_CHUNK * PEER_RECORD.size);
      for (let i = RECORDS_PER_CHUNK; i-- > 0;) this.#freeRecords.push(chunk + i * PEER_RECORD.size);
    }
    const record = this.#freeRecords.pop() as number;
    this.arena.u8.fill(0, record, record + PEER_RECORD.size);
    this.#peers.set(id, new LanePeer(id, record));
  }

  removePeer(id: number): void {
    const peer = this.#peers.get(id);
    if (!peer) return;
    for (const keypair of peer.keypairs) this.removeKeypair(keypair.index);
    this.#peers.delete(id);
    this.#freeRecords.push(peer.record);
  }

  addKeypair(init: LaneKeypairInit): void {
    const peer = this.#peers.get(init.peer);
    if (!peer) return;
    this.removeKeypair(init.index);
    const keypair = new LaneKeypair(peer, init, this.aead);
    peer.keypairs.add(keypair);
    this.#keypairs.set(init.index, keypair);
    if (!init.isInitiator) peer.next = keypair;
  }

  removeKeypair(index: number): void {
    const keypair = this.#keypairs.get(index);
    if (!keypair) return;
    this.#keypairs.delete(index);
    const { peer } = keypair;
    peer.keypairs.delete(keypair);
    if (peer.current === keypair) peer.current = undefined;
    if (peer.next === keypair) peer.next = undefined;
    this.aead.dropKey(keypair.sendKey);
    this.aead.dropKey(keypair.receiveKey);
  }

  trie(address: Uint8Array): PrefixTrie {
    return address.length === 4 ? this.ipv4 : this.ipv6;
  }

  hasEndpoint(peer: LanePeer): boolean {
    return this.arena.u16[(peer.record + ENDPOINT.family) >> 1] !== 0;
  }

  /** Whether the peer is reached through gRPC streams. */
  isInStream(peer: LanePeer): boolean {
    return this.arena.u32[(peer.record + ENDPOINT.carrier) >> 2] === GRPC_CARRIER;
  }

  /** Adds to a u64 counter of the peer's record. */
  countBytes(peer: LanePeer, field: number, bytes: number): void {
    const word = (peer.record + field) >> 2;
    const u32 = this.arena.u32;
    const before = u32[word] as number;
    const after = (before + bytes) >>> 0;
    u32[word] = after;
    if (after < before) u32[word + 1] = (u32[word + 1] as number) + 1;
  }

  counters(id: number): PeerCounters {
    const peer = this.#peers.get(id);
    if (!peer) return { txBytes: 0n, rxBytes: 0n };
    return {
      txBytes: this.arena.view.getBigUint64(peer.record + PEER_RECORD.txBytes, true),
      rxBytes: this.arena.view.getBigUint64(peer.record + PEER_RECORD.rxBytes, true),
    };
  }

  note(peer: LanePeer, bits: number): void {
    if (peer.activity === 0) {
      if (this.#lastActive) this.#lastActive.nextActive = peer;
      else this.#firstActive = peer;
      this.#lastActive = peer;
    }
    peer.activity |= bits;
  }

  /** Hands out and clears all activity since the last call. */
  takeActivity(report: (peer: number, bits: number) => void): void {
    // A report may cause new activity, which is then taken in the same call.
    for (let peer = this.#firstActive; peer !== undefined; peer = this.#firstActive) {
      this.#firstActive = peer.nextActive;
      if (this.#firstActive === undefined) this.#lastActive = undefined;
      peer.nextActive = undefined;
      const bits = peer.activity;
      peer.activity = 0;
      if (this.#peers.get(peer.id) === peer) report(peer.id, bits);
    }
  }
}
