/**
 * The gateway's state in memory, with every index that decisions ask for. Its `apply` has the rules of a store's
 * `commit`: all changes or none, refused when they were decided on outdated records.
 */
import { AppError } from '../core/errors.ts';
import type { PrivateKey } from '../noise/keys.ts';
import {
  type MachineRecord,
  type PendingRecord,
  sameRecord,
  type StoreChange,
  type StoreConflict,
} from './records.ts';
import type { Source } from './source.ts';
import type { StoreContents } from './store.ts';
import { TokenBook, type TokenRecord } from './tokens.ts';

const MACHINE_PREFIX = 'machine:';

export class Registry {
  readonly #machines = new Map<string, MachineRecord>();
  readonly #byUuid = new Map<string, readonly MachineRecord[]>();
  readonly #machineByKey = new Map<string, MachineRecord>();
  readonly #pending = new Map<string, PendingRecord>();
  /** Owner of each node and virtual address in use. */
  readonly #addresses = new Map<string, string>();
  readonly #tokens = new Map<string, TokenRecord>();
  readonly #uses = new Map<string, ReadonlySet<string>>();
  readonly #denied = new Map<string, true>();
  readonly #endpoints = new Map<string, string>();
  readonly #settings = new Map<'default_token' | 'server_key', string | PrivateKey>();
  #book: TokenBook | undefined;

  /** Throws AppError `corrupt` when two records have one address or one key. */
  constructor(contents: StoreContents) {
    const undo = new UndoLog();
    for (const record of contents.tokens) this.#tokens.set(record.token, record);
    const uses = new Map<string, Set<string>>();
    for (const { token, subject } of contents.uses) {
      const subjects = uses.get(token) ?? new Set();
      uses.set(token, subjects.add(subject));
    }
    for (const [token, subjects] of uses) this.#uses.set(token, subjects);
    for (const record of contents.machines) checkUnique(record, this.#addMachine(record, undo));
    for (const record of contents.pending) checkUnique(record, this.#addPending(record, undo));
    for (const subject of contents.denied) this.#denied.set(subject, true);
    for (const [publicKey, endpoint] of contents.endpoints) this.#endpoints.set(publicKey, endpoint);
    if (contents.defaultToken !== undefined) this.#settings.set('default_token', contents.defaultToken);
    if (contents.serverKey) this.#settings.set('server_key', contents.serverKey);
  }

  /** Throws as the constructor does. */
  static check(contents: StoreContents): void {
    void new Registry(contents);
  }

  contents(): StoreContents {
    return {
      serverKey: this.serverKey,
      defaultToken: this.defaultToken,
      tokens: this.tokenRecords(),
      uses: [...this.#uses].flatMap(([token, subjects]) =>
        [...subjects].map((subject) => ({ token, subject })),
      ),
      machines: this.machines(),
      pending: this.pendingRecords(),
      denied: [...this.#denied.keys()],
      endpoints: new Map(this.#endpoints),
    };
  }

  get serverKey(): PrivateKey | undefined {
    return this.#settings.get('server_key') as PrivateKey | undefined;
  }
  get defaultToken(): string | undefined {
    return this.#settings.get('default_token') as string | undefined;
  }
  get tokens(): TokenBook {
    this.#book ??= new TokenBook(this.#tokens.values(), this.defaultToken);
    return this.#book;
  }
  tokenRecords(): TokenRecord[] {
    return [...this.#tokens.values()];
  }
  /** Oldest first. */
  machines(): MachineRecord[] {
    return [...this.#machines.values()].toSorted((a, b) => a.joinedAtMs - b.joinedAtMs);
  }
  pendingRecords(): PendingRecord[] {
    return [...this.#pending.values()];
  }
  machine(id: string): MachineRecord | undefined {
    return this.#machines.get(id);
  }
  machinesByUuid(uuid: string): readonly MachineRecord[] {
    return this.#byUuid.get(uuid) ?? [];
  }
  machineByKey(publicKey: string): MachineRecord | undefined {
    return this.#machineByKey.get(publicKey);
  }
  pendingByKey(publicKey: string): PendingRecord | undefined {
    return this.#pending.get(publicKey);
  }
  get machineCount(): number {
    return this.#machines.size;
  }
  get pendingCount(): number {
    return this.#pending.size;
  }
  usesOf(token: string): number {
    return this.#uses.get(token)?.size ?? 0;
  }
  hasUsed(token: string, subject: string): boolean {
    return this.#uses.get(token)?.has(subject) ?? false;
  }
  isDenied(uuid: string, publicKey: string): boolean {
    return this.#denied.has(uuid) || this.#denied.has(publicKey);
  }
  isAddressTaken(address: string): boolean {
    return this.#addresses.has(address);
  }
  /** Who has this node address. */
  sourceAt(nodeAddress: string): Source | undefined {
    const owner = this.#addresses.get(nodeAddress);
    if (owner === undefined) return undefined;
    return owner.startsWith(MACHINE_PREFIX)
      ? { kind: 'machine', id: owner.slice(MACHINE_PREFIX.length) }
      : { kind: 'pending' };
  }
  /** `address:port` where the peer was last heard from. */
  endpointOf(publicKey: string): string | undefined {
    return this.#endpoints.get(publicKey);
  }

  /** All changes or none; a conflict says why none. `persist` follows when there is none; what it throws undoes all. */
  apply(changes: readonly StoreChange[], persist?: () => void): StoreConflict | undefined {
    const undo = new UndoLog();
    this.#book = undefined;
    for (const change of changes) {
      const conflict = this.#applyOne(change, undo);
      if (conflict !== undefined) {
        undo.rollBack();
        return conflict;
      }
    }
    try {
      persist?.();
    } catch (error) {
      undo.rollBack();
      this.#book = undefined;
      throw error;
    }
    return undefined;
  }

  #applyOne(change: StoreChange, undo: UndoLog): StoreConflict | undefined {
    switch (change.kind) {
      case 'put_machine': {
        const stored = this.#machines.get(change.record.id);
        if (!isExpected(stored, change.before)) return 'stale';
        if (stored) this.#removeMachine(stored, undo);
        return this.#addMachine(change.record, undo);
      }
      case 'delete_machine': {
        const stored = this.#machines.get(change.before.id);
        if (!stored || !isExpected(stored, change.before)) return 'stale';
        return this.#removeMachine(stored, undo);
      }
      case 'put_pending': {
        const stored = this.#pending.get(change.record.publicKey);
        if (!isExpected(stored, change.before)) return 'stale';
        if (stored) this.#removePending(stored, undo);
        return this.#addPending(change.record, undo);
      }
      case 'delete_pending': {
        const stored = this.#pending.get(change.before.publicKey);
        if (!stored || !isExpected(stored, change.before)) return 'stale';
        return this.#removePending(stored, undo);
      }
      case 'put_token':
        return this.#putToken(change.record, change.before, undo);
      case 'delete_token': {
        const { token } = change.before;
        if (!isExpected(this.#tokens.get(token), change.before)) return 'stale';
        if (token === this.defaultToken) return 'default_token';
        undo.delete(this.#tokens, token);
        undo.delete(this.#uses, token);
        return undefined;
      }
      case 'set_default_token':
        if (!this.#tokens.has(change.token)) return 'default_token';
        undo.set(this.#settings, 'default_token', change.token);
        return undefined;
      case 'use_token': {
        const subjects = this.#uses.get(change.token) ?? new Set();
        if (subjects.has(change.subject)) return undefined;
        const token = this.#tokens.get(change.token);
        if (!token || subjects.size >= (token.useLimit ?? Infinity)) return 'token_used_up';
        undo.set(this.#uses, change.token, new Set([...subjects, change.subject]));
        return undefined;
      }
      case 'release_uses':
        return this.#replaceUses(change.subject, undefined, undo);
      case 'rename_uses':
        return this.#replaceUses(change.from, change.to, undo);
      case 'deny':
        undo.set(this.#denied, change.subject, true);
        return undefined;
      case 'allow':
        undo.delete(this.#denied, change.subject);
        return undefined;
      case 'put_endpoint':
        if (change.endpoint === undefined) undo.delete(this.#endpoints, change.publicKey);
        else undo.set(this.#endpoints, change.publicKey, change.endpoint);
        return undefined;
      case 'set_server_key':
        undo.set(this.#settings, 'server_key', change.privateKey);
        return undefined;
    }
  }

  #addMachine(record: MachineRecord, undo: UndoLog): StoreConflict | undefined {
    if (this.#machineByKey.has(record.publicKey)) return 'public_key';
    const conflict = this.#takeAddresses(record, MACHINE_PREFIX + record.id, undo);
    if (conflict) return conflict;
    undo.set(this.#machines, record.id, record);
    undo.set(this.#machineByKey, record.publicKey, record);
    const sameUuid = [...(this.#byUuid.get(record.uuid) ?? []), record];
    undo.set(
      this.#byUuid,
      record.uuid,
      sameUuid.toSorted((a, b) => a.joinedAtMs - b.joinedAtMs),
    );
    return undefined;
  }

  #removeMachine(record: MachineRecord, undo: UndoLog): undefined {
    this.#freeAddresses(record, undo);
    undo.delete(this.#machines, record.id);
    undo.delete(this.#machineByKey, record.publicKey);
    const rest = this.machinesByUuid(record.uuid).filter(({ id }) => id !== record.id);
    if (rest.length > 0) undo.set(this.#byUuid, record.uuid, rest);
    else undo.delete(this.#byUuid, record.uuid);
  }

  #addPending(record: PendingRecord, undo: UndoLog): StoreConflict | undefined {
    const conflict = this.#takeAddresses(record, `pending:${record.publicKey}`, undo);
    if (conflict) return conflict;
    undo.set(this.#pending, record.publicKey, record);
    return undefined;
  }

  #removePending(record: PendingRecord, undo: UndoLog): undefined {
    this.#freeAddresses(record, undo);
    undo.delete(this.#pending, record.publicKey);
  }

  #takeAddresses(
    record: MachineRecord | PendingRecord,
    owner: string,
    undo: UndoLog,
  ): StoreConflict | undefined {
    for (const address of addressesOf(record)) {
      if (this.#addresses.has(address)) return 'address';
      undo.set(this.#addresses, address, owner);
    }
    return undefined;
  }

  #freeAddresses(record: MachineRecord | PendingRecord, undo: UndoLog): void {
    for (const address of addressesOf(record)) undo.delete(this.#addresses, address);
  }

  #putToken(record: TokenRecord, before: TokenRecord | undefined, undo: UndoLog): StoreConflict | undefined {
    if (!isExpected(this.#tokens.get(record.token), before)) return 'stale';
    const isTwin = (other: TokenRecord) =>
      other.token !== record.token &&
      (other.name === record.name || (other.provider !== undefined && other.provider === record.provider));
    if (this.tokenRecords().some(isTwin)) return 'token_name';
    undo.set(this.#tokens, record.token, record);
    return undefined;
  }

  #replaceUses(from: string, to: string | undefined, undo: UndoLog): undefined {
    for (const [token, subjects] of this.#uses) {
      if (!subjects.has(from)) continue;
      const rest = [...subjects].filter((subject) => subject !== from);
      undo.set(this.#uses, token, new Set(to === undefined ? rest : [...rest, to]));
    }
  }
}

function checkUnique(
  { uuid, nodeAddress }: MachineRecord | PendingRecord,
  conflict: StoreConflict | undefined,
): void {
  if (conflict === undefined) return;
  const what = conflict === 'public_key' ? 'public key' : 'address';
  throw new AppError(
    'corrupt',
    `the ${what} of machine ${uuid} (${nodeAddress}) belongs to another record too`,
  );
}

function isExpected(stored: object | undefined, before: object | undefined): boolean {
  if (!stored || !before) return stored === before;
  return stored === before || sameRecord(stored, before);
}

/** Node address, and virtual address without its port. */
export function addressesOf(record: MachineRecord | PendingRecord): string[] {
  const virtual = /^\[(.*)\]:\d+$/.exec(record.virtualEndpoint ?? '')?.[1];
  return virtual === undefined ? [record.nodeAddress] : [record.nodeAddress, virtual];
}

/** Changes of maps, and their way back. */
class UndoLog {
  readonly #steps: (() => void)[] = [];

  set<K, V>(map: Map<K, V>, key: K, value: V): void {
    this.#remember(map, key);
    map.set(key, value);
  }

  delete<K, V>(map: Map<K, V>, key: K): void {
    this.#remember(map, key);
    map.delete(key);
  }

  rollBack(): void {
    for (const step of this.#steps.toReversed()) step();
  }

  #remember<K, V>(map: Map<K, V>, key: K): void {
    const had = map.has(key);
    const value = map.get(key) as V;
    this.#steps.push(() => {
      if (had) map.set(key, value);
      else map.delete(key);
    });
  }
}
