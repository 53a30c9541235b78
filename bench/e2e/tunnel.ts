/**
 * TUN-to-TUN traffic between two namespaces joined by a veth pair, for several implementations in one run: what a user
 * feels. Each implementation runs at both ends. Figures of one run may be compared; those of two runs may not.
 */
import { readFileSync } from 'node:fs';
import { Namespace, joinByVeth, requireRoot } from '../../test/kit/netns.ts';
import { type Implementation, WIREGUARD_GO, implementationUnderTest } from '../../test/kit/programs.ts';
import { eventually } from '../../test/kit/eventually.ts';
import { aim, startPair } from '../../test/interop/sides.ts';

export interface TunnelResult {
  readonly name: string;
  /** Gbit/s of received TCP payload: one stream there, one stream back, four streams there. */
  readonly tcp1: number;
  readonly tcp1Reverse: number;
  readonly tcp4: number;
  readonly tcp1v6: number;
  /** Gbit/s received and percent lost, UDP of 1360 bytes at full speed. */
  readonly udp: { readonly gbits: number; readonly lostPercent: number };
  /** What is lost when UDP is sent at these rates: `bytes` of payload, Mbit/s offered. */
  readonly udpLoss: readonly UdpLoss[];
  /**
   * Processor time of sender and receiver for a packet of `tcp1`, in nanoseconds, user and system: means something even
   * where others compute. Undefined without a tunnel.
   */
  readonly cpuNs?: { readonly sender: CpuTime; readonly receiver: CpuTime };
  /** Milliseconds. */
  readonly ping: { readonly idle: number; readonly underLoad: number };
}

export interface UdpLoss {
  readonly bytes: number;
  readonly offeredMbits: number;
  readonly lostPercent: number;
}

export interface CpuTime {
  readonly user: number;
  readonly system: number;
}

interface Addresses {
  readonly v4: string;
  readonly v6: string;
}

interface Report {
  readonly end: {
    readonly sum?: { readonly bits_per_second: number; readonly lost_percent: number };
    readonly sum_received?: { readonly bits_per_second: number; readonly bytes: number };
  };
}

const PORT = '5201';

export interface TunnelOptions {
  readonly seconds: number;
  /** `NAME=/path`, the command line of wireguard-go. */
  readonly peers: readonly string[];
}

export async function benchTunnel(
  options: TunnelOptions,
  say: (line: string) => void,
): Promise<TunnelResult[]> {
  const missing = requireRoot({ programs: ['wg', 'iperf3', 'ping', 'ss'], tun: true });
  if (missing !== false) throw new Error(missing);
  const results: TunnelResult[] = [];
  const run = async (name: string, work: (measure: Measure) => Promise<TunnelResult>) => {
    await using one = Namespace.create();
    await using two = Namespace.create();
    joinByVeth(
      { namespace: one, link: 'veth0', addresses: ['10.99.0.1/24', 'fd99::1/64'] },
      { namespace: two, link: 'veth0', addresses: ['10.99.0.2/24', 'fd99::2/64'] },
    );
    const result = await work({ name, one, two, seconds: options.seconds });
    results.push(result);
    say(describe(result));
  };
  say(describeHeader());
  await run('veth, no tunnel', (measure) => measureAll(measure, { v4: '10.99.0.2', v6: 'fd99::2' }));
  for (const { name, implementation, env } of contenders(options.peers)) {
    await run(name, async (measure) => {
      const pair = await startPair(
        { implementation, namespace: measure.one, env },
        { implementation, namespace: measure.two, env },
      );
      aim(pair.one, pair.two, '10.99.0.2');
      const pids: Pids = [pair.one.process.pid(), pair.two.process.pid()];
      const result = await measureAll(measure, { v4: pair.two.inner4, v6: pair.two.inner6 }, pids);
      await Promise.all([pair.one.process.stop(), pair.two.process.stop()]);
      return result;
    });
  }
  return results;
}

interface Contender {
  readonly name: string;
  readonly implementation: Implementation;
  readonly env: Readonly<Record<string, string>>;
}

/** Other ways of moving packets than the one that is chosen by itself. */
const MODES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'two lanes': { CULVERT_LANES: '2' },
  'no lane thread': { CULVERT_LANES: 'inline' },
  'node:dgram': { CULVERT_BIND: 'dgram' },
};

function contenders(extra: readonly string[]): Contender[] {
  const own = implementationUnderTest();
  const modes = Object.entries(MODES).map(([mode, env]) => ({
    name: `${own.name}, ${mode}`,
    implementation: own,
    env,
  }));
  const others = extra.map((text) => {
    const [name = text, path = text] = text.split('=');
    return { name, path };
  });
  const plain = [own, WIREGUARD_GO, ...others].map((each) => ({
    name: each.name,
    implementation: each,
    env: {},
  }));
  return [...plain, ...modes];
}

interface Measure {
  readonly name: string;
  readonly one: Namespace;
  readonly two: Namespace;
  readonly seconds: number;
}

type Pids = readonly [sender: number, receiver: number];

/** Payload of a packet of TCP with timestamps at the MTU of 1420. */
const TCP_PAYLOAD = 1368;
const UDP_RATES_MBITS = [50, 100, 200, 400, 800];
const UDP_SIZES = [1360, 100];

async function measureAll(measure: Measure, to: Addresses, pids?: Pids): Promise<TunnelResult> {
  await pingMs(measure, to.v4, 3);
  const idle = await pingMs(measure, to.v4, 200);
  const before = pids?.map(cpuTimeNs);
  const first = await iperf(measure, to.v4, []);
  const after = pids?.map(cpuTimeNs);
  const tcp1 = gbitsReceived(first);
  // iperf3 leaves the first second out of its count; the processes cannot.
  const packets =
    ((first.end.sum_received?.bytes ?? 0) / TCP_PAYLOAD) * ((measure.seconds + 1) / measure.seconds);
  const tcp1Reverse = await tcp(measure, to.v4, ['-R']);
  const tcp4 = await tcp(measure, to.v4, ['-P', '4']);
  const tcp1v6 = await tcp(measure, to.v6, []);
  const udp = await iperf(measure, to.v4, ['-u', '-b', '0', '-l', '1360']);
  const [, underLoad] = await Promise.all([tcp(measure, to.v4, []), pingMs(measure, to.v4, 50)]);
  return {
    name: measure.name,
    tcp1,
    tcp1Reverse,
    tcp4,
    tcp1v6,
    udp: {
      gbits: ((udp.end.sum?.bits_per_second ?? 0) * (1 - (udp.end.sum?.lost_percent ?? 100) / 100)) / 1e9,
      lostPercent: udp.end.sum?.lost_percent ?? 100,
    },
    udpLoss: await udpLoss(measure, to.v4),
    ping: { idle, underLoad },
    ...(before && after
      ? {
          cpuNs: {
            sender: perPacket(before[0], after[0], packets),
            receiver: perPacket(before[1], after[1], packets),
          },
        }
      : {}),
  };
}

async function udpLoss(measure: Measure, address: string): Promise<UdpLoss[]> {
  const results: UdpLoss[] = [];
  for (const bytes of UDP_SIZES) {
    for (const offeredMbits of UDP_RATES_MBITS) {
      const report = await iperf(measure, address, ['-u', '-b', `${offeredMbits}M`, '-l', `${bytes}`]);
      results.push({ bytes, offeredMbits, lostPercent: report.end.sum?.lost_percent ?? 100 });
    }
  }
  return results;
}

const NS_PER_TICK = 1e7;

/** All threads of a process so far (proc(5), utime and stime). */
function cpuTimeNs(pid: number): CpuTime {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { user: Number(fields[11]) * NS_PER_TICK, system: Number(fields[12]) * NS_PER_TICK };
}

function perPacket(before: CpuTime | undefined, after: CpuTime | undefined, packets: number): CpuTime {
  if (!before || !after) return { user: Number.NaN, system: Number.NaN };
  const share = (field: keyof CpuTime) => Math.round((after[field] - before[field]) / packets);
  return { user: share('user'), system: share('system') };
}

async function tcp(measure: Measure, address: string, args: readonly string[]): Promise<number> {
  return gbitsReceived(await iperf(measure, address, args));
}

function gbitsReceived(report: Report): number {
  return (report.end.sum_received?.bits_per_second ?? 0) / 1e9;
}

async function iperf(measure: Measure, address: string, args: readonly string[]): Promise<Report> {
  const serving = measure.two.run('iperf3', ['-s', '-1', '-B', address, '-p', PORT], { timeoutMs: 120_000 });
  await eventually(
    'iperf3 listens',
    () => measure.two.exec('ss', ['-tlnH', 'sport', '=', `:${PORT}`]).length > 0,
  );
  // The first second of TCP is slow start; for UDP iperf3 counts losses wrongly when a part is left out.
  const time = ['-t', `${measure.seconds}`, ...(args.includes('-u') ? [] : ['-O', '1'])];
  const text = await measure.one.run('iperf3', ['-c', address, '-p', PORT, '-J', ...time, ...args], {
    timeoutMs: 120_000,
  });
  await serving;
  return JSON.parse(text) as Report;
}

/** Average round trip. */
async function pingMs(measure: Measure, address: string, count: number): Promise<number> {
  const text = await measure.one.run('ping', ['-n', '-q', '-c', `${count}`, '-i', '0.02', address]);
  return Number(/= [\d.]+\/([\d.]+)\//.exec(text)?.[1] ?? Number.NaN);
}

const COLUMNS = ['TCP 1', 'TCP 1 R', 'TCP 4', 'TCP 1 v6', 'UDP', 'lost %', 'ping', 'ping load'];

function describeHeader(): string {
  return `${'Gbit/s, ms'.padEnd(28)}${COLUMNS.map((column) => column.padStart(10)).join('')}`;
}

function describe(result: TunnelResult): string {
  const { tcp1, tcp1Reverse, tcp4, tcp1v6, udp, ping } = result;
  const figures = [tcp1, tcp1Reverse, tcp4, tcp1v6, udp.gbits, udp.lostPercent, ping.idle, ping.underLoad];
  const line = `${result.name.padEnd(28)}${figures.map((figure) => figure.toFixed(2).padStart(10)).join('')}`;
  const losses = result.udpLoss.map(
    ({ bytes, offeredMbits, lostPercent }) =>
      `${offeredMbits} Mbit/s of ${bytes} B: ${lostPercent.toFixed(1)} %`,
  );
  const more = [`  lost at ${losses.join(', ')}`];
  if (result.cpuNs) {
    const { sender, receiver } = result.cpuNs;
    more.push(
      `  ns a packet, user + system: sender ${sender.user} + ${sender.system}, ` +
        `receiver ${receiver.user} + ${receiver.system}`,
    );
  }
  return [line, ...more].join('\n');
}
