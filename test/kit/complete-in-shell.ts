/** What a real shell offers when Tab is pressed behind a line, with a completion script of ours loaded. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Shell } from '../../src/app/docs/completions.ts';

/** The words offered behind each of `lines`, without descriptions, in their order. Runs in `cwd`. */
export function completeIn(
  shell: Shell,
  script: string,
  lines: readonly string[],
  cwd: string,
): Map<string, string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-complete-'));
  try {
    const file = join(directory, 'script');
    writeFileSync(file, script);
    const text = OFFERS[shell]({ directory, file, lines, cwd });
    const [, ...parts] = text.split('== ');
    return new Map(
      parts.map((part) => {
        const [line = '', ...words] = part.split('\n');
        return [line, words.filter((word) => word !== '')];
      }),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What the shell has to complain about when it reads the script without running it; empty for nothing. */
export function syntaxErrors(shell: Shell, script: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-complete-'));
  try {
    const file = join(directory, 'script');
    writeFileSync(file, script);
    const { status, stderr } = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    return status === 0 ? stderr : `${shell} ended with ${status}: ${stderr}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Request {
  readonly directory: string;
  readonly file: string;
  readonly lines: readonly string[];
  readonly cwd: string;
}

/** Each answers `== LINE` and the words below it, a line each. */
const OFFERS: Readonly<Record<Shell, (request: Request) => string>> = { bash, zsh, fish };

function run(shell: Shell, args: readonly string[], cwd: string, env: Record<string, string> = {}): string {
  const { status, stdout, stderr } = spawnSync(shell, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  if (status !== 0 || stderr !== '') throw new Error(`${shell} ended with ${status}: ${stderr}`);
  return stdout;
}

function bash({ file, lines, cwd }: Request): string {
  const asks = lines.map((line) => {
    const words = line.split(' ');
    return `COMP_WORDS=(${words.map(quote).join(' ')}) COMP_CWORD=${words.length - 1} COMPREPLY=()
_culvert
printf '%s\\n' ${quote(`== ${line}`)} "\${COMPREPLY[@]}"`;
  });
  return run('bash', ['--norc', '-c', `source ${quote(file)}\n${asks.join('\n')}`], cwd);
}

function fish({ file, lines, cwd }: Request): string {
  const asks = lines.map(
    (line) => `echo ${quote(`== ${line}`)}; complete --do-complete ${quote(line)} | string split -f 1 \\t`,
  );
  return run('fish', ['--no-config', '-c', `source ${quote(file)}\n${asks.join('\n')}\ntrue`], cwd);
}

/** zsh completes only where somebody types: in a terminal, whose line editor is told to press Tab behind each line. */
const ZSH_TYPIST = `
autoload -Uz compinit && compinit -u -D
source $CULVERT_SCRIPT
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
  local -a offered
  builtin compadd -A offered "$@"
  print -rl -- $offered >> $CULVERT_OUT
}
press-tab() {
  local line
  for line in "\${(@f)$(<$CULVERT_LINES)}"; do
    print -r -- "== $line" >> $CULVERT_OUT
    BUFFER=$line CURSOR=$#line
    zle complete-word
  done
  exit
}
zle -N press-tab
bindkey '^T' press-tab
print ready
`;

const ZSH_TERMINAL = `
zmodload zsh/zpty
zpty shell "zsh -f -i"
zpty -w shell "source $CULVERT_TYPIST"
zpty -r -m shell seen '*ready*'
zpty -w -n shell $'\\x14'
while zpty -r shell seen; do :; done
`;

function zsh({ directory, file, lines, cwd }: Request): string {
  const place = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const out = place('out', '');
  run('zsh', ['-f', '-c', ZSH_TERMINAL], cwd, {
    CULVERT_SCRIPT: file,
    CULVERT_LINES: place('lines', lines.join('\n')),
    CULVERT_TYPIST: place('typist', ZSH_TYPIST),
    CULVERT_OUT: out,
  });
  return readFileSync(out, 'utf8');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
