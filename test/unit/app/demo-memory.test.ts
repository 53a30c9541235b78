import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runDemo } from '../../../src/app/demo/demo.ts';
import { echoReply, echoRequest, ipv4Packet, isReply } from '../../../src/app/demo/echo.ts';
import { MemoryStage } from '../../../src/app/demo/memory-stage.ts';
import { Screen } from '../../../src/app/demo/screen.ts';
import type { Amount } from '../../../src/app/demo/stage.ts';
import { AppError } from '../../../src/core/errors.ts';

const CULVERT = fileURLToPath(new URL('../../../../bin/culvert', import.meta.url));

const ALICE = Uint8Array.of(10, 7, 0, 1);
const BOB = Uint8Array.of(10, 7, 0, 2);

/** RFC 1071: the sum over data with its checksum is all ones. */
function sum(packet: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i += 2) total += ((packet[i] as number) << 8) | (packet[i + 1] as number);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

async function openStage(t: TestContext): Promise<MemoryStage> {
  const stage = new MemoryStage();
  t.after(() => stage.close());
  await stage.open();
  return stage;
}

function culvert(...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(CULVERT, args, { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } });
}

test('echo requests and replies are valid packets that belong together', () => {
  const request = echoRequest(ALICE, BOB, 7);
  assert.equal(request.length, 84);
  assert.equal(sum(request, 0, 20), 0xffff);
  assert.equal(sum(request, 20, 84), 0xffff);
  const reply = echoReply(request) ?? assert.fail('no reply');
  assert.equal(sum(reply, 0, 20), 0xffff);
  assert.equal(sum(reply, 20, 84), 0xffff);
  assert.deepEqual(reply.subarray(12, 20), Uint8Array.of(...BOB, ...ALICE));
  assert.ok(isReply(reply, ALICE, 7));
  assert.ok(!isReply(reply, ALICE, 8));
  assert.ok(!isReply(reply, BOB, 7));
  assert.ok(!isReply(request, BOB, 7));
});

test('only echo requests are answered', () => {
  assert.equal(echoReply(ipv4Packet(ALICE, BOB, 17, 100)), undefined);
  assert.equal(echoReply(echoReply(echoRequest(ALICE, BOB, 1)) ?? assert.fail()), undefined);
});

test('in memory: handshake, ping and transfer go through two devices, and their counters agree', async (t) => {
  const stage = await openStage(t);
  assert.ok((await stage.connect()).ms > 0);
  assert.ok(((await stage.ping(5_000)) ?? assert.fail('no answer')) > 0);
  const progress: Amount[] = [];
  const { bytes, ms, packets } = await stage.transfer(300, (soFar) => progress.push(soFar));
  assert.ok(bytes > 0 && ms >= 300);
  assert.equal(bytes, packets.there * 1420);
  assert.ok(progress.length > 0 && progress.every((soFar) => soFar.bytes > 0 && soFar.bytes <= bytes));
  const { alice, bob } = await stage.report();
  assert.equal(alice.txBytes, bob.rxBytes);
  assert.equal(alice.rxBytes, bob.txBytes);
  assert.ok(alice.txBytes > BigInt(bytes));
  assert.deepEqual({ ...alice.drops, ...bob.drops }, {});
});

test('in memory: without a session no ping is answered, and the packet is not lost without a trace', async (t) => {
  const stage = await openStage(t);
  assert.equal(await stage.ping(1), undefined);
  assert.equal((await stage.report()).alice.drops.no_route, 1n);
});

test('in memory: closing ends a transfer under way, and may be repeated', async (t) => {
  const stage = await openStage(t);
  await stage.connect();
  const transfer = stage.transfer(60_000, () => void stage.close());
  await assert.rejects(transfer, (error: unknown) => error instanceof AppError);
  await stage.close();
});

test('an aborted demonstration rejects, and nothing of it runs on', async () => {
  const interruption = new AbortController();
  const lines: string[] = [];
  const write = (text: string) => {
    lines.push(text);
    if (text.includes('ping')) interruption.abort();
  };
  const screen = new Screen({ write, isLive: false, isColoured: false, columns: () => 80 });
  const { signal } = interruption;
  await assert.rejects(runDemo({ screen, durationMs: 60_000, inMemory: true, program: 'culvert', signal }));
  assert.ok(!lines.join('').includes('Summary'));
});

test('culvert demo --memory shows every step, its figures and the next steps, and exits with 0', () => {
  const { status, stdout, stderr } = culvert('demo', '--memory', '--seconds', '1');
  assert.equal(stderr, '');
  assert.equal(status, 0);
  assert.match(stdout, /^Both run in memory: as asked$/m);
  assert.match(stdout, /^ {2}ping +10 of 10 answered, /m);
  assert.match(stdout, /^ {2}throughput +(?!0 )[\d.]+ [kMG]bit\/s /m);
  assert.match(stdout, /^ {2}dropped +nothing in the devices$/m);
  assert.match(stdout, /^ {2}\S+ doctor +/m);
  assert.ok(!stdout.includes('\x1b') && !stdout.includes('\r'), 'plain text when piped');
  for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
});

test('Ctrl-C ends the demonstration with 130 and says so', async () => {
  const child = spawn(CULVERT, ['demo', '--memory', '--seconds', '60'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  for await (const text of child.stdout.setEncoding('utf8')) if (String(text).includes('ping')) break;
  child.kill('SIGINT');
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 130);
  assert.equal(stderr, 'culvert: interrupted; everything is cleaned up\n');
});

test('a wrong duration is refused with what is expected', () => {
  for (const seconds of ['0', '61', '1.5', 'x', '']) {
    const { status, stderr } = culvert('demo', '--memory', '--seconds', seconds);
    assert.equal(status, 2, seconds);
    assert.equal(
      stderr,
      `culvert: --seconds ${JSON.stringify(seconds)}: expected a whole number from 1 to 60\nhint: for example --seconds 5\n`,
    );
  }
});
