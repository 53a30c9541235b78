// Floods against the gateway's gRPC port, in processes of their own, while another client pings through its tunnel.
import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CREATE_STREAM_PATH } from '../../src/link/grpc-front.ts';
import { CERTIFICATE } from '../kit/certificates.ts';
import { eventually } from '../kit/eventually.ts';
import type { FloodReport } from '../kit/flood-server.ts';
import { FLOODS, GOOD_HEADER } from '../kit/floods.ts';
import { type RawCall, RawGrpcClient } from '../kit/raw-grpc.ts';
import { datagram, framed, unframer } from '../unit/link/stream-kit.ts';

const SERVER = fileURLToPath(new URL('../kit/flood-server.js', import.meta.url));
const GENERATOR = fileURLToPath(new URL('../kit/flood-generator.js', import.meta.url));
const FLOOD_MS = 4_000;
/** Whatever comes, the process does not grow by more. */
const RSS_CEILING_BYTES = 512 * 1024 * 1024;
/** Left over when it has gone: compiled code, pools. */
const HEAP_REST_BYTES = 32 * 1024 * 1024;

class FloodedServer {
  readonly #child: ChildProcess;
  peakRssBytes = 0;

  constructor(isTls: boolean) {
    this.#child = fork(SERVER, isTls ? ['tls'] : [], { execArgv: ['--expose-gc', '--enable-source-maps'] });
  }

  async report(): Promise<FloodReport> {
    const answer = once(this.#child, 'message');
    this.#child.send('report');
    const [report] = (await answer) as [FloodReport];
    this.peakRssBytes = Math.max(this.peakRssBytes, report.rssBytes);
    return report;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async close(): Promise<void> {
    if (!this.isAlive) return;
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }
}

/** One datagram after the other through a tunnel; the next one leaves when the last one is back. */
class Pinger {
  readonly #call: RawCall;
  readonly #echoes = unframer();
  #back: () => void = () => {};
  #isOver = false;
  count = 0;
  slowestMs = 0;

  constructor(client: RawGrpcClient) {
    this.#call = client.call(CREATE_STREAM_PATH, { 'x-siderolink-ipv6-addr': GOOD_HEADER });
    this.#call.onChunk = (chunk) => {
      this.#echoes.push(chunk);
      this.#back();
    };
  }

  /** Rejects when the stream ends. */
  async run(): Promise<void> {
    const closed = new Promise<never>((_, reject) => {
      this.#call.stream.on('close', () => {
        if (!this.#isOver) reject(new Error('the stream of a good client was ended'));
      });
    });
    while (!this.#isOver) {
      const before = performance.now();
      const back = new Promise<void>((resolve) => (this.#back = resolve));
      this.#call.stream.write(framed(datagram(this.count)));
      await Promise.race([back, closed]);
      this.count++;
      this.slowestMs = Math.max(this.slowestMs, performance.now() - before);
      assert.equal(this.#echoes.datagrams.length, this.count);
    }
  }

  stop(): void {
    this.#isOver = true;
  }
}

async function flooded(t: TestContext, name: string): Promise<void> {
  const isTls = FLOODS[name]?.isTls === true;
  const server = new FloodedServer(isTls);
  t.after(() => server.close());
  const { port } = await server.report();
  const client = isTls
    ? new RawGrpcClient(`https://localhost:${port}`, { ca: CERTIFICATE.cert })
    : new RawGrpcClient(`http://127.0.0.1:${port}`);
  t.after(() => client.close());
  const pinger = new Pinger(client);
  const pinging = pinger.run();
  await eventually('the first ping', () => pinger.count > 100);
  const before = await server.report();
  const generator = spawn(process.execPath, [GENERATOR, name, String(port), String(FLOOD_MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  generator.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(generator, 'exit');
  const pingsBefore = pinger.count;
  pinger.slowestMs = 0;
  while (generator.exitCode === null) {
    await Promise.race([server.report(), exited]);
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 250)), exited, pinging]);
  }
  const { sent, opened } = JSON.parse(output) as { sent: number; opened: number };
  const pings = pinger.count - pingsBefore;
  assert.ok(server.isAlive, 'the server has ended');
  assert.ok(pings > 0, 'no ping came back during the flood');
  let after = await server.report();
  await eventually(
    'the connections are gone and the memory is back',
    async () => {
      after = await server.report();
      return after.connections <= 1 && after.heapBytes - before.heapBytes < HEAP_REST_BYTES;
    },
    30_000,
  ).catch((error: unknown) => {
    throw new Error(`${JSON.stringify(before)} ${JSON.stringify(after)}`, { cause: error });
  });
  const next = pinger.count + 100;
  await Promise.race([eventually('pings go on', () => pinger.count > next), pinging]);
  pinger.stop();
  await pinging;
  const mib = (bytes: number) => Math.round(bytes / 1024 / 1024);
  assert.ok(server.peakRssBytes - before.rssBytes < RSS_CEILING_BYTES, `${mib(server.peakRssBytes)} MiB`);
  t.diagnostic(
    `${name}: ${sent} in ${FLOOD_MS / 1000} s over ${opened} connections; ${pings} pings, all answered, slowest ` +
      `${Math.round(pinger.slowestMs)} ms; RSS ${mib(before.rssBytes)} to ${mib(server.peakRssBytes)} MiB; ` +
      `heap afterwards ${mib(after.heapBytes - before.heapBytes)} MiB above; cut ${JSON.stringify(after.front.cut)}, ` +
      `calls ${JSON.stringify(after.front.calls)}, Provisions ${JSON.stringify(after.provisions)}`,
  );
}

for (const name of Object.keys(FLOODS)) {
  test(`flood of ${name}: others' pings go on, memory stays bounded and returns`, (t) => flooded(t, name));
}
