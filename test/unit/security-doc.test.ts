/** docs/SECURITY.md names a test for every guard: the files and the tests must be there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repositoryRoot } from '../kit/protos.ts';

const root = repositoryRoot();
const rows = [
  ...readFileSync(join(root, 'docs', 'SECURITY.md'), 'utf8').matchAll(
    /^\| ([^|]+) \| [^|]+ \| `([\w/-]+)`: ([^|]+) \|$/gm,
  ),
];

test('docs/SECURITY.md has a row for every known problem', () => {
  assert.ok(rows.length >= 28, `only ${rows.length} rows name a test`);
});

for (const [, problem = '', file = '', name = ''] of rows) {
  test(`the guard against "${problem}" has its test`, () => {
    // Tests that a program text makes of a template have the fixed part of their name in it.
    const text = readFileSync(join(root, 'test', `${file}.test.ts`), 'utf8');
    assert.ok(text.includes(name.trim()), `${file} has no test named "${name}"`);
  });
}
