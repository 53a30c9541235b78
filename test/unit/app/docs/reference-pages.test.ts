/** Pages of docs/reference that are written by hand, against the source. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TUNING_VARIABLES } from '../../../../src/app/tuning.ts';
import { KEYS } from '../../../../src/app/wg-conf-keys.ts';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));

/** Names in the first cells of the tables of a page, or of one of its sections. */
function listed(page: string, section?: string): string[] {
  const text = readFileSync(join(root, 'docs/reference', page), 'utf8');
  const part = section === undefined ? text : (text.split(`\n## ${section}\n`)[1] ?? '').split('\n## ')[0];
  return Array.from((part ?? '').matchAll(/^\| (`[^|]*) \|/gm), ([, cell = '']) => cell)
    .flatMap((cell) => Array.from(cell.matchAll(/`([^`]+)`/g), ([, name = '']) => name))
    .toSorted();
}

test('docs: wg-conf.md lists every key of each section, and no others', () => {
  for (const section of ['Interface', 'Peer']) {
    const names = [...KEYS.values()].filter((key) => key.section === section).map(({ name }) => name);
    assert.deepEqual(listed('wg-conf.md', `[${section}]`), names.toSorted(), section);
  }
});

test('docs: environment.md lists every variable that the source reads, and the values of those that choose', () => {
  const source = join(root, 'src');
  const read = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => [
      ...readFileSync(join(source, name), 'utf8').matchAll(
        /\benv(?:ironment)?\['([A-Z_]+)'\]|\.env\('([A-Z_]+)'\)|'((?:CULVERT|WG)_[A-Z_]+)'|^ {2}(CULVERT_[A-Z_]+):/gm,
      ),
    ])
    .map((match) => match.slice(1).find((name) => name !== undefined) as string);
  const here = listed('environment.md');
  assert.deepEqual(
    here.filter((name) => !read.includes(name)),
    [],
  );
  const settings = readFileSync(join(root, 'docs/reference/config.md'), 'utf8');
  for (const name of read) assert.ok(here.includes(name) || settings.includes(`\`${name}\``), name);
  const text = readFileSync(join(root, 'docs/reference/environment.md'), 'utf8');
  for (const [variable, values] of Object.entries(TUNING_VARIABLES)) {
    const row = text.split('\n').find((line) => line.includes(`\`${variable}\``)) ?? '';
    for (const value of values) assert.ok(row.includes(`\`${value}\``), `${variable} ${value}`);
  }
});
