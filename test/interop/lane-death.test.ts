/** The thread that moves packets ends under traffic: noticed, reported, replaced, and the tunnel is back in seconds. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { CULVERT_GO, requireInterop } from '../kit/programs.ts';
import { ping } from '../kit/traffic.ts';
import { aim, OUTER, type Side, startPair, TEST_TIMEOUT_MS } from './sides.ts';

const KILLER = new URL('../kit/lane-killer.js', import.meta.url).href;
/** Well below what the timers of a side that knows nothing of the loss would take. */
const RECOVERY_MS = 12_000;

const skip = requireInterop([CULVERT_GO], { programs: ['ping'] });

/** What each thread moves, of one and of two. */
const LANES = [
  { lanes: '1', victim: 'both' },
  { lanes: '2', victim: 'out' },
  { lanes: '2', victim: 'in' },
] as const;

const ROLES = ['responder', 'initiator'] as const;

for (const { role, lanes, victim } of ROLES.flatMap((role) => LANES.map((each) => ({ role, ...each })))) {
  test(
    `a lane thread (${victim}) of ${lanes} that ends under traffic is replaced within seconds: ${role}`,
    { skip, timeout: TEST_TIMEOUT_MS },
    async (t) => {
      await using left = Namespace.create();
      await using right = Namespace.create();
      const folder = mkdtempSync(join(tmpdir(), 'culvert-lane-'));
      t.after(() => rmSync(folder, { recursive: true, force: true }));
      const logFile = join(folder, 'log');
      joinByVeth(
        { namespace: left, link: 'veth', addresses: ['10.0.0.1/24'] },
        { namespace: right, link: 'veth', addresses: ['10.0.0.2/24'] },
      );
      const env = {
        NODE_OPTIONS: `--import=${KILLER}`,
        LANE_KILLER_VICTIM: victim,
        CULVERT_LANES: lanes,
        WG_LOG_FILE: logFile,
      };
      const { one, two } = await startPair(
        { implementation: CULVERT_GO, namespace: left, env },
        { implementation: CULVERT_GO, namespace: right },
      );
      const [initiator, responder] = role === 'initiator' ? [one, two] : [two, one];
      aim(initiator, responder, role === 'initiator' ? OUTER.two[4] : OUTER.one[4]);
      await ping(initiator.process.namespace, responder.inner4);

      const pid = one.process.pid();
      const sentBefore = one.process.wg.peer().txBytes;
      const flow = stream(two, one);
      process.kill(pid, 'SIGUSR2');
      await eventually('the loss is reported', () =>
        readFileSync(logFile, 'utf8').includes('Lane restarted'),
      );
      const restartedAt = performance.now();
      await eventually('answers come again', () => flow.answersSince(restartedAt) > 20, RECOVERY_MS);
      flow.stop();

      assert.equal(one.process.pid(), pid, 'the process is the same');
      assert.ok(one.process.wg.peer().txBytes > sentBefore, 'counters go on from where they were');
      await ping(one.process.namespace, two.inner4, { count: 20, flood: true });
      await one.process.stop();
    },
  );
}

/** Ten echoes a second from one side to the other, for as long as it takes. */
function stream(from: Side, to: Side): { answersSince(ms: number): number; stop(): void } {
  const answers: number[] = [];
  const child = from.process.namespace.spawn('ping', ['-n', '-i', '0.05', to.inner4], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    for (const _ of text.matchAll(/bytes from/g)) answers.push(performance.now());
  });
  return {
    answersSince: (ms) => answers.filter((at) => at > ms).length,
    stop: () => child.kill(),
  };
}
