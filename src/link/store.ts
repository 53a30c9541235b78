/** Where the gateway keeps its state. */
import type { PrivateKey } from '../noise/keys.ts';
import type { MachineRecord, PendingRecord, StoreChange, StoreConflict } from './records.ts';
import type { TokenRecord } from './tokens.ts';

export interface TokenUse {
  readonly token: string;
  readonly subject: string;
}

/** Everything that is stored. */
export interface StoreContents {
  readonly serverKey: PrivateKey | undefined;
  readonly defaultToken: string | undefined;
  readonly tokens: readonly TokenRecord[];
  readonly uses: readonly TokenUse[];
  /** Oldest first. */
  readonly machines: readonly MachineRecord[];
  readonly pending: readonly PendingRecord[];
  /** UUIDs and public keys. */
  readonly denied: readonly string[];
  /** `address:port` by public key. */
  readonly endpoints: ReadonlyMap<string, string>;
}

export const EMPTY_CONTENTS: StoreContents = {
  serverKey: undefined,
  defaultToken: undefined,
  tokens: [],
  uses: [],
  machines: [],
  pending: [],
  denied: [],
  endpoints: new Map(),
};

/**
 * A transactional store. The gateway works on a Registry in memory, loaded at the start; the store makes its changes
 * durable and refuses those that were decided on outdated records, so that several gateways can share one.
 */
export interface Store {
  /** `memory`, `sqlite`: shown in doctor. */
  readonly kind: string;
  /** Rejects with AppError that names the file and what is wrong when the contents are damaged. */
  load(): Promise<StoreContents>;
  /**
   * All changes or none, in order. When it resolves to undefined they survive the death of this process. A refused
   * transaction resolves to the reason; a failed one rejects with AppError.
   */
  commit(changes: readonly StoreChange[]): Promise<StoreConflict | undefined>;
  /** Idempotent. Nothing may be called after it. */
  close(): Promise<void>;
}
