/** The benchmarks by name, and running them. */
import { cpus } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { AppError, nearest, usageError } from '../../core/errors.ts';
import { aeadSteps } from './aead.ts';
import { grpcSteps } from './grpc.ts';
import { handshakeSteps } from './handshake.ts';
import { laneSteps } from './lane.ts';
import { ROUNDS, type Row, type Step } from './measure.ts';
import type { NoiseWatch } from './noise.ts';
import { primitiveSteps } from './primitives.ts';
import { type TunnelOptions, tunnelSteps } from './tunnel.ts';

export interface BenchOptions extends TunnelOptions {
  /** Fewer sizes and rounds: a look, not a result. */
  readonly isQuick: boolean;
}

const QUICK_ROUNDS = 5;

export const BENCH_NAMES = ['crypto', 'handshake', 'lane', 'grpc', 'tunnel'] as const;
export type BenchName = (typeof BENCH_NAMES)[number];

/** Those that need neither rights nor other programs. */
export const DEFAULT_BENCHES: readonly BenchName[] = ['crypto', 'handshake', 'lane', 'grpc'];

export function parseBenchName(text: string): BenchName {
  const name = BENCH_NAMES.find((one) => one === text);
  if (name !== undefined) return name;
  const near = nearest(text, BENCH_NAMES);
  throw usageError(
    `there is no benchmark ${JSON.stringify(text)}`,
    near === undefined ? `there are ${BENCH_NAMES.join(', ')}` : `did you mean ${near}?`,
  );
}

export function benchSteps(name: BenchName, options: BenchOptions): Step[] {
  const rounds = options.isQuick ? QUICK_ROUNDS : ROUNDS;
  switch (name) {
    case 'crypto':
      return aeadSteps(options.isQuick ? [1420] : [64, 512, 1420, 16_384], rounds);
    case 'handshake':
      return options.isQuick ? handshakeSteps() : [...primitiveSteps(), ...handshakeSteps()];
    case 'lane':
      return laneSteps(options.isQuick ? [1420] : [100, 1420], rounds);
    case 'grpc':
      return grpcSteps(rounds);
    case 'tunnel':
      return tunnelSteps(options);
    default:
      return name satisfies never;
  }
}

export interface RunHooks {
  readonly noise: NoiseWatch;
  /** `done` of `all` steps are over and the next one begins. */
  readonly onStep: (label: string, done: number, all: number) => void;
  readonly signal: AbortSignal;
}

/** Rests before every few steps, for the noise watch. Throws AppError when interrupted between steps. */
export async function runSteps(steps: readonly Step[], { noise, onStep, signal }: RunHooks): Promise<Row[]> {
  const rows: Row[] = [];
  const cores = cpus().length;
  for (const [done, step] of steps.entries()) {
    if (signal.aborted) throw new AppError('io', 'the benchmark was interrupted');
    onStep(step.label, done, steps.length);
    if (done % REST_EVERY === 0) await noise.rest(cores);
    else await turn();
    const measured = await step.run();
    for (const row of measured) noise.addSpread(row.spread);
    rows.push(...measured);
  }
  await noise.rest(cores);
  return rows;
}

const REST_EVERY = 4;
