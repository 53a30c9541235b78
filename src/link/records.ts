/** What the gateway remembers about machines. Plain data: it goes into the store and through decisions. */
import type { PrivateKey } from '../noise/keys.ts';
import type { TokenRecord } from './tokens.ts';

/** A machine that may use the gateway. */
export interface MachineRecord {
  /** The UUID; `UUID#2`, `UUID#3` … for further machines that turned up with a UUID somebody has. */
  readonly id: string;
  readonly uuid: string;
  /** WireGuard public key, base64. */
  readonly publicKey: string;
  /** Keys it had before, newest first: one that comes back while its successor lives betrays a second machine. */
  readonly replacedKeys: readonly string[];
  /** Overlay address, RFC 5952. */
  readonly nodeAddress: string;
  /** `[address]:port` of its end of the tunnel; undefined while it speaks UDP. */
  readonly virtualEndpoint?: string | undefined;
  /** JSON, see unique-token.ts. Secret. */
  readonly uniqueToken?: string | undefined;
  /** The unique token survived a restart, so the machine keeps it on disk and no other is believed. */
  readonly pinsUniqueToken: boolean;
  /** What the operator wants: tunnel, UDP, or what the machine asks for (undefined). */
  readonly tunnel?: boolean | undefined;
  readonly talosVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Wall clock, milliseconds. */
  readonly joinedAtMs: number;
  /** Being taken away: refuses to come back until that is done. */
  readonly isRemoving: boolean;
}

export type PendingReason =
  /** `--accept manual`: somebody has to look first. */
  | 'approval'
  /** It has no identity of its own, and one is asked for. */
  | 'no_unique_token'
  /** Its UUID belongs to another machine, or to no one in particular. */
  | 'uuid_conflict';

/** A machine that waits. It has a peer and an address of its own, but the gateway's services refuse it. */
export interface PendingRecord {
  /** Its identity for now, base64. */
  readonly publicKey: string;
  readonly uuid: string;
  readonly reason: PendingReason;
  readonly nodeAddress: string;
  readonly virtualEndpoint?: string | undefined;
  /** As presented. Secret. */
  readonly uniqueToken?: string | undefined;
  readonly talosVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Wall clock, milliseconds. */
  readonly createdAtMs: number;
}

/** Who counts as a use of a token. */
export function machineSubject(id: string): string {
  return `machine:${id}`;
}
export function pendingSubject(publicKey: string): string {
  return `pending:${publicKey}`;
}

/** One step of a transaction of the store. `before` is the record that the decision was made on. */
export type StoreChange =
  | {
      readonly kind: 'put_machine';
      readonly record: MachineRecord;
      readonly before: MachineRecord | undefined;
    }
  | { readonly kind: 'delete_machine'; readonly before: MachineRecord }
  | {
      readonly kind: 'put_pending';
      readonly record: PendingRecord;
      readonly before: PendingRecord | undefined;
    }
  | { readonly kind: 'delete_pending'; readonly before: PendingRecord }
  | { readonly kind: 'put_token'; readonly record: TokenRecord; readonly before: TokenRecord | undefined }
  /** Its uses go with it. */
  | { readonly kind: 'delete_token'; readonly before: TokenRecord }
  | { readonly kind: 'set_default_token'; readonly token: string }
  | { readonly kind: 'use_token'; readonly token: string; readonly subject: string }
  | { readonly kind: 'release_uses'; readonly subject: string }
  | { readonly kind: 'rename_uses'; readonly from: string; readonly to: string }
  /** `subject`: a UUID, or a public key. */
  | { readonly kind: 'deny'; readonly subject: string }
  | { readonly kind: 'allow'; readonly subject: string }
  /** Where a peer was last heard from, `address:port`; undefined forgets it. */
  | { readonly kind: 'put_endpoint'; readonly publicKey: string; readonly endpoint: string | undefined }
  | { readonly kind: 'set_server_key'; readonly privateKey: PrivateKey };

/** Why a transaction was refused. It has then changed nothing. */
export type StoreConflict =
  /** A `before` is not what is stored. */
  | 'stale'
  /** A node or virtual address belongs to another record. */
  | 'address'
  /** A public key belongs to another record. */
  | 'public_key'
  /** A token has no use left, or does not exist. */
  | 'token_used_up'
  /** The default token has to exist and stay. */
  | 'default_token'
  /** Two tokens would have one name or one provider. */
  | 'token_name';

/** Equal member by member; members that are undefined count as absent. */
export function sameRecord(a: object, b: object): boolean {
  return canonicalText(a) === canonicalText(b);
}

/** JSON with sorted members: equal records have equal texts. */
export function canonicalText(value: object): string {
  const replacer = (_key: string, member: unknown): unknown =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([x], [y]) => (x < y ? -1 : 1)))
      : member;
  return JSON.stringify(value, replacer);
}

/** A WireGuard peer of the gateway's overlay device. */
export interface OverlayPeer {
  readonly publicKey: string;
  readonly nodeAddress: string;
  readonly virtualEndpoint: string | undefined;
}

export function peerOf(record: MachineRecord | PendingRecord): OverlayPeer {
  return {
    publicKey: record.publicKey,
    nodeAddress: record.nodeAddress,
    virtualEndpoint: record.virtualEndpoint,
  };
}
