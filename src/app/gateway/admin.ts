/** What operators can do with a running gateway. Transports (the admin socket, a status page) call this and nothing else. */
import type { Clock } from '../../core/clock.ts';
import { AppError, usageError } from '../../core/errors.ts';
import type { Random } from '../../core/random.ts';
import type { Gateway } from '../../link/gateway.ts';
import type { EntryKind, Followers, Journal } from '../../link/journal.ts';
import {
  acceptPending,
  beginRemoval,
  denyPending,
  dropPending,
  forgetUniqueToken,
  removeMachine,
  setTunnel,
} from '../../link/machine-admin.ts';
import type { StoreChange } from '../../link/records.ts';
import type { Registry } from '../../link/registry.ts';
import { findToken, newToken, type NewToken, revokeToken } from '../../link/token-admin.ts';
import type { ReloadReport } from '../config/reload.ts';
import { AdminReader } from './admin-reader.ts';
import {
  isMember,
  type JoinView,
  type LiveLookup,
  type MachineView,
  type StatusView,
  type TokenView,
  tokenView,
  type TunnelChoice,
} from './admin-views.ts';
import { type JoinBase, joinView } from './join-view.ts';

export interface AdminParts {
  readonly gateway: Gateway;
  readonly journal: Journal;
  readonly followers: Followers;
  readonly live: () => LiveLookup;
  readonly clock: Clock;
  readonly random: Random;
  readonly join: () => JoinBase;
  /** What is known beyond the machines. */
  readonly status: () => Omit<StatusView, 'machines'>;
  /** A machine is gone for good: its limits and counters may go too. */
  readonly onForgotten: (machine: string) => void;
  /** Reads the configuration again. */
  readonly reload: () => Promise<ReloadReport>;
}

/** Changes that a Provision call overtook are decided again this often. */
const MAX_ATTEMPTS = 5;

export type NewTokenRequest = Omit<NewToken, 'provider' | 'token'>;

export class Admin extends AdminReader {
  readonly #parts: AdminParts;

  constructor(parts: AdminParts) {
    const { gateway, live, journal, clock } = parts;
    super({ registry: () => gateway.registry, live, journal, clock });
    this.#parts = parts;
  }

  status(views: readonly MachineView[] = this.machines()): StatusView {
    const machines: Record<string, number> = {};
    for (const { state } of views) machines[state] = (machines[state] ?? 0) + 1;
    return { ...this.#parts.status(), machines };
  }

  /** Applies what the configuration says now. Rejects with AppError when it is wrong: then nothing has changed. */
  reload(): Promise<ReloadReport> {
    return this.#parts.reload();
  }

  /** Lets a waiting machine in, or takes back that a UUID or key is turned away. */
  async accept(text: string): Promise<MachineView | undefined> {
    if (this.denied().includes(text)) {
      await this.#commit(() => [{ kind: 'allow', subject: text }]);
      return undefined;
    }
    const before = this.find(text);
    if (isMember(before)) throw usageError(`machine ${before.id} has been accepted already`);
    await this.#commit((registry) => {
      const pending = registry.pendingByKey(before.publicKey);
      if (!pending) throw new AppError('not_found', `machine ${before.uuid} waits no longer`);
      return acceptPending(pending, registry, this.#parts.clock.wall());
    });
    return this.machine(before.publicKey);
  }

  /** Turns a machine away for good; one that has joined is removed first. Resolves to what is turned away. */
  async deny(text: string): Promise<string> {
    const before = this.find(text);
    let subject = before.publicKey;
    if (isMember(before)) {
      subject = before.id === before.uuid ? before.uuid : before.publicKey;
      // In this order, or it could join again in between.
      await this.#commit(() => [{ kind: 'deny', subject }]);
      await this.#remove(before.publicKey);
      return subject;
    }
    await this.#commit((registry) => {
      const pending = registry.pendingByKey(before.publicKey);
      if (!pending) throw new AppError('not_found', `machine ${before.uuid} waits no longer`);
      const changes = denyPending(pending, registry);
      for (const change of changes) if (change.kind === 'deny') subject = change.subject;
      return changes;
    });
    return subject;
  }

  /** Forgets a machine: its address, its peer, its logs. With a valid token it may join again as a new one. */
  async remove(text: string): Promise<MachineView> {
    const view = this.machine(text);
    await this.#remove(view.publicKey);
    return view;
  }

  async #remove(publicKey: string): Promise<void> {
    await this.#commit((registry) => {
      const machine = registry.machineByKey(publicKey);
      const pending = registry.pendingByKey(publicKey);
      return machine ? beginRemoval(machine) : pending ? dropPending(pending) : [];
    });
    let id: string | undefined;
    await this.#commit((registry) => {
      const machine = registry.machineByKey(publicKey);
      id = machine?.id;
      return machine ? removeMachine(machine) : [];
    });
    if (id === undefined) return;
    this.#parts.journal.forget(id);
    this.#parts.onForgotten(id);
  }

  /** Takes effect at the machine's next Provision. */
  async setTunnel(text: string, choice: TunnelChoice): Promise<MachineView> {
    const { id } = this.member(text);
    const wanted = choice === 'auto' ? undefined : choice === 'on';
    await this.#commit((registry) => setTunnel(existing(registry, id), wanted));
    return this.machine(id);
  }

  /** The machine may come back with another unique token: after it was wiped, for instance. */
  async resetUniqueToken(text: string): Promise<MachineView> {
    const { id } = this.member(text);
    await this.#commit((registry) => forgetUniqueToken(existing(registry, id)));
    return this.machine(id);
  }

  /** Calls back when there is more to be had from `entries`. Returns what ends it. */
  follow(text: string, kind: EntryKind, more: () => void): () => void {
    return this.#parts.followers.follow(this.member(text).id, kind, more);
  }

  async createToken(request: NewTokenRequest, isDefault: boolean): Promise<JoinView> {
    const { clock, random, join } = this.#parts;
    const record = newToken(request, random, clock.wall());
    await this.#commit((registry) => {
      if (registry.tokenRecords().some(({ name }) => name === record.name)) {
        throw new AppError('in_use', `there is a join token named "${record.name}"`, {
          hint: 'choose another name, or "culvert token rm" the old one',
        });
      }
      return [
        { kind: 'put_token', record, before: undefined },
        ...(isDefault ? [{ kind: 'set_default_token' as const, token: record.token }] : []),
      ];
    });
    return joinView(record, join(), false);
  }

  /** How to join with a token; the default one when `name` is absent. The only operation that shows a token. */
  join(name: string | undefined, wantsTunnel: boolean): JoinView {
    const { registry } = this.#parts.gateway;
    const record = name === undefined ? registry.tokens.default : findToken(name, registry.tokenRecords());
    if (!record)
      throw new AppError('not_found', 'there is no default join token', { hint: 'culvert token ls' });
    return joinView(record, this.#parts.join(), wantsTunnel);
  }

  /** Machines that joined with it stay; `isRevoked` false takes it back. */
  revokeToken(name: string, isRevoked: boolean): Promise<TokenView> {
    return this.#changeToken(name, (record) => revokeToken(record, isRevoked));
  }

  setDefaultToken(name: string): Promise<TokenView> {
    return this.#changeToken(name, ({ token }) => [{ kind: 'set_default_token', token }]);
  }

  async removeToken(name: string): Promise<void> {
    await this.#commit((registry) => {
      const before = findToken(name, registry.tokenRecords());
      if (before.token === registry.defaultToken) {
        throw usageError(`"${before.name}" is the default join token`, 'make another one the default first');
      }
      return [{ kind: 'delete_token', before }];
    });
  }

  async #changeToken(
    name: string,
    decide: (record: ReturnType<typeof findToken>) => StoreChange[],
  ): Promise<TokenView> {
    const { gateway, clock } = this.#parts;
    await this.#commit((registry) => decide(findToken(name, registry.tokenRecords())));
    const { registry } = gateway;
    return tokenView(findToken(name, registry.tokenRecords()), registry, clock.wall());
  }

  async #commit(decide: (registry: Registry) => readonly StoreChange[]): Promise<void> {
    const { gateway } = this.#parts;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (await gateway.commit(decide(gateway.registry))) return;
    }
    throw new AppError('internal', `the state kept changing during ${MAX_ATTEMPTS} attempts`);
  }
}

function existing(registry: Registry, id: string): NonNullable<ReturnType<Registry['machine']>> {
  const machine = registry.machine(id);
  if (!machine) throw new AppError('not_found', `machine ${id} was removed meanwhile`);
  return machine;
}
