import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { spawnSync } from 'node:child_process';
import { allCommands } from '../../../../src/app/cli.ts';
import { type CommandSpec, flatten, formatUsage, specOf } from '../../../../src/app/docs/command-spec.ts';
import { SHELLS, completions } from '../../../../src/app/docs/completions.ts';
import { generatedDocs } from '../../../../src/app/docs/generated.ts';
import { requirePrograms } from '../../../kit/require-programs.ts';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'culvert-completions-'));
let program: CommandSpec;

before(async () => {
  program = specOf(await allCommands());
  for (const shell of SHELLS) writeFileSync(join(directory, shell), completions(shell, program));
});

after(() => rmSync(directory, { recursive: true, force: true }));

/** What bash offers for a line, of which the last word is being typed. */
function complete(line: string): string[] {
  const words = line.split(' ');
  const script = `source '${join(directory, 'bash')}'
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length - 1}
_culvert
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], {
    encoding: 'utf8',
    cwd: root,
  });
  assert.deepEqual([status, stderr], [0, '']);
  return stdout.split('\n').filter((word) => word !== '');
}

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

test('completions: bash offers commands, subcommands and the flags of each', () => {
  assert.deepEqual(complete('culvert sh'), ['show']);
  assert.deepEqual(complete('culvert comp'), ['completions']);
  assert.ok(complete('culvert help do').includes('doctor'));
  for (const spec of flatten(program)) {
    const flags = complete(['culvert', spec.path, '--'].filter(Boolean).join(' '));
    const longs = spec.options.map(({ long }) => long);
    assert.deepEqual(
      flags.filter((flag) => flag.startsWith('--')),
      longs,
      spec.path,
    );
    if (spec.commands.length === 0) continue;
    const words = complete(`${['culvert', spec.path].filter(Boolean).join(' ')} `);
    for (const { path } of spec.commands) assert.ok(words.includes(path.split(' ').at(-1) as string), path);
  }
});

test('docs: an optional value of a flag is shown as such, and does not swallow what comes behind it', () => {
  const reference = readFileSync(`${root}docs/reference/cli.md`, 'utf8');
  assert.ok(reference.includes('| `-w, --watch [seconds]` |'));
  assert.ok(complete('culvert show wg0 --watch lat').includes('latest-handshakes'));
});

test('completions: bash offers values of flags and of arguments by their place', () => {
  assert.deepEqual(complete('culvert up --log-level '), ['silent', 'error', 'warn', 'info', 'debug']);
  assert.deepEqual(complete('culvert up --log-level d'), ['debug']);
  assert.deepEqual(complete('culvert completions '), ['bash', 'zsh', 'fish']);
  assert.deepEqual(complete('culvert show wg0 latest'), ['latest-handshakes']);
  assert.deepEqual(complete('culvert bench crypto lane tun'), ['tunnel']);
  assert.ok(complete('culvert check READ').includes('README.md'));
});

for (const shell of SHELLS)
  test(`completions: ${shell} reads its script without complaint`, { skip: requirePrograms(shell) }, () => {
    const { status, stderr } = spawnSync(shell, ['-n', join(directory, shell)], { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, '']);
  });

test('completions: fish offers flags of a command only behind it', { skip: requirePrograms('fish') }, () => {
  const script = `source '${join(directory, 'fish')}'; complete --do-complete 'culvert up --det'; complete --do-complete 'culvert down --det'`;
  const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', script], {
    encoding: 'utf8',
  });
  assert.equal(stderr, '');
  assert.match(stdout, /^--detach\t[^\n]+\n$/);
});
