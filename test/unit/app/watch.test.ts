import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { screen } from '../../../src/app/watch.ts';

const CULVERT = fileURLToPath(new URL('../../../../bin/culvert', import.meta.url));

test('watch: a screen that follows is rewritten in place and never scrolls', () => {
  assert.equal(screen('a\nb\n', 24), '\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[K\n\x1b[J');
  assert.equal(screen('a\nb\nc\n', 3).split('\n').length, 3);
});

for (const [command, nothingThere] of [
  [['show', 'culvert-none'], /culvert-none/],
  // Links of this machine, if it has any.
  [['status'], /no link is running|^ {2}gateway /m],
  [['machines', 'ls', '--state', join(tmpdir(), 'culvert-no-such-state')], /no gateway|not run/],
] as const)
  test(`watch: culvert ${command[0]} --watch says what there is, or is not, and asks again`, async () => {
    const child = spawn(process.execPath, [CULVERT, ...command, '--watch', '0.1'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const seen: string[] = [];
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      seen.push(chunk as string);
      if (seen.length === 2) break;
    }
    child.kill();
    for (const text of seen) assert.match(text, nothingThere);
  });

test('watch: seconds that make no sense are a usage error', (t) => {
  const state = mkdtempSync(join(tmpdir(), 'culvert-watch-'));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  for (const command of [['show'], ['status'], ['machines', 'ls', '--state', state]]) {
    const { status, stderr } = spawnSync(process.execPath, [CULVERT, ...command, '--watch', '0'], {
      encoding: 'utf8',
    });
    assert.deepEqual([status, stderr], [2, 'culvert: --watch "0": expected seconds, 0.1 to 3600\n']);
  }
});
