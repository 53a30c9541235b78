/**
 * The operations of an Admin by name, with their inputs checked: what transports offer. Inputs and outputs are plain
 * data that survive JSON.
 */
import { nearest, usageError } from '../../core/errors.ts';
import type { EntryKind } from '../../link/journal.ts';
import type { ReloadReport } from '../config/reload.ts';
import type { Admin } from './admin.ts';
import {
  type EntryView,
  type JoinView,
  type MachineView,
  type StatusView,
  type TokenView,
  TUNNEL_CHOICES,
  type TunnelChoice,
} from './admin-views.ts';

/** Inputs and outputs of all operations. */
export interface AdminOperations {
  status: { input: object; output: StatusView };
  reload: { input: object; output: ReloadReport };
  'machines.list': {
    input: object;
    output: { readonly machines: MachineView[]; readonly denied: readonly string[] };
  };
  'machines.show': { input: MachineInput; output: MachineView };
  'machines.accept': { input: MachineInput; output: MachineView | null };
  'machines.deny': { input: MachineInput; output: { readonly denied: string } };
  'machines.remove': { input: MachineInput; output: MachineView };
  'machines.tunnel': { input: MachineInput & { readonly tunnel: TunnelChoice }; output: MachineView };
  'machines.reset-token': { input: MachineInput; output: MachineView };
  'machines.entries': { input: EntriesInput; output: EntryView[] };
  'tokens.list': { input: object; output: TokenView[] };
  'tokens.create': { input: CreateTokenInput; output: JoinView };
  'tokens.join': { input: { readonly name?: string; readonly wantsTunnel?: boolean }; output: JoinView };
  'tokens.revoke': { input: { readonly name: string; readonly isRevoked: boolean }; output: TokenView };
  'tokens.default': { input: { readonly name: string }; output: TokenView };
  'tokens.remove': { input: { readonly name: string }; output: null };
}

export type AdminOperation = keyof AdminOperations;

export interface MachineInput {
  /** As AdminReader.find takes it. */
  readonly machine: string;
}

export interface EntriesInput extends MachineInput {
  readonly kind: EntryKind;
  readonly count: number;
  /** Only those with a higher sequence number. */
  readonly after?: number;
}

export interface CreateTokenInput {
  readonly name: string;
  readonly description?: string;
  readonly expiresAtMs?: number;
  readonly useLimit?: number;
  readonly isDefault?: boolean;
}

/** Most entries in one answer. */
export const MAX_ENTRIES = 1_000;

type Handlers = {
  readonly [Name in AdminOperation]: (
    admin: Admin,
    input: Input,
  ) => AdminOperations[Name]['output'] | Promise<AdminOperations[Name]['output']>;
};

const HANDLERS: Handlers = {
  status: (admin) => admin.status(),
  reload: (admin) => admin.reload(),
  'machines.list': (admin) => ({ machines: admin.machines(), denied: admin.denied() }),
  'machines.show': (admin, input) => admin.machine(input.text('machine')),
  'machines.accept': async (admin, input) => (await admin.accept(input.text('machine'))) ?? null,
  'machines.deny': async (admin, input) => ({ denied: await admin.deny(input.text('machine')) }),
  'machines.remove': (admin, input) => admin.remove(input.text('machine')),
  'machines.tunnel': (admin, input) =>
    admin.setTunnel(input.text('machine'), input.choice('tunnel', TUNNEL_CHOICES)),
  'machines.reset-token': (admin, input) => admin.resetUniqueToken(input.text('machine')),
  'machines.entries': (admin, input) => {
    const { machine, kind, count, after } = readEntriesInput(input);
    return admin.entries(machine, kind, count, after);
  },
  'tokens.list': (admin) => admin.tokens(),
  'tokens.create': (admin, input) =>
    admin.createToken(
      {
        name: input.text('name'),
        description: input.optionalText('description'),
        expiresAtMs: input.optionalNumber('expiresAtMs'),
        useLimit: input.optionalNumber('useLimit'),
      },
      input.optionalFlag('isDefault'),
    ),
  'tokens.join': (admin, input) => admin.join(input.optionalText('name'), input.optionalFlag('wantsTunnel')),
  'tokens.revoke': (admin, input) => admin.revokeToken(input.text('name'), input.optionalFlag('isRevoked')),
  'tokens.default': (admin, input) => admin.setDefaultToken(input.text('name')),
  'tokens.remove': async (admin, input) => {
    await admin.removeToken(input.text('name'));
    return null;
  },
};

/** Throws AppError: `usage` for an unknown operation or a wrong input, else what the operation says. */
export async function runOperation(admin: Admin, name: string, input: unknown): Promise<unknown> {
  if (!Object.hasOwn(HANDLERS, name)) {
    const near = nearest(name, Object.keys(HANDLERS));
    throw usageError(`unknown operation "${name}"`, near === undefined ? undefined : `did you mean ${near}?`);
  }
  return HANDLERS[name as AdminOperation](admin, new Input(input));
}

export function readEntriesInput(input: Input): EntriesInput {
  const after = input.optionalNumber('after');
  return {
    machine: input.text('machine'),
    kind: input.choice('kind', ['log', 'event']),
    count: Math.min(MAX_ENTRIES, Math.max(0, Math.floor(input.optionalNumber('count') ?? MAX_ENTRIES))),
    ...(after === undefined ? {} : { after }),
  };
}

/** Members of a JSON object, each checked when it is asked for. */
export class Input {
  readonly #members: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw usageError('the input is not a JSON object');
    }
    this.#members = value as Record<string, unknown>;
  }

  text(name: string): string {
    const text = this.optionalText(name);
    if (text === undefined || text === '') throw usageError(`input "${name}" is missing`);
    return text;
  }

  optionalText(name: string): string | undefined {
    const value = this.#member(name);
    if (value === undefined || typeof value === 'string') return value;
    throw usageError(`input "${name}" is not a text`);
  }

  optionalNumber(name: string): number | undefined {
    const value = this.#member(name);
    if (value === undefined || (typeof value === 'number' && Number.isFinite(value))) return value;
    throw usageError(`input "${name}" is not a number`);
  }

  /** Absent is false. */
  optionalFlag(name: string): boolean {
    const value = this.#member(name) ?? false;
    if (typeof value === 'boolean') return value;
    throw usageError(`input "${name}" is not true or false`);
  }

  choice<Value extends string>(name: string, values: readonly Value[]): Value {
    const text = this.text(name);
    const found = values.find((value) => value === text);
    if (found === undefined) {
      throw usageError(`input "${name}": expected ${values.join(', ')}, got ${JSON.stringify(text)}`);
    }
    return found;
  }

  /** Null counts as absent. */
  #member(name: string): unknown {
    return Object.hasOwn(this.#members, name) ? (this.#members[name] ?? undefined) : undefined;
  }
}
