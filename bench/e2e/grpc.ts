/**
 * TCP through a gRPC tunnel: a gateway and a machine, each a device and its streams in one process, in two namespaces
 * joined by a veth pair. CPU time per packet tells more than throughput on a machine that others use too.
 */
import { spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { systemRandom } from '../../src/core/random.ts';
import { toBase64 } from '../../src/core/bytes.ts';
import { nodeCrypto } from '../../src/noise/crypto-node.ts';
import { PrivateKey } from '../../src/noise/keys.ts';
import type { TlsPair } from '../../src/link/tls-files.ts';
import { eventually } from '../../test/kit/eventually.ts';
import { Namespace, joinByVeth, requireRoot } from '../../test/kit/netns.ts';
import type { EndSettings } from './grpc-end.ts';

export interface GrpcResult {
  readonly carrier: 'plain' | 'TLS';
  /** gRPC streams. */
  readonly streams: number;
  /** TCP connections inside. */
  readonly connections: number;
  /** From the machine to the gateway, or back. */
  readonly direction: 'up' | 'down';
  readonly gbits: number;
  readonly retransmits: number;
  /** Of all threads of each process, for each full-sized packet of the transfer. */
  readonly gatewayNs: number;
  readonly machineNs: number;
  /** Of the machine while it ran: processes that wanted a processor, a minute's average. */
  readonly load: number;
}

const LINK = 'grpc0';
const MTU = 1280;
/** IPv6 and TCP with timestamps. */
const PAYLOAD: number = MTU - 40 - 32;
const GATEWAY = '10.99.0.1';
const PORT = 50_181;
const SERVER = 'fdae:41e4:649b:9303::1';
const NODE = 'fdae:41e4:649b:9303::2';
const VIRTUAL = '[fdae:41e4:649b:9304::2]:50889';
const IPERF_PORT = '5201';
const WARM_UP_SECONDS = 3;
/** Of the unit of times in /proc. */
const TICKS_PER_SECOND = 100;

interface End {
  readonly namespace: Namespace;
  readonly process: ChildProcess;
}

export async function benchGrpc(seconds: number, say: (line: string) => void): Promise<GrpcResult[]> {
  const missing = requireRoot({ programs: ['iperf3', 'ss', 'openssl'], tun: true });
  if (missing !== false) throw new Error(missing);
  const results: GrpcResult[] = [];
  say('carrier  streams  connections  direction    Gbit/s   retr.  gateway ns  machine ns   load');
  for (const carrier of ['plain', 'TLS'] as const) {
    for (const streams of [1, 4]) {
      await using one = Namespace.create();
      await using two = Namespace.create();
      joinByVeth(
        { namespace: one, link: 'veth0', addresses: [`${GATEWAY}/24`] },
        { namespace: two, link: 'veth0', addresses: ['10.99.0.2/24'] },
      );
      const [gateway, machine] = await startBoth(one, two, carrier, streams);
      // What the compiler of JavaScript does in the first seconds would count as packets' time.
      for (const direction of ['up', 'down'] as const)
        await measure(gateway, machine, 4, direction, WARM_UP_SECONDS);
      for (const connections of streams === 1 ? [1, 4] : [4]) {
        for (const direction of ['up', 'down'] as const) {
          const measured = await measure(gateway, machine, connections, direction, seconds);
          const result = { carrier, streams, connections, direction, ...measured, load: loadavg()[0] ?? 0 };
          results.push(result);
          say(describe(result));
        }
      }
      await Promise.all([stop(machine), stop(gateway)]);
    }
  }
  return results;
}

async function startBoth(
  one: Namespace,
  two: Namespace,
  carrier: 'plain' | 'TLS',
  lanes: number,
): Promise<[End, End]> {
  const [gatewayKey, machineKey] = [keys(), keys()];
  const common = { link: LINK, mtu: MTU, virtualEndpoint: VIRTUAL, host: GATEWAY, port: PORT, lanes };
  const tls = carrier === 'TLS' ? certificate() : undefined;
  const gateway = await startEnd(one, SERVER, {
    ...common,
    side: 'gateway',
    privateKey: gatewayKey.privateKey,
    peerPublicKey: machineKey.publicKey,
    allowedIp: `${NODE}/128`,
    tls,
  });
  const machine = await startEnd(two, NODE, {
    ...common,
    side: 'machine',
    privateKey: machineKey.privateKey,
    peerPublicKey: gatewayKey.publicKey,
    allowedIp: `${SERVER}/128`,
    tls,
  });
  return [gateway, machine];
}

function keys(): { privateKey: string; publicKey: string } {
  const { bytes } = PrivateKey.generate(systemRandom);
  const { publicKey } = nodeCrypto().x25519.importPrivateKey(bytes);
  return { privateKey: toBase64(bytes), publicKey: toBase64(publicKey) };
}

function certificate(): TlsPair {
  const words =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench -keyout - -out -';
  const { stdout, stderr } = spawnSync(
    'openssl',
    [...words.split(' '), '-addext', `subjectAltName=IP:${GATEWAY}`],
    { encoding: 'utf8' },
  );
  const at = stdout.indexOf('-----BEGIN CERTIFICATE-----');
  if (at < 0) throw new Error(`openssl made no certificate: ${stderr}`);
  return { key: stdout.slice(0, at), cert: stdout.slice(at) };
}

async function startEnd(namespace: Namespace, address: string, settings: EndSettings): Promise<End> {
  const program = fileURLToPath(new URL('grpc-end.js', import.meta.url));
  const profile = process.env['CULVERT_BENCH_PROFILE'];
  const options = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}/${settings.side}`];
  const child = namespace.spawn(process.execPath, [...options, program, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  await eventually(
    'the device',
    () => namespace.try('ip', ['link', 'show', 'dev', LINK]).status === 0,
    10_000,
  );
  namespace.ip(`address add ${address}/64 dev ${LINK} nodad`);
  namespace.ip(`link set ${LINK} up`);
  await eventually('the end is ready', () => output.includes('ready'), 10_000);
  return { namespace, process: child };
}

async function stop({ process: child }: End): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

async function measure(
  gateway: End,
  machine: End,
  connections: number,
  direction: 'up' | 'down',
  seconds: number,
): Promise<Pick<GrpcResult, 'gbits' | 'retransmits' | 'gatewayNs' | 'machineNs'>> {
  await machine.namespace.run('ping', ['-6', '-n', '-q', '-c', '3', '-i', '0.1', SERVER]);
  const serving = gateway.namespace.run('iperf3', ['-s', '-1', '-B', SERVER, '-p', IPERF_PORT], {
    timeoutMs: 120_000,
  });
  await eventually(
    'iperf3 listens',
    () => gateway.namespace.exec('ss', ['-tlnH', 'sport', '=', `:${IPERF_PORT}`]).length > 0,
  );
  const args = ['-c', SERVER, '-p', IPERF_PORT, '-J', '-t', `${seconds}`, '-P', `${connections}`];
  const before = [gateway, machine].map(cpuNs);
  const text = await machine.namespace.run('iperf3', direction === 'up' ? args : [...args, '-R'], {
    timeoutMs: 120_000,
  });
  const [gatewayNs = 0, machineNs = 0] = [gateway, machine].map((end, i) => cpuNs(end) - (before[i] ?? 0));
  await serving;
  const { end } = JSON.parse(text) as {
    end: {
      sum_sent: { retransmits?: number };
      sum_received: { bytes: number; bits_per_second: number };
    };
  };
  const packets = end.sum_received.bytes / PAYLOAD;
  return {
    gbits: end.sum_received.bits_per_second / 1e9,
    retransmits: end.sum_sent.retransmits ?? 0,
    gatewayNs: gatewayNs / packets,
    machineNs: machineNs / packets,
  };
}

/** utime and stime of all threads. */
function cpuNs({ process: child }: End): number {
  const text = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e9;
}

function describe(result: GrpcResult): string {
  const { carrier, streams, connections, direction, gbits, retransmits, gatewayNs, machineNs, load } = result;
  return [
    carrier.padEnd(7),
    `${streams}`.padStart(8),
    `${connections}`.padStart(12),
    direction.padStart(10),
    gbits.toFixed(2).padStart(9),
    `${retransmits}`.padStart(7),
    gatewayNs.toFixed(0).padStart(11),
    machineNs.toFixed(0).padStart(11),
    load.toFixed(1).padStart(6),
  ].join(' ');
}
