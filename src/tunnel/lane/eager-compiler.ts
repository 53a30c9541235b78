/**
 * Makes V8 compile early while something is rehearsed. Its thresholds are flags of the process, not documented, other in
 * every version, and put back as they were; a version that is not listed here is left alone.
 */
import { setFlagsFromString } from 'node:v8';

interface Threshold {
  readonly flag: string;
  readonly eager: number;
  /** As `node --v8-options` prints it. */
  readonly usual: number;
}

/** Node.js 22 and later. */
const INVOCATIONS: readonly Threshold[] = [
  { flag: 'invocation-count-for-maglev', eager: 20, usual: 400 },
  { flag: 'invocation-count-for-turbofan', eager: 100, usual: 3_000 },
];

/** By the version of V8. */
const THRESHOLDS: ReadonlyMap<string, readonly Threshold[]> = new Map([
  [
    // Node.js 20.
    '11.3',
    [
      { flag: 'interrupt-budget', eager: 1_000, usual: 67_584 },
      { flag: 'ticks-before-optimization', eager: 1, usual: 3 },
      { flag: 'bytecode-size-allowance-per-tick', eager: 1_000, usual: 150 },
    ],
  ],
  ['12.4', INVOCATIONS],
  ['13.6', INVOCATIONS],
  ['14.6', INVOCATIONS],
]);

/** Runs `work` with an eager compiler. */
export function withEagerCompiler<Result>(work: () => Result): Result {
  const [major, minor] = process.versions.v8.split('.');
  const thresholds = THRESHOLDS.get(`${major}.${minor}`) ?? [];
  for (const { flag, eager } of thresholds) setFlagsFromString(`--${flag}=${eager}`);
  try {
    return work();
  } finally {
    for (const { flag, usual } of thresholds) setFlagsFromString(`--${flag}=${usual}`);
  }
}
