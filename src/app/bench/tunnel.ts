/**
 * TUN to TUN through two devices, for culvert and whatever else is named, in one run and in turns. CPU time per amount
 * of data stands beside the rate: it says the same on a machine where others compute, too.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../core/clock.ts';
import { AppError, usageError } from '../../core/errors.ts';
import { formatAddress } from '../../core/ip.ts';
import type { NetworkNamespace } from '../../sys/namespace.ts';
import { PingSocket } from '../../sys/ping-socket.ts';
import { hasProgram } from '../programs.ts';
import type { Row, Step } from './measure.ts';
import { ADDRESSES, type Implementation, TunnelSite } from './tunnel-site.ts';

export interface TunnelOptions {
  /** Of one transfer. */
  readonly seconds: number;
  /** How often each implementation has its turn. */
  readonly runs: number;
  /** `NAME=PATH` of programs with the command line of wireguard-go. */
  readonly peers: readonly string[];
}

const TRANSFERS = [
  { operation: 'TCP, 1 stream', args: [] },
  { operation: 'TCP, 1 stream back', args: ['-R'] },
  { operation: 'TCP, 4 streams', args: ['-P', '4'] },
  { operation: 'TCP, both ways', args: ['--bidir'] },
] as const;

const PING = 'ping, idle';
const PINGS = 50;
const PING_TIMEOUT_MS = 2_000;
/** The port of the other side may not be bound when the first initiation comes, and the next one follows after 5 s. */
const FIRST_PINGS = 4;
const CONNECT_ATTEMPTS = 100;

/** Throws AppError `unavailable` without iperf3. */
export function tunnelSteps(options: TunnelOptions): Step[] {
  if (!hasProgram('iperf3'))
    throw new AppError('unavailable', 'bench tunnel: iperf3 is not in PATH', {
      hint: 'install iperf3, or see "culvert demo", which measures without it',
    });
  const collected = new Map<string, Sample[]>();
  const implementations = implementationsOf(options.peers);
  const steps = Array.from({ length: options.runs }, (_, run) =>
    implementations.map((implementation): Step => {
      const label = `${implementation.name}, run ${run + 1} of ${options.runs}`;
      const isLast = run === options.runs - 1 && implementation === implementations.at(-1);
      return {
        label,
        run: async () => {
          for (const sample of await measure(implementation, options.seconds)) {
            const key = `${sample.operation}\n${implementation.name}`;
            collected.set(key, [...(collected.get(key) ?? []), sample]);
          }
          return isLast ? summarize(collected, implementations) : [];
        },
      };
    }),
  );
  return steps.flat();
}

function implementationsOf(peers: readonly string[]): Implementation[] {
  const own = fileURLToPath(new URL('./go-process.js', import.meta.url));
  const named = peers.map((peer): Implementation => {
    const [name = '', path = ''] = peer.split('=');
    if (name === '' || path === '') throw usageError(`--peer ${peer}: expected NAME=PATH`);
    return { name, command: [path] };
  });
  const original: Implementation = { name: 'wireguard-go', command: ['wireguard-go'] };
  return [
    { name: 'culvert-go', command: [process.execPath, own] },
    { name: 'culvert, 2 lanes', command: [process.execPath, own], env: { CULVERT_LANES: '2' } },
    ...(hasProgram('wireguard-go') ? [original] : []),
    ...named,
  ];
}

interface Sample {
  readonly operation: string;
  readonly bytes: number;
  readonly ms: number;
  readonly cpuSeconds: number;
}

async function measure(implementation: Implementation, seconds: number): Promise<Sample[]> {
  const site = await TunnelSite.open(implementation);
  try {
    const [first] = site.inner;
    const samples: Sample[] = [{ operation: PING, bytes: 0, ms: pingMs(first), cpuSeconds: 0 }];
    for (const { operation, args } of TRANSFERS) {
      const before = site.cpuSeconds();
      const { bytes, ms } = await transfer(site, seconds, args);
      samples.push({ operation, bytes, ms, cpuSeconds: site.cpuSeconds() - before });
    }
    return samples;
  } finally {
    await site.close();
  }
}

/** The median round trip; the first one makes the handshake and does not count. */
function pingMs(namespace: NetworkNamespace): number {
  const socket = namespace.run(() => new PingSocket(ADDRESSES[1], systemClock));
  try {
    const isAnswered = Array.from({ length: FIRST_PINGS }).some(
      () => socket.ping(PING_TIMEOUT_MS) !== undefined,
    );
    if (!isAnswered) throw new AppError('io', 'no answer to a ping through the tunnel');
    const times = Array.from({ length: PINGS }, () => socket.ping(PING_TIMEOUT_MS)).filter(
      (ms) => ms !== undefined,
    );
    if (times.length === 0) throw new AppError('io', 'pings through the tunnel are lost');
    times.sort((a, b) => a - b);
    return times[times.length >> 1] as number;
  } finally {
    socket.close();
  }
}

interface Received {
  readonly bytes: number;
  readonly seconds: number;
}

interface Iperf {
  readonly error?: string;
  readonly end?: {
    readonly sum_received?: Received;
    /** Of the other way, where there are two. */
    readonly sum_received_bidir_reverse?: Received;
  };
}

async function transfer(
  site: TunnelSite,
  seconds: number,
  args: readonly string[],
): Promise<{ readonly bytes: number; readonly ms: number }> {
  const [first, second] = site.inner;
  const to = formatAddress(ADDRESSES[1]);
  const server = second.run(() => iperf(['-s', '-1', '-B', to]));
  const ended = once(server, 'exit');
  try {
    for (let attempt = 0; attempt < CONNECT_ATTEMPTS; attempt++) {
      const client = first.run(() => iperf(['-c', to, '-J', '-t', String(seconds), ...args]));
      const report = JSON.parse(await text(client.stdout ?? fail())) as Iperf;
      const received = report.end?.sum_received;
      const back = report.end?.sum_received_bidir_reverse?.bytes ?? 0;
      if (received && received.bytes > 0)
        return { bytes: received.bytes + back, ms: received.seconds * 1_000 };
      // The server may not listen yet.
      if (!/refused|unable to connect/i.test(report.error ?? ''))
        throw new AppError('io', `iperf3: ${report.error}`);
      await pause(20);
    }
    throw new AppError('io', 'iperf3: the server does not listen');
  } finally {
    server.kill();
    // The next one wants the same port.
    await ended;
  }
}

function iperf(args: readonly string[]): ChildProcess {
  return spawn('iperf3', args, { stdio: ['ignore', 'pipe', 'ignore'] });
}

function fail(): never {
  throw new AppError('internal', 'iperf3 has no output');
}

/** The median of the runs, operation by operation. */
function summarize(
  collected: ReadonlyMap<string, readonly Sample[]>,
  implementations: readonly Implementation[],
): Row[] {
  return [...TRANSFERS.map(({ operation }) => operation), PING].flatMap((operation) =>
    implementations.map(({ name }): Row => {
      const samples = [...(collected.get(`${operation}\n${name}`) ?? [])];
      const isPing = operation === PING;
      const cost = ({ ms, bytes }: Sample) => (isPing ? ms : ms / bytes);
      samples.sort((a, b) => cost(a) - cost(b));
      const median = samples[samples.length >> 1] as Sample;
      const spread = (cost(samples.at(-1) as Sample) - cost(samples[0] as Sample)) / cost(median);
      const row = {
        operation,
        backend: name,
        ns: median.ms * 1e6,
        ...(samples.length > 1 ? { spread } : {}),
      };
      if (isPing) return { ...row, unit: 'ms' };
      const note = `${(median.cpuSeconds / (median.bytes / 1e9)).toFixed(2)} CPU s/GB`;
      return { ...row, bytes: median.bytes, unit: 'Gbit/s', note };
    }),
  );
}
