const REPETITIONS = 5;
const REPETITION_MS = 60;

/** Nanoseconds of one `run`: the median of several repetitions, after as long a warm-up. */
export function nanoseconds(run: () => void): number {
  let count = 1;
  for (let elapsed = 0; elapsed < REPETITION_MS; count *= 2) elapsed = time(run, count);
  count = Math.max(1, Math.round(count / 2));
  const results = Array.from({ length: REPETITIONS }, () => time(run, count) / count);
  results.sort((a, b) => a - b);
  return (results[REPETITIONS >> 1] as number) * 1e6;
}

const ROUNDS = 40;
const ROUND_MS = 4;

/**
 * Nanoseconds of each of several operations: the least of many short rounds, taken in turns. For differences between
 * operations, which medians of one after the other blur on a machine that others use too.
 */
export function leastNanoseconds(runs: readonly (() => void)[]): number[] {
  const counts = runs.map((run) => {
    let count = 1;
    while (time(run, count) < ROUND_MS) count *= 2;
    return count;
  });
  const least = runs.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, run] of runs.entries()) {
      const count = counts[i] as number;
      least[i] = Math.min(least[i] as number, time(run, count) / count);
    }
  }
  return least.map((ms) => ms * 1e6);
}

/** Milliseconds of `count` runs. */
function time(run: () => void, count: number): number {
  const start = performance.now();
  for (let i = 0; i < count; i++) run();
  return performance.now() - start;
}

export interface Row {
  readonly operation: string;
  readonly backend: string;
  readonly ns: number;
  /** Plaintext bytes per operation, where throughput means something. */
  readonly bytes?: number;
}

export function formatRow(row: Row): string {
  const rate = `${Math.round(1e9 / row.ns).toLocaleString('en')}/s`;
  const throughput = row.bytes === undefined ? '' : `${Math.round((row.bytes * 1e3) / row.ns)} MB/s`;
  return [
    row.operation.padEnd(34),
    row.backend.padEnd(14),
    `${Math.round(row.ns)} ns`.padStart(12),
    rate.padStart(14),
    throughput.padStart(12),
  ]
    .join(' ')
    .trimEnd();
}
