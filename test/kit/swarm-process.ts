// The generator of many machines: `node swarm-process.js '{"host":…,"port":…,"joinToken":…,"provisioned":n,"udp":n,"grpc":n}'`.
// Provisions all, connects the first `udp + grpc` of them, says {"ready":…} and then answers each line on standard input
// with how many of the connected ones got an answer to a ping: {"answered":n,"ended":n}.
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { Arena } from '../../src/core/arena.ts';
import { MEMORY_DEVICE_BYTES } from '../../src/app/memory/memory-device.ts';
import { type JoinTarget, MemoryMachine } from '../../src/app/memory/memory-machine.ts';

interface Order {
  readonly host: string;
  readonly port: number;
  readonly joinToken: string;
  readonly provisioned: number;
  readonly udp: number;
  readonly grpc: number;
}

const order = JSON.parse(process.argv[2] ?? '{}') as Order;
const target: JoinTarget = {
  host: order.host,
  port: order.port,
  isPlaintext: true,
  joinToken: order.joinToken,
};
const PARALLEL = 20;
const PING_WAIT_MS = 1_000;

const machines = Array.from(
  { length: order.provisioned },
  (_, i) => new MemoryMachine(`${String(i).padStart(8, '0')}-1111-2222-3333-444444444444`),
);
const startedAt = performance.now();
for (let at = 0; at < machines.length; at += PARALLEL) {
  await Promise.all(
    machines
      .slice(at, at + PARALLEL)
      .map((machine, i) => machine.provision(target, at + i >= order.udp && at + i < order.udp + order.grpc)),
  );
}
const provisionMs = performance.now() - startedAt;
const live = machines.slice(0, order.udp + order.grpc);
const arena = new Arena({ bytes: Math.max(1, live.length) * MEMORY_DEVICE_BYTES });
for (const machine of live) await machine.connect(target, arena);
say({ ready: true, provisionMs });

for await (const _line of createInterface({ input: process.stdin })) {
  const answered = new Set<MemoryMachine>();
  for (const machine of live) machine.ping();
  for (let waited = 0; waited < PING_WAIT_MS && answered.size < live.length; waited += 50) {
    await pause(50);
    for (const machine of live) if (machine.isAnswered()) answered.add(machine);
  }
  say({ answered: answered.size, ended: live.filter(({ ended }) => ended !== undefined).length });
}
process.exit(0);

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
