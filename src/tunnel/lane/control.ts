/**
 * The only two ways in which the control plane and the lanes talk: a closed set of commands and a closed set of events.
 * All arguments are plain data that is copied, so that a lane runs the same inline or in a worker thread.
 */

import type { SendErrors } from '../bind.ts';
import type { BandwidthLimits } from './bandwidth.ts';
import type { DropReason } from './drops.ts';

/** Control plane → lane. Commands take effect in order. Unknown peers and indices are ignored (they raced a removal). */
export interface LaneCommands {
  addPeer(peer: number): void;
  /** Takes its keypairs and staged packets with it; its allowed IPs are removed before, one by one. */
  removePeer(peer: number): void;
  /** A record of endpoint.ts, 48 bytes; all zero = no endpoint. */
  setEndpoint(peer: number, endpoint: Uint8Array): void;
  /** Forgets the sticky source of one peer, or of all peers (0). */
  clearSource(peer: number): void;
  /** Routes or addresses of this machine changed: sticky sources are held against them before their next use. */
  routesChanged(): void;
  /** The prefix belongs to this peer now, whoever had it before. Host bits are zero. */
  addAllowedIp(peer: number, address: Uint8Array, length: number): void;
  removeAllowedIp(peer: number, address: Uint8Array, length: number): void;
  /** From now on packets of this index are received. Sending needs `useKeypair`. */
  addKeypair(keypair: LaneKeypairInit): void;
  removeKeypair(index: number): void;
  /** The peer sends with this keypair from now on, or cannot send (0). */
  useKeypair(peer: number, index: number): void;
  /** Sends what waits for a session, or reports `needsSession`. */
  sendStaged(peer: number): void;
  /** Sends a handshake message to the peer's endpoint, marked as handshake (DSCP AF41). */
  sendHandshake(peer: number, datagram: Uint8Array): void;
  /** Sends a handshake message to an address that no peer has (cookie reply). */
  sendTo(endpoint: Uint8Array, datagram: Uint8Array): void;
  /** Sends a keepalive, or the staged packets when there are any. */
  sendKeepalive(peer: number): void;
  /** Drops what waits for a session. */
  dropStaged(peer: number): void;
  /** MTU of the TUN device; bounds the padding. */
  setMtu(mtu: number): void;
  /** IPv6: from now on decrypted packets for any other destination are dropped. */
  setOnlyDestination(address: Uint8Array): void;
  /** From now on these limits hold; without members none does. */
  setBandwidth(limits: BandwidthLimits): void;
  /** While down, nothing is read from the TUN. */
  setUp(up: boolean): void;
}

export interface LaneKeypairInit {
  readonly peer: number;
  /** Our receiver index, 1 .. 2^32 - 1. */
  readonly index: number;
  readonly remoteIndex: number;
  /** 32 bytes each; the lane copies them and the caller wipes its own. */
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  readonly isInitiator: boolean;
  /** Clock.now() of the derivation. */
  readonly createdAtMs: number;
}

/** Lane → control plane. */
export interface LaneEvents {
  /** A handshake initiation, response or cookie reply of the right length. Both arrays are copies. */
  handshake(datagram: Uint8Array, endpoint: Uint8Array): void;
  /** What happened at a peer since the last such event, ACTIVITY bits, and when (Clock.now()): a report may be late. */
  activity(peer: number, bits: number, at: number): void;
  /**
   * The first authenticated packet on a keypair that this side made as responder. The lane sends with it now, unless
   * `useKeypair` has named another one since it was added.
   */
  confirmed(peer: number, index: number): void;
  /**
   * An authenticated packet came from another endpoint, which is in use now. Of two lanes the inbound one also says when
   * only the sticky source is another, which the outbound one has to learn.
   */
  roamed(peer: number, endpoint: Uint8Array): void;
}

export const ACTIVITY = {
  /** Any transport packet was sent, keepalives included. */
  sent: 1,
  dataSent: 2,
  /** Any authenticated transport packet came, keepalives included. */
  received: 4,
  dataReceived: 8,
  /** Packets wait and there is no usable session. */
  needsSession: 16,
  /** The session in use is old or has sent much: rekey (checked on sending). */
  rekeyOnSend: 32,
  /** The same, checked on receiving (initiator, close to the end of the session). */
  rekeyOnReceive: 64,
  /** Of two lanes, from the outbound one: a sticky source was given up. */
  sourceLost: 128,
} as const;

/** What the lane counts for one peer, in UDP payload bytes of transport packets. */
export interface PeerCounters {
  readonly txBytes: bigint;
  readonly rxBytes: bigint;
}

/** What a lane can be asked at any time, without waiting for it. */
export interface LaneReadings {
  counters(peer: number): PeerCounters;
  /** Packets the lanes dropped for this reason. */
  dropped(reason: DropReason): bigint;
  figures(): LaneFigures;
}

/** What waits in the lanes, and what their bind has met. All zero while they start. */
export interface LaneFigures {
  /** Packets that wait for a session, and the peers that they are for. */
  readonly stagedPackets: number;
  readonly stagedPeers: number;
  readonly stagedBytes: number;
  /** Handshake messages on their way to the control thread; undefined when the lanes run on it. */
  readonly handshakesInFlight: number | undefined;
  /** Datagrams that were not sent, by cause; monotonic since the lanes started, wraps at 2^32. */
  readonly sendErrors: Readonly<SendErrors>;
  /** Whether the bind joins datagrams to send (UDP_SEGMENT); undefined when it never does. */
  readonly usesGso: boolean | undefined;
}

/** What a lane moves: both directions, or as one of a pair from the TUN to the bind (`out`) or the other way (`in`). */
export type Direction = 'both' | 'out' | 'in';

/** Where the lanes run: on this thread, or in workers. */
export interface LaneHost extends LaneCommands, LaneReadings {
  /** Starts to move packets. */
  start(): void;
  /** Idempotent. No event is raised after it resolves. */
  close(): Promise<void>;
}
