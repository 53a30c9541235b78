import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { type Clock, systemClock } from '../../../src/core/clock.ts';
import { AppError } from '../../../src/core/errors.ts';
import {
  AEAD_FACTORIES,
  type AeadFactories,
  type AeadReport,
  createTransportAead,
} from '../../../src/noise/aead-choose.ts';
import { CompositeTransportAead } from '../../../src/noise/aead-composite.ts';
import { NobleTransportAead } from '../../../src/noise/aead-noble.ts';
import { NodeTransportAead } from '../../../src/noise/aead-node.ts';
import { ANSWER_SHA256, TRIAL_SIZES, beginTrial, testAnswers } from '../../../src/noise/aead-trial.ts';
import { WasmTransportAead } from '../../../src/noise/aead-wasm.ts';
import type { AeadBatch, TransportAead } from '../../../src/noise/aead.ts';
import { transportAeadContract } from '../../contracts/aead.ts';

transportAeadContract(
  'wasm+node',
  (arena) => new CompositeTransportAead(new WasmTransportAead(arena), new NodeTransportAead(arena), 300),
);
transportAeadContract(
  'chosen automatically',
  (arena) => createTransportAead(arena, { wanted: 'auto', clock: systemClock }).aead,
);

/** A backend that answers like noble, with its name, and lets `cost` milliseconds pass for a text of a given size. */
class Pretender implements TransportAead {
  readonly name: string;
  readonly #inner: NobleTransportAead;
  readonly #pass: (ms: number) => void;
  readonly #cost: (size: number) => number;

  constructor(name: string, arena: Arena, pass: (ms: number) => void, cost: (size: number) => number) {
    this.name = name;
    this.#inner = new NobleTransportAead(arena);
    this.#pass = pass;
    this.#cost = cost;
  }
  addKey(key: Uint8Array): number {
    return this.#inner.addKey(key);
  }
  dropKey(handle: number): void {
    this.#inner.dropKey(handle);
  }
  seal(batch: AeadBatch): void {
    this.#inner.seal(batch);
    this.#spend(batch);
  }
  open(batch: AeadBatch): void {
    this.#inner.open(batch);
    this.#spend(batch);
  }
  #spend(batch: AeadBatch): void {
    for (let i = 0; i < batch.count; i++) this.#pass(this.#cost(batch.length(i)));
  }
}

type Costs = Partial<Record<keyof AeadFactories, (size: number) => number>>;

/** A machine where backends cost this much; those left out do not load. */
function machine(costs: Costs): { readonly clock: Clock; readonly factories: AeadFactories } {
  let now = 0;
  const pass = (ms: number) => (now += ms);
  const make = (name: keyof AeadFactories) => (arena: Arena) => {
    const cost = costs[name];
    if (cost === undefined) throw new AppError('unavailable', `${name} is not on this machine`);
    return new Pretender(name, arena, pass, cost);
  };
  return {
    clock: { now: () => now, wall: () => 0 },
    factories: {
      wasm: make('wasm'),
      'openssl-core': make('openssl-core'),
      openssl: make('openssl'),
      node: make('node'),
      noble: make('noble'),
    },
  };
}

const line = (fixed: number, perByte: number) => (size: number) => (fixed + perByte * size) / 1e6;

function reportOf(costs: Costs, longestText = 65_535) {
  const arena = new Arena({ bytes: 1 << 20 });
  return createTransportAead(arena, { wanted: 'auto', longestText, ...machine(costs) }).report;
}

test('takes the backend that is fastest at every size alone', () => {
  const report = reportOf({ wasm: line(100, 1), 'openssl-core': line(1000, 1) });
  assert.equal(report.chosen, 'wasm');
  assert.equal(report.longestShort, undefined);
  for (const [i, size] of TRIAL_SIZES.entries()) {
    const ns = report.candidates.map(({ result }) => Math.round(result[i] as number));
    assert.deepEqual(ns, [100 + size, 1000 + size]);
  }
});

test('takes two backends where one is better with short and one with long packets, split where they cross', () => {
  const report = reportOf({ wasm: line(100, 1), openssl: line(1100, 0.5), node: line(4000, 1) });
  assert.equal(report.chosen, 'wasm+openssl');
  assert.ok(Math.abs((report.longestShort as number) - 2000) <= 1, `split at ${report.longestShort}`);
});

test('tries slower ways to the same code only where the faster ones fail', () => {
  const costs = { wasm: line(100, 1), openssl: line(1100, 0.5), node: line(4000, 0.5) };
  const names = (report: AeadReport) => report.candidates.map(({ name }) => name);
  assert.deepEqual(names(reportOf(costs)), ['wasm', 'openssl-core', 'openssl']);
  const all = reportOf({ ...costs, 'openssl-core': line(300, 0.5) });
  assert.deepEqual(names(all), ['wasm', 'openssl-core']);
  assert.equal(all.chosen, 'wasm+openssl-core');
});

test('takes no second backend for packets that do not come, nor for a small gain', () => {
  assert.equal(reportOf({ wasm: line(100, 1), openssl: line(1100, 0.5) }, 1440).chosen, 'wasm');
  assert.equal(reportOf({ wasm: line(100, 1), openssl: line(200, 0.95) }).chosen, 'wasm');
});

test('does without backends that do not load and says why', () => {
  const report = reportOf({ node: line(4000, 1) });
  assert.equal(report.chosen, 'node');
  assert.deepEqual(
    report.candidates.map(({ name, result }) => [name, typeof result === 'string' ? result : 'measured']),
    [
      ['wasm', 'wasm is not on this machine'],
      ['openssl-core', 'openssl-core is not on this machine'],
      ['openssl', 'openssl is not on this machine'],
      ['node', 'measured'],
    ],
  );
});

test('falls back to noble when nothing else works', () => {
  const arena = new Arena({ bytes: 1 << 20 });
  const { factories, clock } = machine({});
  const { aead, report } = createTransportAead(arena, {
    wanted: 'auto',
    clock,
    factories: { ...factories, noble: AEAD_FACTORIES.noble },
  });
  assert.equal(aead.name, 'noble');
  assert.equal(report.chosen, 'noble');
});

test('a wanted backend is taken although another is faster, and is an error when it does not work', () => {
  const arena = new Arena({ bytes: 1 << 20 });
  const { factories, clock } = machine({ node: line(4000, 1), noble: line(9000, 9) });
  const noble = createTransportAead(arena, { wanted: 'noble', clock, factories });
  assert.equal(noble.aead.name, 'noble');
  assert.throws(
    () => createTransportAead(arena, { wanted: 'wasm', clock, factories }),
    (error) =>
      error instanceof AppError && error.code === 'unavailable' && /not on this machine/.test(error.message),
  );
});

test('each real backend that loads gives the known answers; node and wasm load anywhere', () => {
  for (const [name, make] of Object.entries(AEAD_FACTORIES)) {
    if (name.startsWith('openssl')) continue;
    assert.equal(testAnswers(beginTrial(make, false)), undefined, name);
  }
});

test('the known answer is what node:crypto makes of those packets, one by one', () => {
  const trial = beginTrial((arena) => new NobleTransportAead(arena), false);
  const packets: { text: Uint8Array; nonce: Buffer; key: number }[] = [];
  const keys = [0x00, 0x5a, 0xff];
  // Sees the packets before they are sealed.
  const spy: TransportAead = {
    name: 'spy',
    addKey: () => packets.length + 1,
    dropKey: () => {},
    seal: (batch) => {
      for (let i = 0; i < batch.count; i++) {
        const nonce = Buffer.alloc(12);
        nonce.writeUInt32LE(batch.counterLow(i), 4);
        nonce.writeUInt32LE(batch.counterHigh(i), 8);
        const text = trial.arena.u8.slice(batch.at(i), batch.at(i) + batch.length(i));
        packets.push({ text, nonce, key: keys[i % keys.length] as number });
      }
    },
    open: () => {},
  };
  assert.notEqual(testAnswers({ ...trial, aead: spy }), undefined);
  const digest = createHash('sha256');
  for (const { text, nonce, key } of packets) {
    const cipher = createCipheriv('chacha20-poly1305', Buffer.alloc(32, key), nonce, { authTagLength: 16 });
    digest.update(cipher.update(text));
    cipher.final();
    digest.update(cipher.getAuthTag());
  }
  assert.equal(packets.length, trial.batch.count);
  assert.equal(digest.digest('hex'), ANSWER_SHA256);
});

const FAULTS: readonly [string, (aead: NobleTransportAead) => Partial<TransportAead>][] = [
  [
    'seals one byte wrongly',
    (aead) => ({
      seal: (batch) => {
        aead.seal(batch);
        const at = batch.at(30) + 5;
        batch.arena.u8[at] = (batch.arena.u8[at] as number) ^ 1;
      },
    }),
  ],
  [
    'takes any tag',
    (aead) => ({
      open: (batch) => {
        aead.open(batch);
        for (let i = 0; i < batch.count; i++) batch.setStatus(i, 1);
      },
    }),
  ],
  [
    'opens one byte wrongly',
    (aead) => ({
      open: (batch) => {
        aead.open(batch);
        const at = batch.at(31) + 63;
        batch.arena.u8[at] = (batch.arena.u8[at] as number) ^ 1;
      },
    }),
  ],
];

for (const [what, fault] of FAULTS) {
  test(`a backend that ${what} is excluded`, () => {
    const make = (arena: Arena): TransportAead => {
      const inner = new NobleTransportAead(arena);
      const whole: TransportAead = {
        name: 'wasm',
        addKey: (key) => inner.addKey(key),
        dropKey: (handle) => inner.dropKey(handle),
        seal: (batch) => inner.seal(batch),
        open: (batch) => inner.open(batch),
      };
      return { ...whole, ...fault(inner) };
    };
    const { factories, clock } = machine({ node: line(4000, 1) });
    const arena = new Arena({ bytes: 1 << 20 });
    const { report } = createTransportAead(arena, {
      wanted: 'auto',
      clock,
      factories: { ...factories, wasm: make },
    });
    assert.equal(report.chosen, 'node');
    const [wasm] = report.candidates;
    assert.equal(typeof wasm?.result, 'string', JSON.stringify(wasm));
  });
}
