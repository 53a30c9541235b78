/** What a Provision decision is made from: the request, the gateway's state, its settings, and chance. */
import type { Random } from '../core/random.ts';
import type { MachineRecord, PendingRecord } from './records.ts';
import type { TokenBook } from './tokens.ts';

/** `sidero.link.ProvisionRequest`. */
export interface ProvisionCall {
  readonly nodeUuid: string;
  readonly nodePublicKey: string;
  readonly joinToken?: string | undefined;
  readonly nodeUniqueToken?: string | undefined;
  readonly talosVersion?: string | undefined;
  readonly wireguardOverGrpc?: boolean | undefined;
}

/**
 * strict: Talos older than 1.6 is refused. legacyAllowed: it may join with a token alone as long as its UUID has no
 * unique token. legacy: a valid join token is all that counts. agent: as siderolink-agent, one static token or none.
 */
export type JoinMode = 'strict' | 'legacyAllowed' | 'legacy' | 'agent';

export const JOIN_MODES: readonly JoinMode[] = ['strict', 'legacyAllowed', 'legacy', 'agent'];

export interface ProvisionSettings {
  readonly joinMode: JoinMode;
  /** manual: machines nobody has seen before wait until an operator accepts them. */
  readonly accept: 'auto' | 'manual';
  /** Machines without a unique token wait instead of joining on their UUID alone. */
  readonly requireUniqueToken: boolean;
  /** Once a unique token has survived a restart, the same hardware may not come with another one. */
  readonly pinUniqueTokens: boolean;
  /** forced and forbidden override machine and operator alike. */
  readonly tunnel: 'forced' | 'hint' | 'forbidden';
  /** WireGuard over UDP, preferred first; `host:port`. Not empty unless the tunnel is forced. */
  readonly endpoints: readonly string[];
  /** Base64. */
  readonly serverPublicKey: string;
  /** Most machines, not counting waiting ones. */
  readonly maxMachines?: number | undefined;
  readonly maxPending: number;
  /** Node addresses that belong to a UUID from the start. */
  readonly predefinedAddresses: ReadonlyMap<string, string>;
}

export interface PeerLiveness {
  /** A CreateStream of its virtual endpoint is open. */
  readonly isStreamOpen: boolean;
  /** Milliseconds since the last handshake; Infinity when there was none. */
  readonly handshakeAgeMs: number;
}

/** What is known about machines and tokens; a Registry is one. */
export interface ProvisionState {
  /** All machines with this UUID, oldest first. */
  machinesByUuid(uuid: string): readonly MachineRecord[];
  machineByKey(publicKey: string): MachineRecord | undefined;
  pendingByKey(publicKey: string): PendingRecord | undefined;
  readonly tokens: TokenBook;
  /** Machines, waiting ones included, that came with this token. */
  usesOf(token: string): number;
  hasUsed(token: string, subject: string): boolean;
  /** The operator turned this UUID or this key away. */
  isDenied(uuid: string, publicKey: string): boolean;
  readonly machineCount: number;
  readonly pendingCount: number;
  /** Any node or virtual address in use. */
  isAddressTaken(address: string): boolean;
}

export interface ProvisionContext {
  readonly state: ProvisionState;
  readonly liveness: (publicKey: string) => PeerLiveness;
  readonly settings: ProvisionSettings;
  readonly random: Random;
  /** Milliseconds since the epoch. */
  readonly wallMs: number;
}
