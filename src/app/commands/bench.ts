import { constants as system } from 'node:os';
import type { Command } from 'commander';
import { usageError } from '../../core/errors.ts';
import { machineFacts } from '../bench/facts.ts';
import type { Row } from '../bench/measure.ts';
import { NoiseWatch } from '../bench/noise.ts';
import { renderFacts, renderNoise, renderRows } from '../bench/render.ts';
import {
  BENCH_NAMES,
  type BenchOptions,
  DEFAULT_BENCHES,
  benchSteps,
  parseBenchName,
  runSteps,
} from '../bench/run.ts';
import { progressBar } from '../progress.ts';
import { palette, wantsColour } from '../show-values.ts';

interface BenchFlags {
  readonly json?: true;
  readonly quick?: true;
  readonly seconds: string;
  readonly runs: string;
  readonly peer: readonly string[];
}

/** `culvert bench [WHAT...]`. */
export function configureBench(command: Command): void {
  command
    .argument('[what...]', `${BENCH_NAMES.join(', ')} (default: all but tunnel, which needs root)`)
    .option('--quick', 'fewer sizes and repetitions: a look, not a result')
    .option('--json', 'print JSON, with the facts of the machine')
    .option('--seconds <n>', 'tunnel: length of a transfer, 1 to 60', '3')
    .option('--runs <n>', 'tunnel: turns of each implementation, 1 to 20', '3')
    .option(
      '--peer <name=path>',
      'tunnel: another program with the command line of wireguard-go',
      collect,
      [],
    )
    .addHelpText(
      'after',
      `
Examples:
  culvert bench crypto              every backend and size, beside "openssl speed"
  culvert bench lane --quick        the data path without a network
  sudo culvert bench tunnel         TUN to TUN in namespaces, beside wireguard-go where it is installed
  culvert bench --json > result.json

crypto: ChaCha20-Poly1305 of packets. handshake: its primitives, and whole handshakes. lane: a packet from TUN to UDP
and back, in memory. grpc: datagrams in gRPC messages. Figures of one run may be compared; it says when the machine was
too noisy for more. Environment: NO_COLOR`,
    )
    .action(async (what: readonly string[], flags: BenchFlags) => {
      const names = what.length === 0 ? DEFAULT_BENCHES : what.map(parseBenchName);
      const options: BenchOptions = {
        isQuick: flags.quick === true,
        seconds: parseCount('--seconds', flags.seconds, 60),
        runs: parseCount('--runs', flags.runs, 20),
        peers: flags.peer,
      };
      await run(names, options, flags.json === true);
    });
}

async function run(
  names: readonly (typeof BENCH_NAMES)[number][],
  options: BenchOptions,
  isJson: boolean,
): Promise<void> {
  const { stdout, env } = process;
  const colours = palette(wantsColour(env, stdout.isTTY));
  const hasBlocks = /utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || 'utf-8');
  const facts = machineFacts();
  const noise = new NoiseWatch();
  const interruption = interruptible();
  const progress = progressBar();
  const results: Record<string, Row[]> = {};
  if (!isJson) stdout.write(renderFacts(facts));
  try {
    for (const name of names) {
      const steps = benchSteps(name, options);
      const rows = await runSteps(steps, { noise, onStep: progress.show, signal: interruption.signal });
      progress.clear();
      results[name] = rows;
      if (!isJson) stdout.write(`\n${renderRows(rows, { colours, hasBlocks })}`);
    }
  } catch (error) {
    progress.clear();
    const { received } = interruption;
    if (received === undefined) throw error;
    process.exitCode = 128 + system.signals[received];
    return;
  }
  const report = noise.report();
  if (isJson)
    stdout.write(`${JSON.stringify({ schema: 1, machine: facts, noise: report, results }, undefined, 2)}\n`);
  else stdout.write(`\n${renderNoise(report, colours)}`);
}

/** The first signal ends the run between two steps, a second one at once. */
function interruptible(): { readonly signal: AbortSignal; readonly received: NodeJS.Signals | undefined } {
  const controller = new AbortController();
  let received: NodeJS.Signals | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      received = signal;
      controller.abort();
    });
  return {
    signal: controller.signal,
    get received() {
      return received;
    },
  };
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}

function parseCount(flag: string, text: string, most: number): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= most) return count;
  throw usageError(`${flag} ${JSON.stringify(text)}: expected a whole number from 1 to ${most}`);
}
