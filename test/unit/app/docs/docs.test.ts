import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { spawnSync } from 'node:child_process';
import { allCommands } from '../../../../src/app/cli.ts';
import { type CommandSpec, flatten, formatUsage, specOf } from '../../../../src/app/docs/command-spec.ts';
import { generatedDocs } from '../../../../src/app/docs/generated.ts';
import { requirePrograms } from '../../../kit/require-programs.ts';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));
let program: CommandSpec;

before(async () => {
  program = specOf(await allCommands());
});

test('docs: manual pages and reference are what the table of commands says (npm run docs)', async () => {
  for (const [name, text] of await generatedDocs())
    assert.equal(readFileSync(`${root}${name}`, 'utf8'), text, `${name} is stale; run "npm run docs"`);
});

test('docs: every command and flag is in the manual page and in the reference', async () => {
  const pages = await generatedDocs();
  const manual = (pages.get('docs/man/culvert.1') ?? '').replaceAll(String.raw`\-`, '-');
  const reference = pages.get('docs/reference/cli.md') ?? '';
  const commands = flatten(program).filter(({ path }) => path !== '');
  assert.ok(commands.length >= 12);
  for (const spec of commands) {
    assert.ok(manual.includes(`.SS ${formatUsage(spec)}`), spec.path);
    assert.ok(reference.includes(`## culvert ${spec.path}\n`), spec.path);
    for (const { long } of spec.options) {
      assert.ok(long === '--help' || manual.includes(long), `${spec.path} ${long}`);
      assert.ok(reference.includes(long), `${spec.path} ${long}`);
    }
  }
});

test(
  'docs: groff finds nothing wrong with the manual pages',
  { skip: requirePrograms('groff') },
  async () => {
    for (const [name, input] of await generatedDocs()) {
      if (!name.endsWith('.1')) continue;
      const { stderr } = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-z'], { input, encoding: 'utf8' });
      assert.equal(stderr, '', name);
    }
  },
);

test('docs: an optional value of a flag is shown as such', () => {
  const reference = readFileSync(`${root}docs/reference/cli.md`, 'utf8');
  assert.ok(reference.includes('| `-w, --watch [seconds]` |'));
});
