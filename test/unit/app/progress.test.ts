import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { progressBar } from '../../../src/app/progress.ts';

const CULVERT = fileURLToPath(new URL('../../../../bin/culvert', import.meta.url));

function bar(isTTY: boolean, env: Record<string, string> = {}, columns = 60) {
  let text = '';
  const write = (more: string | Uint8Array) => {
    text += String(more);
    return true;
  };
  return { progress: progressBar({ isTTY, write, columns }, env), text: () => text };
}

test('progress: a bar is rewritten on one line, cut to the terminal, and taken away', () => {
  const { progress, text } = bar(true, {}, 38);
  progress.show('one', 0, 4);
  progress.show('two', 1, 4);
  progress.show('a label longer than the line', 4, 4);
  progress.clear();
  assert.deepEqual(text().split('\r\x1b[K'), [
    '',
    `[${' '.repeat(20)}]   0 %  one`,
    `[${'='.repeat(5)}${' '.repeat(15)}]  25 %  two`,
    `[${'='.repeat(20)}] 100 %  a label`,
    '',
  ]);
});

test('progress: where there is no terminal, or a dumb one, nothing is written', () => {
  for (const { progress, text } of [bar(false), bar(true, { TERM: 'dumb' })]) {
    progress.show('one', 1, 2);
    progress.clear();
    assert.equal(text(), '');
  }
});

test('progress: doctor says nothing on a standard error that is no terminal', () => {
  const { stderr } = spawnSync(process.execPath, [CULVERT, 'doctor'], { encoding: 'utf8' });
  assert.equal(stderr, '');
});
