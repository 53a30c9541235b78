import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPairs, formatTable, printable } from '../../../src/app/table.ts';

test('columns are aligned, numbers on the right, nothing trails', () => {
  const text = formatTable(
    [
      { title: 'NAME', text: ([name]: readonly [string, number]) => name },
      { title: 'COUNT', text: ([, count]) => String(count), isRight: true },
      { title: 'NOTE', text: () => '' },
    ],
    [
      ['a', 1],
      ['longer', 1000],
    ],
  );
  assert.equal(text, 'NAME    COUNT  NOTE\na           1\nlonger   1000\n');
});

test('what machines say cannot move the cursor', () => {
  assert.equal(printable('a\x1b[2Jb\u2028\n'), 'a\\u001b[2Jb\\u2028\\u000a');
  assert.equal(
    formatPairs([
      ['a', '\r'],
      ['long', 'x'],
    ]),
    'a     \\u000d\nlong  x\n',
  );
});
