/** Real traffic between namespaces, by the programs people use. */
import assert from 'node:assert/strict';
import { eventually } from './eventually.ts';
import type { Namespace } from './netns.ts';

export interface PingOptions {
  readonly count?: number;
  /** The next echo leaves as soon as the last is answered. */
  readonly flood?: boolean;
  /** How long to wait for the last answer. Below REKEY_TIMEOUT, so that a lost first packet is not made good. */
  readonly waitSeconds?: number;
  /** More arguments of ping(8). */
  readonly args?: readonly string[];
}

/** Every echo must be answered. */
export async function ping(from: Namespace, address: string, options: PingOptions = {}): Promise<void> {
  const count = options.count ?? 1;
  const output = await from.run('ping', pingArgs(address, options));
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
  // A flood with a deadline may have one more under way when enough have come back.
  const late = options.flood === true ? 1 : 0;
  assert.ok(Number(received) >= count && Number(sent) <= Number(received) + late, output);
}

/** Whether an echo is answered. */
export async function answers(from: Namespace, address: string, options: PingOptions = {}): Promise<boolean> {
  return ping(from, address, { waitSeconds: 1, ...options }).then(
    () => true,
    () => false,
  );
}

function pingArgs(address: string, options: PingOptions): string[] {
  const { count = 1, flood = false, waitSeconds = 4, args = [] } = options;
  // Without a deadline a flood waits for its last answer only twice as long as the slowest answer before took.
  const pace = flood ? ['-f', '-w', `${waitSeconds}`] : ['-W', `${waitSeconds}`];
  return ['-n', '-c', `${count}`, ...pace, ...args, address];
}

export interface IperfOptions {
  /** Where the server runs, and the address that it is bound to and the client connects to. */
  readonly server: Namespace;
  readonly address: string;
  readonly client: Namespace;
  readonly protocol: 'tcp' | 'udp';
  readonly bytes?: number;
  /** More arguments of the client. */
  readonly args?: readonly string[];
}

export interface IperfResult {
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

interface IperfReport {
  readonly end: {
    readonly sum?: { readonly bytes: number; readonly lost_percent: number };
    readonly sum_sent?: { readonly bytes: number };
    readonly sum_received?: { readonly bytes: number };
  };
}

const IPERF_PORT = 5201;

/**
 * One iperf3 transfer from client to server, UDP at full speed. All must be sent; what the server counts is less,
 * also for TCP, whose last bytes are still in buffers when the test ends.
 */
export async function iperf(options: IperfOptions): Promise<IperfResult> {
  const { server, client, address, protocol } = options;
  const bytes = options.bytes ?? 16 << 20;
  const serving = server.run('iperf3', ['-s', '-1', '-B', address, '-p', `${IPERF_PORT}`]);
  const ready = eventually(`iperf3 listens on ${address}`, () =>
    server.exec('ss', ['-tlnH', 'sport', '=', `:${IPERF_PORT}`]).includes(`:${IPERF_PORT}`),
  );
  await Promise.race([ready, serving]);
  const base = ['-c', address, '-p', `${IPERF_PORT}`, '-J', '-n', `${bytes}`];
  const transfer = protocol === 'tcp' ? ['-Z'] : ['-u', '-b', '0'];
  const output = await client.run('iperf3', [...base, ...transfer, ...(options.args ?? [])]);
  await serving;
  const { end } = JSON.parse(output) as IperfReport;
  const result = summary(end, protocol);
  assert.ok(result.sentBytes >= bytes && result.receivedBytes > 0, `${protocol}: ${JSON.stringify(result)}`);
  return result;
}

function summary(end: IperfReport['end'], protocol: 'tcp' | 'udp'): IperfResult {
  const sentBytes = end.sum_sent?.bytes ?? end.sum?.bytes ?? 0;
  const receivedBytes =
    protocol === 'tcp'
      ? (end.sum_received?.bytes ?? 0)
      : (end.sum?.bytes ?? 0) * (1 - (end.sum?.lost_percent ?? 100) / 100);
  return { sentBytes, receivedBytes };
}
