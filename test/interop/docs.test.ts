/**
 * What README, guides and help texts tell people to type. Every call of culvert is held against the table of commands;
 * the blocks of README and guides are run (test/kit/doc-blocks.ts has what their comments mean).
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { allCommands } from '../../src/app/cli.ts';
import { parseGoArguments } from '../../src/app/culvert-go.ts';
import { readAgentFlags } from '../../src/app/gateway/agent-flags.ts';
import { type CommandSpec, flatten, specOf } from '../../src/app/docs/command-spec.ts';
import { type DocBlock, docBlocks } from '../kit/doc-blocks.ts';
import { runBlocks } from '../kit/doc-shell.ts';
import { EVENT_SINK_PORT, LOG_RECEIVER_PORT } from '../../src/link/constants.ts';
import { joinDocuments, kernelArguments } from '../../src/link/join-config.ts';
import { requireRoot } from '../kit/netns.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const skip = requireRoot({
  programs: [
    'unshare',
    'nsenter',
    'mount',
    'bash',
    'wg',
    'wg-quick',
    'ss',
    'ping',
    'nginx',
    'tcpdump',
    'tinyproxy',
  ],
  tun: true,
});

const pages = [
  'README.md',
  ...['docs', 'docs/guides', 'docs/reference'].flatMap((folder) =>
    readdirSync(join(root, folder)).map((name) => join(folder, name)),
  ),
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

const blocksOf = (page: string): DocBlock[] => docBlocks(readFileSync(join(root, page), 'utf8'));

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
  // That one has the flags of another program, which commander does not know.
  if (words[0] === 'siderolink-agent' && !words.includes('--help')) {
    readAgentFlags(words.slice(1));
    return;
  }
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
    for (const { text } of blocksOf(page).filter(({ language }) => language === 'sh')) {
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

test('docs: the guide to Talos has what a gateway prints', () => {
  const config = {
    apiUrl: 'https://gateway.example',
    joinToken: 'TOKEN',
    wantsTunnel: false,
    eventSinkPort: EVENT_SINK_PORT,
    logReceiverPort: LOG_RECEIVER_PORT,
  };
  const blocks = blocksOf('docs/guides/talos.md');
  const textOf = (language: string, file?: string) =>
    blocks.find((one) => one.language === language && one.file === file)?.text ?? '';
  const wanted = kernelArguments(config);
  assert.deepEqual(textOf('text').trimEnd().split('\n'), wanted);
  const schematic = parse(textOf('yaml', 'schematic.yaml')) as {
    customization: { extraKernelArgs: unknown };
  };
  assert.deepEqual(schematic.customization.extraKernelArgs, wanted);
  assert.equal(textOf('yaml', 'siderolink.yaml'), joinDocuments(config));
});

/** Pages that promise: what stands here can be typed, and works. */
const promising = pages.filter((page) => page === 'README.md' || page.startsWith('docs/guides/'));

test('docs: every guide is in the index, and every command block of README and guides is run, or says why not', () => {
  const index = readFileSync(join(root, 'docs/README.md'), 'utf8');
  for (const page of pages.filter((one) => one !== 'README.md' && one !== 'docs/README.md'))
    assert.ok(index.includes(`](${page.slice('docs/'.length)})`), `docs/README.md lists ${page}`);
  for (const page of promising)
    for (const { language, excuse, line } of blocksOf(page)) {
      assert.notEqual(language, '', `${page}:${line} says what language it is`);
      if (language === 'sh')
        assert.ok(excuse === undefined || excuse.length > 20, `${page}:${line}: ${excuse}`);
    }
});

for (const page of promising)
  test(`docs: what ${page} says to type works, and leaves nothing running`, { skip, timeout: 300_000 }, () =>
    runBlocks(
      { root, page },
      blocksOf(page).filter(({ excuse }) => excuse === undefined),
    ),
  );
