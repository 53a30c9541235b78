/** A scrape of many peers: what it costs, and how long it holds the event loop up. */
import { setImmediate as turn } from 'node:timers/promises';
import { meteredDevice, meteredOptions, meteredPeer } from '../../test/kit/metrics.ts';
import { deviceMetrics } from '../../src/app/metrics/device-metrics.ts';

export interface ScrapeResult {
  readonly peers: number;
  readonly bytes: number;
  /** Of the whole scrape, and the longest that other work waits for its turn. Milliseconds of CPU time. */
  readonly totalMs: number;
  readonly longestTurnMs: number;
}

const REPETITIONS = 15;

export async function benchMetrics(say: (line: string) => void): Promise<readonly ScrapeResult[]> {
  const results: ScrapeResult[] = [];
  for (const peers of [100, 1_000, 10_000]) {
    const result = await scrape(peers);
    results.push(result);
    say(
      `${String(peers).padStart(6)} peers ${(result.bytes / 1e6).toFixed(1).padStart(6)} MB ` +
        `${result.totalMs.toFixed(1).padStart(8)} ms CPU, longest turn ${result.longestTurnMs.toFixed(2)} ms`,
    );
  }
  return results;
}

/** The medians of several scrapes. */
async function scrape(count: number): Promise<ScrapeResult> {
  const peers = Array.from({ length: count }, (_, i) =>
    meteredPeer(i, { lastHandshakeMs: 1_699_999_999_000, rxBytes: BigInt(i) * 1_000_003n, txBytes: 77_777n }),
  );
  const device = meteredDevice(peers);
  const totals: number[] = [];
  const longest: number[] = [];
  let bytes = 0;
  for (let i = 0; i < REPETITIONS; i++) {
    let turnStart = cpuMs();
    let longestTurn = 0;
    const pause = async () => {
      longestTurn = Math.max(longestTurn, cpuMs() - turnStart);
      await turn();
      turnStart = cpuMs();
    };
    const start = cpuMs();
    const pieces = await deviceMetrics(device, meteredOptions({ pause }));
    totals.push(cpuMs() - start);
    longest.push(Math.max(longestTurn, cpuMs() - turnStart));
    bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  }
  return { peers: count, bytes, totalMs: median(totals), longestTurnMs: median(longest) };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] as number;
}
