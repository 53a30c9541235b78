/**
 * Provisions per second: the decision and a durable store alone, and over HTTP/2 on loopback, where every call comes on a
 * connection of its own, as from machines. Caller and gateway share one process, whose CPU time is what is compared.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server } from '@grpc/grpc-js';
import { systemClock } from '../../src/core/clock.ts';
import { type Address, parseAddress } from '../../src/core/ip.ts';
import { silentLogger } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import type { ProvisionRequest } from '../../src/gen/siderolink/provision.ts';
import { Gateway } from '../../src/link/gateway.ts';
import { GrpcFront } from '../../src/link/grpc-front.ts';
import { callProvision } from '../../src/link/provision-client.ts';
import { addProvisionService } from '../../src/link/provision-service.ts';
import { SqliteStore } from '../../src/link/sqlite-store.ts';
import { StreamTable } from '../../src/link/stream-table.ts';
import { firstStart } from '../../src/link/token-admin.ts';

export interface ProvisionResult {
  readonly what: string;
  readonly perSecond: number;
  /** Milliseconds of CPU time for each, of all threads. */
  readonly cpuMs: number;
}

const MACHINES = 1_000;
const NO_LIMIT = { perSecond: 1e6, burst: 1e6 };
/** Calls under way at the same time. */
const PARALLEL = 64;
const TOKEN = 'a-token-for-benches-only';
const CALLER = parseAddress('127.0.0.1') as Address;

export async function benchProvision(say: (line: string) => void): Promise<ProvisionResult[]> {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
  const store = SqliteStore.open(directory);
  try {
    const gateway = await startGateway(store);
    const direct = async (call: ProvisionRequest): Promise<void> => {
      const answer = await gateway.provision(call, CALLER);
      if ('code' in answer) throw new Error(answer.message);
    };
    const services = new Server();
    addProvisionService(services, gateway);
    const streams = new StreamTable({ deliver: () => true });
    const front = new GrpcFront({ clock: systemClock, streams, services, limits: { callRate: NO_LIMIT } });
    const { port } = await front.listen('127.0.0.1', 0);
    const target = { host: '127.0.0.1', port, isPlaintext: true };
    const overHttp2 = async (call: ProvisionRequest): Promise<void> => {
      await callProvision(target, call, { proxies: {} }, AbortSignal.timeout(60_000));
    };
    const results: ProvisionResult[] = [];
    for (const [what, machines, provision] of [
      ['new machines', calls(0), direct],
      ['known machines', calls(0), direct],
      ['new machines, HTTP/2', calls(MACHINES), overHttp2],
      ['known machines, HTTP/2', calls(MACHINES), overHttp2],
    ] as const) {
      const result = { what, ...(await measure(machines, provision)) };
      results.push(result);
      const rate = `${Math.round(result.perSecond)}/s`.padStart(10);
      say(`${what.padEnd(26)}${rate}   ${result.cpuMs.toFixed(2)} ms CPU each`);
    }
    await front.close(AbortSignal.timeout(1_000));
    return results;
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
}

async function startGateway(store: SqliteStore): Promise<Gateway> {
  const changes = firstStart(await store.load(), systemRandom, systemClock.wall(), TOKEN);
  await store.commit(changes);
  return Gateway.start({
    store,
    // What the device does for a new peer is measured elsewhere.
    device: { configure: () => Promise.resolve(), peer: () => undefined },
    streams: new StreamTable({ deliver: () => true }),
    settings: {
      joinMode: 'legacyAllowed',
      accept: 'auto',
      requireUniqueToken: false,
      pinUniqueTokens: true,
      tunnel: 'hint',
      endpoints: ['127.0.0.1:51820'],
      serverPublicKey: Buffer.alloc(32, 1).toString('base64'),
      maxPending: 10,
      predefinedAddresses: new Map(),
    },
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    rateLimit: NO_LIMIT,
    useLastEndpoints: false,
  });
}

function calls(first: number): ProvisionRequest[] {
  return Array.from({ length: MACHINES }, (_, i) => {
    const number = (first + i).toString(16).padStart(12, '0');
    const key = Buffer.alloc(32);
    key.writeUInt32LE(first + i + 1);
    return {
      nodeUuid: `00000000-0000-4000-8000-${number}`,
      nodePublicKey: key.toString('base64'),
      joinToken: TOKEN,
      nodeUniqueToken: JSON.stringify({ Fingerprint: number, Token: number }),
      talosVersion: 'v1.9.0',
      wireguardOverGrpc: true,
    };
  });
}

async function measure(
  machines: readonly ProvisionRequest[],
  provision: (call: ProvisionRequest) => Promise<void>,
): Promise<{ perSecond: number; cpuMs: number }> {
  const startedAt = systemClock.now();
  const cpu = process.cpuUsage();
  const waiting = machines.values();
  const worker = async (): Promise<void> => {
    for (const call of waiting) await provision(call);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (systemClock.now() - startedAt) / 1_000;
  return { perSecond: machines.length / seconds, cpuMs: (user + system) / 1_000 / machines.length };
}
