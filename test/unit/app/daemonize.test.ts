import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { READY_FD, startDaemon, takeStarter } from '../../../src/app/daemonize.ts';

const here = new URL('../../../src/app/daemonize.js', import.meta.url).href;

function daemon(script: string): readonly [string, ...string[]] {
  const text = `const { takeStarter } = await import('${here}'); const starter = takeStarter(process.env);\n${script}`;
  return [process.execPath, '--input-type=module', '-e', text];
}

test('the starter goes on when the daemon is ready, and leaves it in a session of its own', async (t) => {
  const { pid, notes } = await startDaemon({
    command: daemon('starter.note("by the way\\n"); starter.ready(); setInterval(() => {}, 1000);'),
    env: process.env,
    keepsOutput: false,
  });
  t.after(() => process.kill(pid));
  assert.equal(notes, 'by the way\n');
  const session = (of: number) =>
    spawnSync('ps', ['-o', 'sid=', '-p', String(of)], { encoding: 'utf8' }).stdout;
  assert.equal(session(pid).trim(), String(pid));
  if (process.platform === 'linux')
    for (const fd of [0, 1, 2]) assert.equal(readlinkSync(`/proc/${pid}/fd/${fd}`), '/dev/null');
});

test('what a daemon says when it fails reaches the starter', async () => {
  await assert.rejects(
    startDaemon({
      command: daemon('starter.failed("culvert: no such thing\\nhint: find it\\n"); process.exit(1);'),
      env: process.env,
      keepsOutput: false,
    }),
    { text: 'culvert: no such thing\nhint: find it\n', code: 'io' },
  );
});

test('a daemon that dies without a word is a failure', async () => {
  await assert.rejects(
    startDaemon({ command: daemon('process.kill(process.pid, 9);'), env: process.env, keepsOutput: false }),
    { message: 'the daemon ended before it was ready' },
  );
});

test('a program that cannot be started is a failure', async () => {
  await assert.rejects(startDaemon({ command: ['/nonexistent/program'], env: {}, keepsOutput: false }), {
    code: 'ENOENT',
  });
});

test('without a starter nobody waits, and the variable is not passed on', () => {
  assert.equal(takeStarter({}), undefined);
  assert.equal(takeStarter({ [READY_FD]: 'x' }), undefined);
  assert.equal(takeStarter({ [READY_FD]: '1' }), undefined, 'standard streams are not for this');
  const env = { [READY_FD]: '999999' };
  const starter = takeStarter(env);
  assert.deepEqual(env, {});
  // A starter that is gone does not matter.
  starter?.ready();
});
