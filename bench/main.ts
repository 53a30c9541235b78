/** `npm run bench [-- WHAT...] [--seconds N] [--peer NAME=/path] [--json FILE]` */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { aeadSteps } from '../src/app/bench/aead.ts';
import { machineFacts } from '../src/app/bench/facts.ts';
import { handshakeSteps } from '../src/app/bench/handshake.ts';
import { laneSteps } from '../src/app/bench/lane.ts';
import { type Row, type Step, formatRow } from '../src/app/bench/measure.ts';
import { primitiveSteps } from '../src/app/bench/primitives.ts';
import { benchGrpc } from './e2e/grpc.ts';
import { benchTunnel } from './e2e/tunnel.ts';
import { soak } from './e2e/soak.ts';
import { benchMetrics } from './micro/metrics.ts';
import { benchPeers } from './micro/peers.ts';
import { benchOffload } from './micro/offload.ts';
import { benchProvision } from './micro/provision.ts';
import { benchStreamBridge } from './micro/stream-bridge.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '5' },
    peer: { type: 'string', multiple: true, default: [] },
    json: { type: 'string' },
  },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const options = { seconds: Number(values.seconds), peers: values.peer };

async function run(steps: readonly Step[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const step of steps) {
    const measured = await step.run();
    rows.push(...measured);
    for (const row of measured) say(formatRow(row));
  }
  return rows;
}

const BENCHES: Readonly<Record<string, () => unknown>> = {
  aead: () => run(aeadSteps()),
  crypto: () => run(primitiveSteps()),
  handshake: () => run(handshakeSteps()),
  lane: () => run(laneSteps()),
  metrics: () => benchMetrics(say),
  peers: () => benchPeers(say),
  offload: () => benchOffload(say),
  provision: () => benchProvision(say),
  'stream-bridge': () => benchStreamBridge(say),
  grpc: () => benchGrpc(options.seconds, say),
  tunnel: () => benchTunnel(options, say),
  soak: () => soak(options.seconds, say),
};

// The soak takes minutes and is run by name only.
const all = Object.keys(BENCHES).filter((name) => name !== 'soak');
const chosen = positionals.length === 0 ? all : positionals;
const results: Record<string, unknown> = {};
for (const name of chosen) {
  const bench = BENCHES[name];
  if (!bench) {
    say(`no bench "${name}"; there are ${Object.keys(BENCHES).join(', ')}`);
    process.exit(2);
  }
  say(`# ${name}`);
  results[name] = await bench();
}
if (values.json !== undefined) {
  writeFileSync(values.json, `${JSON.stringify({ machine: machineFacts(), ...results }, undefined, 2)}\n`);
}
