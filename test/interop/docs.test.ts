/**
 * What README, guides and help texts tell people to type. Every call of culvert is held against the table of commands;
 * blocks marked `sh run` are run, in the order of their file, in a network namespace with /run and /etc/wireguard of their own.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { allCommands } from '../../src/app/cli.ts';
import { parseGoArguments } from '../../src/app/culvert-go.ts';
import { type CommandSpec, flatten, specOf } from '../../src/app/docs/command-spec.ts';
import { requireRoot } from '../kit/netns.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const skip = requireRoot({ programs: ['unshare', 'mount', 'bash', 'wg', 'setsid'], tun: true });

const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs')).map((name) => join('docs', name)),
  ...readdirSync(join(root, 'docs/guides')).map((name) => join('docs/guides', name)),
].filter((name) => name.endsWith('.md'));

let commands: Map<string, CommandSpec>;
let scripts: Set<string>;

before(async () => {
  commands = new Map(flatten(specOf(await allCommands())).map((spec) => [spec.path, spec]));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  scripts = new Set(Object.keys(manifest.scripts));
});

interface Block {
  readonly isRun: boolean;
  readonly text: string;
}

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(root, page), 'utf8');
  return Array.from(text.matchAll(/^```sh( run)?\n(.*?)^```$/gms), ([, run, body = '']) => ({
    isRun: run !== undefined,
    text: body,
  }));
}

/** Simple commands of a script as lists of words: no comments, here-documents, variables or sudo. */
function commandsOf(script: string): string[][] {
  return script
    .replaceAll(/\\\n/g, ' ')
    .replaceAll(/<<(\w+)\n.*?^\1$/gms, '')
    .split('\n')
    .flatMap((line) => {
      const words = line.match(/'[^']*'|"[^"]*"|[|&;]+|[^\s|&;]+/g) ?? [];
      const end = words.findIndex((word) => word.startsWith('#'));
      return splitAt(end < 0 ? words : words.slice(0, end), (word) => /^[|&;]+$/.test(word));
    })
    .map((words) => words.slice(words.findIndex((word) => !/^(?:\w+=.*|sudo|\(|\$)$/.test(word))))
    .filter((words) => words.length > 0);
}

function splitAt(words: readonly string[], isEnd: (word: string) => boolean): string[][] {
  const parts: string[][] = [[]];
  for (const word of words) {
    if (isEnd(word)) parts.push([]);
    else parts.at(-1)?.push(word);
  }
  return parts;
}

/** Throws when no such command or flag exists. Arguments are not looked at. */
function checkCall(words: readonly string[], place: string): void {
  let path = '';
  let spec = commands.get('') as CommandSpec;
  const rest = [...words];
  for (let word = rest[0]; word !== undefined; word = rest[0]) {
    const below = commands.get(path === '' ? word : `${path} ${word}`);
    if (!below) break;
    [path, spec] = [below.path, below];
    rest.shift();
  }
  const isKnown = path !== '' || rest.length === 0 || /^(?:-|help$|[A-Z]+$)/.test(rest[0] ?? '');
  assert.ok(isKnown, `${place}: no command ${words.join(' ')}`);
  for (const word of rest) {
    const [flag = ''] = word.split('=');
    if (!/^--?[a-zA-Z]/.test(flag)) continue;
    const hasIt = spec.options.some(({ long, short }) => flag === long || flag === short);
    assert.ok(hasIt, `${place}: culvert ${path} has no ${flag}`);
  }
}

for (const page of pages)
  test(`docs: commands, flags, scripts and files in ${page} exist`, () => {
    for (const { text } of blocksOf(page)) {
      for (const [program = '', ...words] of commandsOf(text)) {
        const name = program.replace(/^.*\//, '');
        if (name === 'culvert')
          checkCall(
            words.filter((word) => !/^[<>]/.test(word)),
            page,
          );
        else if (name === 'culvert-go') parseGoArguments(words);
        else if (name === 'npm') {
          const script = words[0] === 'run' ? words[1] : words[0];
          assert.ok(
            script === undefined || script === 'install' || scripts.has(script),
            `${page}: npm ${script}`,
          );
        }
      }
    }
    const text = readFileSync(join(root, page), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g))
      assert.ok(existsSync(join(root, dirname(page), target)), `${page} points to ${target}`);
  });

test('docs: the examples in help texts use flags that exist', () => {
  // siderolink-agent has the flags of another program, which commander does not know.
  for (const { path, notes } of [...commands.values()].filter((one) => one.path !== 'siderolink-agent'))
    for (const line of notes.split('\n').filter((one) => /^ {2}\S/.test(one))) {
      // A column of explanations begins after two spaces.
      const [call = ''] = line.trim().split(/\s{2,}/);
      for (const [program, ...words] of commandsOf(call))
        if (program === 'culvert') checkCall(words, `culvert ${path} --help`);
    }
});

const runnable = pages.filter((page) => blocksOf(page).some(({ isRun }) => isRun));

test('docs: every guide about devices has blocks that are run', () => {
  for (const name of ['where-the-kernel-has-none', 'phones', 'moving-from-wireguard-go', 'troubleshooting'])
    assert.ok(runnable.includes(`docs/guides/${name}.md`), name);
});

for (const page of runnable)
  test(
    `docs: what ${page} says to type works, and leaves nothing running`,
    { skip, timeout: 120_000 },
    () => {
      const script = blocksOf(page)
        .filter(({ isRun }) => isRun)
        .map(({ text }) => text)
        .join('\n');
      const directory = mkdtempSync(join(tmpdir(), 'culvert-docs-'));
      try {
        // A process namespace ends with its first process: what the page forgot to stop is gone, and is noticed before.
        const setUp = `
        mount -t tmpfs none /run && mkdir -p /run/wireguard /etc/wireguard && mount -t tmpfs none /etc/wireguard
        ip link set lo up
        cd "$1" && set -eu
        ${script}
        left=$(ls /run/wireguard)
        [ -z "$left" ] || { echo "left running: $left" >&2; exit 1; }`;
        const { status, stdout, stderr } = spawnSync(
          'unshare',
          [
            '--mount',
            '--net',
            '--pid',
            '--fork',
            '--mount-proc',
            '--kill-child',
            'bash',
            '-c',
            setUp,
            'bash',
            directory,
          ],
          {
            encoding: 'utf8',
            env: {
              ...process.env,
              PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}`,
              HOME: directory,
            },
          },
        );
        assert.equal(status, 0, `${stdout}\n${stderr}`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  );
