/**
 * `npm run fuzz -- TARGET... [--seconds N] [--seed N] [--out DIRECTORY]`: changes inputs for so long, keeps those that
 * reach code which none before has reached, and goes on from them. What breaks a promise is written to a file.
 * Without a target all are run, each for N seconds of processor time. `all` is the same; a path of a finding runs that input alone.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { uniform, type Random } from '../../src/core/random.ts';
import { seededRandom } from '../kit/random.ts';
import { Coverage, type Places } from './coverage.ts';
import { mutate, randomMutation } from './mutate.ts';
import type { FuzzTarget, Run } from './target.ts';
import { DEFAULT_MAX_BYTES, FUZZ_TARGETS } from './targets.ts';

/** Inputs run between two looks at the coverage, which takes about as long as they do. */
const BATCH = 64;
/** Of processor time. A decoder that takes this long over a few kilobytes can be held up by whoever sends them. */
const SLOW_MS = 1_000;
const MAX_FINDINGS = 5;

interface Outcome {
  readonly inputs: number;
  /** Kept because they reached something new. */
  readonly corpus: number;
  readonly coveredCharacters: number;
  readonly findings: readonly string[];
}

class Fuzzer {
  readonly #target: FuzzTarget;
  readonly #random: Random;
  readonly #out: string;
  readonly #coverage = new Coverage((url) => url.includes('/dist/src/'));
  readonly #corpus: Uint8Array[];
  readonly #findings: string[] = [];
  #run: Run | undefined;
  #inputs = 0;

  constructor(target: FuzzTarget, seed: number, out: string) {
    this.#target = target;
    this.#random = seededRandom(seed);
    this.#out = out;
    this.#corpus = [...target.seeds()];
  }

  async fuzz(seconds: number): Promise<Outcome> {
    const start = process.cpuUsage();
    for (const seed of this.#corpus) await this.#try(seed);
    this.#coverage.takeNew();
    while (cpuMs(start) < 1000 * seconds && this.#findings.length < MAX_FINDINGS) {
      const batch = Array.from({ length: BATCH }, () => this.#next());
      for (const input of batch) await this.#try(input);
      await this.#keepWhatReached(this.#coverage.takeNew(), batch);
    }
    this.#coverage.close();
    return {
      inputs: this.#inputs,
      corpus: this.#corpus.length,
      coveredCharacters: this.#coverage.total,
      findings: this.#findings,
    };
  }

  #next(): Uint8Array {
    const { words = [], maxBytes = DEFAULT_MAX_BYTES } = this.#target;
    const material = { words, others: this.#corpus, maxBytes };
    // Later ones have come further.
    const half = uniform(this.#random, 2) * (this.#corpus.length >> 1);
    let input = this.#corpus[half + uniform(this.#random, this.#corpus.length - half)] as Uint8Array;
    for (let left = 1 + uniform(this.#random, 6); left > 0; left--)
      input = mutate(input, randomMutation(this.#random), material);
    return input;
  }

  /** Which of the batch it was, one by one. */
  async #keepWhatReached(places: Places, batch: readonly Uint8Array[]): Promise<void> {
    for (const input of batch) {
      if (places.size === 0) return;
      await this.#execute(input).catch(() => {});
      if (this.#coverage.takeFrom(places)) this.#corpus.push(input);
    }
  }

  async #try(input: Uint8Array): Promise<void> {
    this.#inputs++;
    const before = process.cpuUsage();
    try {
      await this.#execute(input);
      const tookMs = cpuMs(before);
      if (tookMs > SLOW_MS) this.#found(input, new Error(`took ${Math.round(tookMs)} ms`));
    } catch (error) {
      this.#found(input, error);
    }
  }

  async #execute(input: Uint8Array): Promise<void> {
    this.#run ??= await this.#target.prepare();
    await this.#run(input.slice());
  }

  #found(input: Uint8Array, error: unknown): void {
    const hash = createHash('sha256').update(input).digest('hex').slice(0, 12);
    mkdirSync(this.#out, { recursive: true });
    const file = join(this.#out, `${this.#target.name}-${hash}`);
    writeFileSync(file, input);
    this.#findings.push(file);
    process.stdout.write(
      `${file}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    // A stage that an exception left half-way is no judge of the next input.
    this.#run = undefined;
  }
}

/** Processor time since then: a busy machine makes nothing slow and no run short. */
function cpuMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** The target that a finding is named after. */
function targetOf(path: string): FuzzTarget | undefined {
  const name = basename(path);
  return FUZZ_TARGETS.find((target) => name.startsWith(`${target.name}-`));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: 'fuzz-findings' },
  },
});

let failures = 0;
for (const path of positionals.filter(isFile)) {
  const run = await targetOf(path)?.prepare();
  if (!run) throw new Error(`${path}: named after no target`);
  await run(new Uint8Array(readFileSync(path)));
  process.stdout.write(`${path}: passes\n`);
}
const names = positionals.filter((name) => !isFile(name));
const isAll = positionals.length === 0 || names.includes('all');
const unknown = names.filter(
  (name) => name !== 'all' && !FUZZ_TARGETS.some((target) => target.name === name),
);
if (unknown.length > 0) {
  const known = FUZZ_TARGETS.map((target) => target.name).join(', ');
  process.stderr.write(`no target ${unknown.join(', ')}; there are ${known}\n`);
  process.exit(2);
}
for (const target of FUZZ_TARGETS.filter(({ name }) => isAll || names.includes(name))) {
  const outcome = await new Fuzzer(target, Number(values.seed), values.out).fuzz(Number(values.seconds));
  failures += outcome.findings.length;
  process.stdout.write(
    `${JSON.stringify({ target: target.name, seconds: Number(values.seconds), ...outcome })}\n`,
  );
}
process.exit(failures > 0 ? 1 : 0);
