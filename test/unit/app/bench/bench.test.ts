import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { aeadSteps } from '../../../../src/app/bench/aead.ts';
import { grpcSteps } from '../../../../src/app/bench/grpc.ts';
import { laneSteps } from '../../../../src/app/bench/lane.ts';
import { type Row, type Step, timings } from '../../../../src/app/bench/measure.ts';
import { NoiseWatch } from '../../../../src/app/bench/noise.ts';
import { renderNoise, renderRows } from '../../../../src/app/bench/render.ts';
import { parseBenchName, runSteps } from '../../../../src/app/bench/run.ts';
import { palette } from '../../../../src/app/show-values.ts';
import { documentedMembers } from '../../../kit/json-reference.ts';
import { AppError } from '../../../../src/core/errors.ts';

const CULVERT = fileURLToPath(new URL('../../../../../bin/culvert', import.meta.url));
const plain = { colours: palette(false), hasBlocks: false };
const quiet = () =>
  new NoiseWatch(
    () => undefined,
    () => Promise.resolve(),
  );

async function rowsOf(steps: readonly Step[]): Promise<Row[]> {
  return runSteps(steps, { noise: quiet(), onStep: () => {}, signal: new AbortController().signal });
}

test('bench: rows of one operation stand together, with bars in proportion', () => {
  const text = renderRows(
    [
      { operation: 'seal 1000 B', backend: 'fast', ns: 1_000, bytes: 1_000, spread: 0.034 },
      { operation: 'open', backend: 'fast', ns: 500 },
      { operation: 'seal 1000 B', backend: 'slow', ns: 4_000, bytes: 1_000 },
    ],
    plain,
  );
  assert.equal(
    text,
    `seal 1000 B
  fast                      1,000 MB/s  ########################    1,000 ns    +3 %
  slow                        250 MB/s  ######                      4,000 ns

open
  fast                     2,000,000/s  ########################      500 ns
`,
  );
});

test('bench: network figures are told in Gbit/s and ms, and the shorter round trip has the longer bar', () => {
  const text = renderRows(
    [
      { operation: 'TCP', backend: 'one', ns: 1e9, bytes: 250e6, unit: 'Gbit/s', note: '2.00 CPU s/GB' },
      { operation: 'ping', backend: 'one', ns: 2e6, unit: 'ms' },
      { operation: 'ping', backend: 'two', ns: 1e6, unit: 'ms' },
    ],
    plain,
  );
  assert.match(text, /one +2\.00 Gbit\/s .* 2\.00 CPU s\/GB/);
  assert.match(text, /one +2\.00 ms {2}############\n/);
  assert.match(text, /two +1\.00 ms {2}########################\n/);
});

test('bench: blocks draw eighths of a column, colours only where they are wanted', () => {
  const rows = [100, 3_200].map((ns, i) => ({ operation: 'x', backend: `b${i}`, ns }));
  const text = renderRows(rows, { colours: palette(true), hasBlocks: true });
  assert.ok(text.includes('▊'));
  assert.ok(text.includes('\x1b[32m█'));
  assert.ok(!renderRows(rows, plain).includes('\x1b'));
});

test('bench: the verdict on the machine is told either way', () => {
  assert.equal(renderNoise({ otherLoad: 0, warnings: [] }, palette(false)), 'The machine was quiet.\n');
  assert.match(renderNoise({ warnings: ['w'] }, palette(false)), /too noisy[^\n]*\n {2}w\n$/);
  assert.equal(renderNoise({ warnings: [] }, palette(false)), '');
});

test('bench: steps run in order, say how far they are, and end between two when interrupted', async () => {
  const controller = new AbortController();
  const seen: string[] = [];
  const step = (label: string): Step => ({
    label,
    run: () => {
      if (label === 'b') controller.abort();
      return [{ operation: label, backend: '-', ns: 1, spread: 0.1 }];
    },
  });
  const noise = quiet();
  const onStep = (label: string, done: number, all: number) => seen.push(`${label} ${done}/${all}`);
  await assert.rejects(
    runSteps([step('a'), step('b'), step('c')], { noise, onStep, signal: controller.signal }),
    (error) => error instanceof AppError,
  );
  assert.deepEqual(seen, ['a 0/3', 'b 1/3']);
  assert.equal(noise.report().spread, 0.1);
});

test('bench: an operation that takes twice as long measures longer', () => {
  const work = (count: number) => () => {
    for (let i = 0; i < count; i++) Math.sqrt(i);
  };
  const [short, long] = timings([work(1_000), work(20_000)], 5);
  assert.ok(short && long && short.ns > 0 && long.ns > short.ns);
});

test('bench: all backends of packets are measured, and every lane delivers what it sealed', async () => {
  const crypto = await rowsOf(aeadSteps([64], 1));
  const backends = new Set(crypto.map(({ backend }) => backend));
  for (const name of ['noble x1', 'node x1', 'wasm x64']) assert.ok(backends.has(name), name);
  // What opening takes is a difference, which one round on a busy machine may get wrong.
  const sealed = crypto.filter(({ operation }) => operation === 'seal 64 B');
  assert.ok(sealed.length >= 5 && sealed.every(({ ns, bytes }) => ns > 0 && bytes === 64));
  const lanes = await rowsOf(laneSteps([100], 1));
  assert.deepEqual(
    [...new Set(lanes.map(({ operation }) => operation))],
    ['TUN to UDP 100 B', 'UDP to TUN 100 B'],
  );
  assert.ok(lanes.some(({ backend }) => backend === 'wasm'));
});

test('bench: datagrams go through gRPC messages and an HTTP/2 stream', async () => {
  const [first] = grpcSteps(1);
  const rows = await rowsOf(first ? [first] : []);
  assert.deepEqual(
    rows.map(({ operation }) => operation),
    ['write message 132 B', 'read message 132 B'],
  );
});

test('bench: an unknown name is a usage error with the nearest one', () => {
  assert.equal(parseBenchName('lane'), 'lane');
  assert.throws(
    () => parseBenchName('cryto'),
    (error) => error instanceof AppError && error.exitCode === 2 && error.hint === 'did you mean crypto?',
  );
});

test('bench: --json is one object with machine, noise and rows; standard error stays silent', () => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [CULVERT, 'bench', 'lane', '--quick', '--json'],
    {
      encoding: 'utf8',
    },
  );
  assert.deepEqual([status, stderr], [0, '']);
  const result = JSON.parse(stdout) as {
    schema: number;
    machine: { cores: number };
    noise: { warnings: string[] };
    results: { lane: Row[] };
  };
  assert.equal(result.schema, 1);
  assert.deepEqual(
    documentedMembers('culvert bench --json')
      .filter((name) => name in result)
      .toSorted(),
    Object.keys(result).toSorted(),
  );
  const manual = readFileSync(new URL('../../../../../docs/reference/json.md', import.meta.url), 'utf8');
  for (const object of [result.machine, result.noise, ...result.results.lane])
    for (const name of Object.keys(object))
      assert.ok(manual.includes(`\`${name}\``), `${name} is documented`);
  assert.ok(result.machine.cores > 0);
  assert.ok(Array.isArray(result.noise.warnings));
  assert.ok(result.results.lane.length >= 4);
});

test('bench: impossible counts are usage errors', () => {
  for (const args of [['--seconds', '0'], ['--runs', '21'], ['tunnels']]) {
    const { status } = spawnSync(process.execPath, [CULVERT, 'bench', ...args], { encoding: 'utf8' });
    assert.equal(status, 2, args.join(' '));
  }
});
