/** Completion scripts, in the shells they are for. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { allCommands } from '../../../../src/app/cli.ts';
import { type CommandSpec, flatten, specOf } from '../../../../src/app/docs/command-spec.ts';
import { SHELLS, completions } from '../../../../src/app/docs/completions.ts';
import { completeIn, syntaxErrors } from '../../../kit/complete-in-shell.ts';
import { requirePrograms } from '../../../kit/require-programs.ts';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));
let program: CommandSpec;

before(async () => {
  program = specOf(await allCommands());
});

for (const shell of SHELLS)
  describe(`completions: ${shell}`, { skip: requirePrograms(shell) }, () => {
    /** Sorted, since each shell has an order of its own. */
    const offers = (lines: readonly string[]): Map<string, string[]> => {
      const offered = completeIn(shell, completions(shell, program), lines, root);
      return new Map(Array.from(offered, ([line, words]) => [line, words.toSorted()]));
    };

    test('reads its script without complaint', () => {
      assert.equal(syntaxErrors(shell, completions(shell, program)), '');
    });

    test('offers commands, and the subcommands of each', () => {
      const begun: Readonly<Record<string, readonly string[]>> = {
        'culvert sh': ['show'],
        'culvert comp': ['completions'],
        'culvert machines res': ['reset-token'],
        'culvert token re': ['revoke'],
      };
      const offered = offers([...Object.keys(begun), 'culvert ']);
      for (const [line, words] of Object.entries(begun)) assert.deepEqual(offered.get(line), words, line);
      const all = offered.get('culvert ') ?? [];
      for (const { path } of program.commands) assert.ok(all.includes(path), path);
    });

    test('offers the flags of each command behind it, and no others', () => {
      const commands = flatten(program).filter(
        ({ path, commands: below }) => path !== '' && below.length === 0,
      );
      assert.ok(commands.length > 25);
      const line = ({ path }: CommandSpec) => `culvert ${path} --`;
      const offered = offers(commands.map(line));
      for (const spec of commands) {
        const longs = spec.options.map(({ long }) => long).toSorted();
        const found = (offered.get(line(spec)) ?? []).filter((word) => word.startsWith('--'));
        assert.deepEqual([...new Set(found)], longs, spec.path);
      }
    });

    test('offers values of flags and of arguments by their place', () => {
      const expected: Readonly<Record<string, readonly string[]>> = {
        'culvert up --log-level ': ['debug', 'error', 'info', 'silent', 'warn'],
        'culvert up --log-level d': ['debug'],
        'culvert completions ': ['bash', 'fish', 'zsh'],
        'culvert show wg0 latest': ['latest-handshakes'],
        'culvert bench crypto lane tun': ['tunnel'],
      };
      const offered = offers([...Object.keys(expected), 'culvert check READ', 'culvert help do']);
      for (const [line, words] of Object.entries(expected)) assert.deepEqual(offered.get(line), words, line);
      assert.deepEqual(offered.get('culvert check READ'), ['README.md']);
      assert.deepEqual(offered.get('culvert help do'), ['doctor', 'down']);
    });

    test('an optional value of a flag does not swallow what comes behind it', () => {
      const line = 'culvert show wg0 --watch lat';
      // zsh offers the value's own name instead, which is what it knows to come there.
      if (shell !== 'zsh') assert.ok(offers([line]).get(line)?.includes('latest-handshakes'));
    });
  });
