// Kills a gateway at random points and compares what its store has with what was acknowledged.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Random } from '../../src/core/random.ts';
import { SqliteStore } from '../../src/link/sqlite-store.ts';
import { addressesOf } from '../../src/link/registry.ts';
import type { StoreContents } from '../../src/link/store.ts';
import type { EntityView, WriterLine } from './gateway-writer.ts';
import { seededRandom } from './random.ts';

const WRITER = fileURLToPath(new URL('gateway-writer.js', import.meta.url));
const MAX_ACKNOWLEDGED = 120;
const MAX_LIFE_MS = 600;

interface Entity {
  acknowledged: EntityView;
  /** Begun and not acknowledged: it has happened or not. */
  begun?: EntityView | undefined;
  /** What the process said of it in this life, for the message. */
  readonly said: string[];
}

export interface CrashReport {
  rounds: number;
  acknowledged: number;
  /** Begun, never acknowledged, and there nevertheless. */
  done: number;
  /** Killed before it could open its store. */
  early: number;
}

/** Runs so many rounds over one state directory. Throws AssertionError when something is lost or given twice. */
export async function crashRounds(rounds: number, seed: number): Promise<CrashReport> {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-crash-'));
  const random = seededRandom(seed);
  const entities = new Map<string, Entity>();
  const report: CrashReport = { rounds, acknowledged: 0, done: 0, early: 0 };
  try {
    for (let round = 0; round < rounds; round++) {
      const heard = await oneLife(directory, random, entities);
      report.acknowledged += heard;
      if (heard === 0) report.early++;
      const store = SqliteStore.open(directory);
      report.done += compare(await store.load(), entities);
      await store.close();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  return report;
}

/** Returns how much was acknowledged before the process was killed. */
async function oneLife(directory: string, random: Random, entities: Map<string, Entity>): Promise<number> {
  const child = spawn(process.execPath, [WRITER, directory, String(random.u32())], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  // By count the middle of the work is hit, by time also its beginning, before there is anything to count.
  const isByTime = random.u32() % 4 === 0;
  const last = isByTime ? Infinity : 1 + (random.u32() % MAX_ACKNOWLEDGED);
  const timer = setTimeout(() => child.kill('SIGKILL'), isByTime ? random.u32() % MAX_LIFE_MS : 60_000);
  let heard = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.endsWith('}')) continue;
    heard += hear(JSON.parse(line) as WriterLine, entities);
    if (heard === last) child.kill('SIGKILL');
  }
  await exited;
  clearTimeout(timer);
  assert.equal(child.signalCode, 'SIGKILL', `the gateway ended by itself with ${child.exitCode}`);
  return heard;
}

function hear({ kind, entity: name, view }: WriterLine, entities: Map<string, Entity>): number {
  const entity = entities.get(name) ?? { acknowledged: null, said: [] };
  entity.said.push(`${kind} ${text(view)}`);
  entities.set(name, entity);
  if (kind === 'begin') {
    entity.begun = view;
    return 0;
  }
  const before = entity.acknowledged;
  if (before?.address !== undefined && view) assert.equal(view.address, before.address, `${name} moved`);
  entity.acknowledged = view && { ...before, ...view };
  entity.begun = undefined;
  return 1;
}

/** Returns how many steps had happened without having been acknowledged. */
function compare(contents: StoreContents, entities: Map<string, Entity>): number {
  const stored = new Map<string, EntityView>();
  for (const { id, publicKey, nodeAddress } of contents.machines)
    stored.set(`machine ${id}`, { key: publicKey, address: nodeAddress });
  for (const { name, isRevoked } of contents.tokens)
    if (name.startsWith('t')) stored.set(`token ${name}`, { isRevoked });
  let done = 0;
  for (const [name, entity] of entities) {
    const found = stored.get(name) ?? null;
    stored.delete(name);
    const { acknowledged, begun } = entity;
    if (!isView(found, acknowledged)) {
      assert.ok(
        begun !== undefined && isView(found, begun && { ...addressOf(acknowledged), ...begun }),
        `${name}: acknowledged ${text(acknowledged)}, begun ${text(begun)}, found ${text(found)}; it said ${entity.said.slice(-6).join(', ')}`,
      );
      entity.acknowledged = found && { ...acknowledged, ...begun, ...found };
      done++;
    }
    entity.begun = undefined;
    entity.said.push('killed');
  }
  assert.deepEqual([...stored.keys()], [], 'nobody asked for these');
  assertAddresses(contents);
  assertUses(contents, entities);
  return done;
}

const addressOf = (view: EntityView) => (view?.address === undefined ? {} : { address: view.address });
const text = (view: EntityView | undefined) => JSON.stringify(view);

function isView(found: EntityView, wanted: EntityView): boolean {
  if (!found || !wanted) return found === wanted;
  return (['key', 'address', 'isRevoked'] as const).every(
    (member) => wanted[member] === undefined || wanted[member] === found[member],
  );
}

function assertAddresses({ machines, pending }: StoreContents): void {
  const all = [...machines, ...pending].flatMap(addressesOf);
  assert.equal(new Set(all).size, all.length, 'an address is given twice');
}

/** Each machine counts once against the token it joined with, as long as that exists; limits hold. */
function assertUses(contents: StoreContents, entities: Map<string, Entity>): void {
  const found = new Set(contents.uses.map(({ token, subject }) => `${token} ${subject}`));
  const tokens = new Set(contents.tokens.map(({ token }) => token));
  const wanted = new Set(
    contents.machines.flatMap(({ id }) => {
      const token = entities.get(`machine ${id}`)?.acknowledged?.token;
      return token !== undefined && tokens.has(token) ? [`${token} machine:${id}`] : [];
    }),
  );
  for (const use of wanted) assert.ok(found.has(use), `the use ${use} is lost`);
  for (const { token, useLimit = Infinity } of contents.tokens) {
    const uses = contents.uses.filter((use) => use.token === token).length;
    assert.ok(uses <= useLimit, `token ${token} has ${uses} uses of ${useLimit}`);
  }
}
