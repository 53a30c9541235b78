/**
 * Tries the backends of the transport AEAD at start and takes the fastest that answers correctly, or one for short and
 * one for long packets. About 50 milliseconds on a quiet machine.
 */
import { type Arena } from '../core/arena.ts';
import type { Clock } from '../core/clock.ts';
import { AppError } from '../core/errors.ts';
import { CompositeTransportAead } from './aead-composite.ts';
import { NobleTransportAead } from './aead-noble.ts';
import { NodeTransportAead } from './aead-node.ts';
import { OpensslCoreTransportAead } from './aead-openssl-core.ts';
import { OpensslTransportAead } from './aead-openssl.ts';
import { TRIAL_SIZES, beginTrial, measureTrial, testAnswers, warmUp } from './aead-trial.ts';
import { WasmTransportAead } from './aead-wasm.ts';
import type { TransportAead } from './aead.ts';

export type AeadName = 'wasm' | 'openssl-core' | 'openssl' | 'node' | 'noble';

export type AeadFactories = Readonly<Record<AeadName, (arena: Arena) => TransportAead>>;

export const AEAD_FACTORIES: AeadFactories = {
  wasm: (arena) => new WasmTransportAead(arena),
  'openssl-core': (arena) => new OpensslCoreTransportAead(arena),
  openssl: (arena) => new OpensslTransportAead(arena),
  node: (arena) => new NodeTransportAead(arena),
  noble: (arena) => new NobleTransportAead(arena),
};

/**
 * The first of each line that works is measured: the others of a line are the same code with more around it. Without
 * noble, which is ten times slower than any of them and not constant time: it steps in when all fail.
 */
const AUTOMATIC: readonly (readonly AeadName[])[] = [['wasm'], ['openssl-core', 'openssl', 'node']];

export interface AeadCandidate {
  readonly name: AeadName;
  /** Nanoseconds of a packet, the mean of sealing and opening, for each of TRIAL_SIZES; or why it is out. */
  readonly result: readonly number[] | string;
}

export interface AeadReport {
  /** `wasm`, or `wasm+openssl`. */
  readonly chosen: string;
  /** Of two backends: the longest text in bytes that goes to the first. */
  readonly longestShort?: number;
  /** Text sizes in bytes. */
  readonly sizes: readonly number[];
  readonly candidates: readonly AeadCandidate[];
}

export interface AeadOptions {
  readonly wanted: AeadName | 'auto';
  readonly clock: Clock;
  /** Bytes of the longest text to be expected: no second backend is taken for longer ones. Any by default. */
  readonly longestText?: number;
  readonly factories?: AeadFactories;
}

/** The backends of `report` again, on another arena. */
export function recreateTransportAead(
  arena: Arena,
  { chosen, longestShort = 0 }: AeadReport,
  factories: AeadFactories = AEAD_FACTORIES,
): TransportAead {
  const [first, second] = chosen.split('+') as AeadName[];
  const short = factories[first as AeadName](arena);
  return second === undefined
    ? short
    : new CompositeTransportAead(short, factories[second](arena), longestShort);
}

/**
 * The backend that is wanted, or the best for this machine. Throws AppError `unavailable` when the wanted one does not
 * work here.
 */
export function createTransportAead(
  arena: Arena,
  { wanted, clock, longestText = 65_535, factories = AEAD_FACTORIES }: AeadOptions,
): { readonly aead: TransportAead; readonly report: AeadReport } {
  const candidates: AeadCandidate[] = [];
  for (const line of wanted === 'auto' ? AUTOMATIC : [[wanted]]) {
    for (const name of line) {
      const result = tryBackend(factories[name], arena, clock);
      candidates.push({ name, result });
      if (typeof result !== 'string') break;
    }
  }
  const working = candidates.filter(
    (candidate): candidate is Measured => typeof candidate.result !== 'string',
  );
  if (working.length === 0 && wanted !== 'auto') {
    throw new AppError('unavailable', `transport AEAD "${wanted}": ${candidates[0]?.result as string}`, {
      hint: 'leave the choice to "auto"',
    });
  }
  const { short, long, longestShort } = choose(working, longestText);
  const chosen = long === undefined ? short : `${short}+${long}`;
  const facts = { chosen, sizes: TRIAL_SIZES, candidates };
  const report = long === undefined ? facts : { ...facts, longestShort };
  return { aead: recreateTransportAead(arena, report, factories), report };
}

interface Measured {
  readonly name: AeadName;
  readonly result: readonly number[];
}

/** On an arena of the same kind: WebAssembly for shared memory is compiled apart. */
function tryBackend(
  make: (arena: Arena) => TransportAead,
  { memory }: Arena,
  clock: Clock,
): readonly number[] | string {
  try {
    const trial = beginTrial(make, !(memory.buffer instanceof ArrayBuffer));
    const fault = testAnswers(trial);
    if (fault !== undefined) return fault;
    warmUp(trial, clock);
    const first = measureTrial(trial, clock);
    // On a busy machine the compiler may have come too late for the first.
    const second = measureTrial(trial, clock);
    // What was right before V8 optimized it must be right afterwards.
    return testAnswers(trial) ?? first.map((ns, size) => Math.min(ns, second[size] as number));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A second backend has to be this much faster on long packets to be worth its memory: a context for each key. */
const WORTHWHILE = 0.9;

interface Choice {
  readonly short: AeadName;
  readonly long?: AeadName;
  readonly longestShort: number;
}

function choose(working: readonly Measured[], longestText: number): Choice {
  const last = TRIAL_SIZES.length - 1;
  const short = fastest(working, 0);
  const long = fastest(working, last);
  if (short === undefined || long === undefined) return { short: 'noble', longestShort: 0 };
  const isWorthwhile = (long.result[last] as number) < WORTHWHILE * (short.result[last] as number);
  if (!isWorthwhile) return { short: short.name, longestShort: 0 };
  const longestShort = crossing(short.result, long.result);
  if (longestShort >= longestText) return { short: short.name, longestShort: 0 };
  return { short: short.name, long: long.name, longestShort };
}

function fastest(working: readonly Measured[], size: number): Measured | undefined {
  let best: Measured | undefined;
  for (const candidate of working) {
    if (best === undefined || (candidate.result[size] as number) < (best.result[size] as number)) {
      best = candidate;
    }
  }
  return best;
}

/** The text size at which `long` takes over: both are nearly straight lines between the sizes measured. */
function crossing(short: readonly number[], long: readonly number[]): number {
  const lead = (i: number) => (long[i] as number) - (short[i] as number);
  const after = TRIAL_SIZES.findIndex((_, i) => lead(i) < 0);
  const before = after - 1;
  const from = TRIAL_SIZES[before] as number;
  const to = TRIAL_SIZES[after] as number;
  return Math.round(from + ((to - from) * lead(before)) / (lead(before) - lead(after)));
}
