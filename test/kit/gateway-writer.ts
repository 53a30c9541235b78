// A process to be killed: a gateway over a state directory, under a load of joins, new keys, removals and token changes.
// Prints what it begins and what was acknowledged, see `crash-rounds.ts`. Arguments: state directory, seed.
import { writeSync } from 'node:fs';
import type { Gateway } from '../../src/link/gateway.ts';
import { removeMachine } from '../../src/link/machine-admin.ts';
import { SqliteStore } from '../../src/link/sqlite-store.ts';
import { firstStart, newToken, revokeToken } from '../../src/link/token-admin.ts';
import { CALLER, callOf, randomKey, startGatewayOn } from './gateway.ts';
import { seededRandom } from './random.ts';

/** What the test compares; null: does not exist. `token` is the one a machine joined with. */
export type EntityView = {
  readonly key?: string;
  readonly address?: string;
  readonly token?: string;
  readonly isRevoked?: boolean;
} | null;

export interface WriterLine {
  readonly kind: 'begin' | 'acknowledged';
  /** `machine NAME` or `token NAME`. */
  readonly entity: string;
  /** At the beginning, what is known of the outcome. */
  readonly view: EntityView;
}

const WORKERS = 8;
const MACHINES_OF_A_WORKER = 6;
const MAX_TOKENS = 4;
const USE_LIMIT = 3;

const [directory = '', seed = '1'] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const below = (bound: number) => random.u32() % bound;
const newKey = () => randomKey(random);

async function open(): Promise<{ store: SqliteStore; gateway: Gateway }> {
  const store = SqliteStore.open(directory);
  await store.commit(firstStart(await store.load(), random, 0, 'default'));
  return { store, gateway: await startGatewayOn(store, random) };
}

async function provision(gateway: Gateway, name: string): Promise<void> {
  const before = gateway.registry.machine(name);
  const tokens = gateway.registry.tokenRecords();
  const token = tokens[below(tokens.length)]?.token as string;
  const key = before && below(3) === 0 ? before.publicKey : newKey();
  const entity = `machine ${name}`;
  const joined = before ? {} : { token };
  say({ kind: 'begin', entity, view: { key, ...joined } });
  const answer = await gateway.provision(
    { ...callOf(name, key, before ? 'default' : token), wireguardOverGrpc: below(2) === 0 },
    CALLER,
  );
  if ('code' in answer) {
    // A token without a use left, or revoked: nothing has changed.
    if (answer.message !== 'unauthorized') throw new Error(answer.message);
    say({ kind: 'acknowledged', entity, view: before ? viewOf(before.publicKey, before.nodeAddress) : null });
    return;
  }
  const address = answer.nodeAddressPrefix.replace('/64', '');
  say({ kind: 'acknowledged', entity, view: { ...viewOf(key, address), ...joined } });
}

const viewOf = (key: string, address: string) => ({ key, address });

async function remove(gateway: Gateway, name: string): Promise<void> {
  const machine = gateway.registry.machine(name);
  if (!machine) return;
  say({ kind: 'begin', entity: `machine ${name}`, view: null });
  if (await gateway.commit(removeMachine(machine)))
    say({ kind: 'acknowledged', entity: `machine ${name}`, view: null });
}

async function changeTokens(gateway: Gateway): Promise<void> {
  const tokens = gateway.registry.tokenRecords().filter(({ name }) => name.startsWith('t'));
  const chosen = tokens[below(MAX_TOKENS)];
  if (!chosen) {
    const name = `t${random.u32()}`;
    const record = newToken({ name, token: name, useLimit: USE_LIMIT }, random, 0);
    say({ kind: 'begin', entity: `token ${name}`, view: { isRevoked: false } });
    if (await gateway.commit([{ kind: 'put_token', record, before: undefined }]))
      say({ kind: 'acknowledged', entity: `token ${name}`, view: { isRevoked: false } });
    return;
  }
  const entity = `token ${chosen.name}`;
  const isDeleted = below(4) === 0;
  const view = isDeleted ? null : { isRevoked: !chosen.isRevoked };
  say({ kind: 'begin', entity, view });
  const changes = isDeleted
    ? ([{ kind: 'delete_token', before: chosen }] as const)
    : revokeToken(chosen, !chosen.isRevoked);
  if (await gateway.commit(changes)) say({ kind: 'acknowledged', entity, view });
}

async function work(gateway: Gateway, worker: number): Promise<void> {
  for (let step = 0; step < 40; step++) {
    const name = `m-${worker}-${below(MACHINES_OF_A_WORKER)}`;
    if (worker === 0 && below(2) === 0) await changeTokens(gateway);
    else if (below(5) === 0) await remove(gateway, name);
    else await provision(gateway, name);
    // The death of the process finds it anywhere between two turns too.
    if (below(4) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** At once and not through a stream's buffer; the pipe does not block. */
function say(line: WriterLine): void {
  const text = `${JSON.stringify(line)}\n`;
  for (;;) {
    try {
      writeSync(1, text);
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EAGAIN') throw error;
    }
  }
}

// Restarts in good order belong to the load: their checkpoints are places to be killed at, too.
for (;;) {
  const { store, gateway } = await open();
  await Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(gateway, worker)));
  await store.close();
}
