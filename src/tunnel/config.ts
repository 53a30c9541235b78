/** What can be asked of a device and what it answers: shared by the UAPI, configuration files and the CLI. */
import type { Prefix } from '../core/ip.ts';
import type { PresharedKey, PrivateKey, PublicKey } from '../noise/keys.ts';
import type { Endpoint } from './endpoint.ts';

/** One `set` of the UAPI: applied as a whole or not at all. Absent members stay as they are. Keys are copied. */
export interface DeviceChange {
  /** An all-zero key removes the key. */
  readonly privateKey?: PrivateKey;
  /** 0..65535; 0 = any. */
  readonly listenPort?: number;
  /** u32; 0 = off. */
  readonly fwmark?: number;
  /** Removes every peer first. */
  readonly replacePeers?: boolean;
  /** Applied in order; the same peer may occur several times. */
  readonly peers: readonly PeerChange[];
}

export interface PeerChange {
  readonly publicKey: PublicKey;
  /** Does nothing when the peer does not exist. */
  readonly updateOnly?: boolean;
  /** Removes the peer; the other members are ignored. */
  readonly remove?: boolean;
  /** All zero = none. */
  readonly presharedKey?: PresharedKey;
  readonly endpoint?: Endpoint;
  /** Seconds, 0..65535; 0 = off. */
  readonly persistentKeepalive?: number;
  /** Removes every allowed IP of this peer first. */
  readonly replaceAllowedIps?: boolean;
  /** In order; a removal takes the prefix away only when this peer has it. */
  readonly allowedIps?: readonly AllowedIpChange[];
}

export interface AllowedIpChange {
  readonly prefix: Prefix;
  readonly remove: boolean;
}

export interface DeviceState {
  readonly privateKey: PrivateKey | undefined;
  readonly publicKey: PublicKey | undefined;
  /** 0 when never bound. */
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: readonly PeerState[];
}

export interface PeerState {
  readonly publicKey: PublicKey;
  readonly presharedKey: PresharedKey;
  readonly endpoint: Endpoint | undefined;
  /** Wall clock, milliseconds since the Unix epoch; 0 = never. */
  readonly lastHandshakeMs: number;
  /** UDP payload bytes. */
  readonly txBytes: bigint;
  readonly rxBytes: bigint;
  /** Seconds. */
  readonly persistentKeepalive: number;
  /** In insertion order, IPv4 and IPv6 mixed. */
  readonly allowedIps: readonly Prefix[];
}

/** How a peer does. Ages in milliseconds, Infinity = never. */
export interface PeerObservation {
  readonly handshakeAgeMs: number;
  /** Since anything authentic came. */
  readonly receivedAgeMs: number;
  /**
   * For how long data or initiations have been sent and nothing authentic has come; 0 = nothing waits for an answer. A
   * peer that has nothing to say answers after 10 s only.
   */
  readonly unansweredMs: number;
  readonly endpoint: Endpoint | undefined;
  /** By which the last handshake was made; undefined when there was none. */
  readonly handshakeEndpoint: Endpoint | undefined;
}

/** The parts of a device that the UAPI, the CLI and the metrics use. */
export interface Configurable {
  /** Rejects with SystemError (EADDRINUSE) or AppError and then has changed nothing. Calls are served in order. */
  configure(change: DeviceChange): Promise<void>;
  state(): DeviceState;
}
