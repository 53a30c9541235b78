/** Time of operations too short for a clock. */

export interface Timing {
  /** Nanoseconds of one run. */
  readonly ns: number;
  /** How far the repetitions lie apart, as a share of `ns`. On a machine of one's own it is a few hundredths. */
  readonly spread: number;
}

const REPETITIONS = 5;
const REPETITION_MS = 60;

/** Of one `run`: the median of several repetitions, after as long a warm-up. */
export function timing(run: () => void): Timing {
  let count = 1;
  for (let elapsed = 0; elapsed < REPETITION_MS; count *= 2) elapsed = time(run, count);
  count = Math.max(1, Math.round(count / 2));
  const results = Array.from({ length: REPETITIONS }, () => time(run, count) / count);
  results.sort((a, b) => a - b);
  const median = results[REPETITIONS >> 1] as number;
  return {
    ns: median * 1e6,
    spread: ((results.at(-1) as number) - (results[0] as number)) / median,
  };
}

export function nanoseconds(run: () => void): number {
  return timing(run).ns;
}

export const ROUNDS = 40;
const ROUND_MS = 4;

/**
 * Of each of several operations: the least of many short rounds, taken in turns. For differences between operations,
 * which medians of one after the other blur on a machine that others use too. The spread is that of the median round.
 */
export function timings(runs: readonly (() => void)[], rounds: number = ROUNDS): Timing[] {
  const counts = runs.map((run) => {
    let count = 1;
    while (time(run, count) < ROUND_MS) count *= 2;
    return count;
  });
  const results = runs.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    for (const [i, run] of runs.entries()) {
      const count = counts[i] as number;
      results[i]?.push(time(run, count) / count);
    }
  }
  return results.map((result) => {
    result.sort((a, b) => a - b);
    const least = result[0] as number;
    return { ns: least * 1e6, spread: ((result[result.length >> 1] as number) - least) / least };
  });
}

export function leastNanoseconds(runs: readonly (() => void)[]): number[] {
  return timings(runs).map(({ ns }) => ns);
}

/** Milliseconds of `count` runs. */
function time(run: () => void, count: number): number {
  const start = performance.now();
  for (let i = 0; i < count; i++) run();
  return performance.now() - start;
}

/** One figure. Rows of one operation are compared with each other. */
export interface Row {
  readonly operation: string;
  readonly backend: string;
  /** Of one operation, or of all `bytes`. */
  readonly ns: number;
  /** Plaintext bytes per operation, where throughput means something. */
  readonly bytes?: number;
  /** Absent where it was measured once. */
  readonly spread?: number;
  /** How the figure is told; by default MB/s where there are bytes, else operations a second. */
  readonly unit?: 'Gbit/s' | 'packets/s' | 'ms';
  readonly note?: string;
}

/** A part of a benchmark that ends before the next begins. */
export interface Step {
  readonly label: string;
  run(): readonly Row[] | Promise<readonly Row[]>;
}

/** `seal 1420 B   wasm x64   1151 ns   868,810/s   1234 MB/s`. */
export function formatRow(row: Row): string {
  const rate = `${Math.round(1e9 / row.ns).toLocaleString('en')}/s`;
  const throughput = row.bytes === undefined ? '' : `${Math.round((row.bytes * 1e3) / row.ns)} MB/s`;
  return [
    row.operation.padEnd(34),
    row.backend.padEnd(16),
    `${Math.round(row.ns)} ns`.padStart(12),
    rate.padStart(14),
    throughput.padStart(12),
  ]
    .join(' ')
    .trimEnd();
}
