/** Completions for bash, zsh and fish, made from the table of commands. */
import { type CommandSpec, type OptionSpec, flatten } from './command-spec.ts';
import { type ValueKind, valueKind } from './value-kinds.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

const HELP_SUMMARY = 'print help for a command';

export function completions(shell: Shell, program: CommandSpec): string {
  switch (shell) {
    case 'bash':
      return bash(program);
    case 'zsh':
      return zsh(program);
    case 'fish':
      return fish(program);
    default:
      return shell satisfies never;
  }
}

// Interfaces are their sockets: a look into a directory, where a call of culvert would take a tenth of a second.
const INTERFACES = `{ cd /var/run/wireguard 2>/dev/null && printf '%s\\n' *.sock | sed -n 's/\\.sock$//p' | grep -v '^\\*$'; }`;
const CONFS = `{ cd /etc/wireguard 2>/dev/null && printf '%s\\n' *.conf | sed -n 's/\\.conf$//p' | grep -v '^\\*$'; }`;

/** `help` is a command of commander that is not in its list. */
function wordsOf({ path, commands }: CommandSpec): string[] {
  return [...commands.map(({ path: whole }) => lastWord(whole)), ...(path === '' ? ['help'] : [])];
}

function lastWord(path: string): string {
  return path.slice(path.lastIndexOf(' ') + 1);
}

function flagsOf({ options }: CommandSpec): string[] {
  return options.flatMap(({ long, short }) => (short === undefined ? [long] : [short, long]));
}

// bash

function bash(program: CommandSpec): string {
  const all = flatten(program);
  const paths = all.filter(({ path }) => path !== '').map(({ path }) => `'${path}'`);
  const cases = all.map((spec) => {
    const values = spec.options
      // What comes behind an option with an optional value may as well be the next argument.
      .filter(
        (option): option is OptionSpec & { value: string } =>
          option.value !== undefined && !option.isValueOptional,
      )
      .map(({ long, short, value }) => {
        const names = short === undefined ? long : `${short}|${long}`;
        return `        ${names}) ${bashReply(valueKind(value))}; return ;;`;
      });
    const words = spec.commands.length > 0 ? wordsOf(spec) : [];
    const offers = spec.arguments.map(
      ({ name, isVariadic }, i) => `${isVariadic ? '*' : i}) ${bashReply(valueKind(name))} ;;`,
    );
    const offer = offers.length === 0 ? ':' : `case $position in ${offers.join(' ')} esac`;
    return [
      `    '${spec.path}')`,
      ...(values.length === 0 ? [] : ['      case $prev in', ...values, '      esac']),
      `      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '${flagsOf(spec).join(' ')}' -- "$cur"))`,
      `      ${words.length === 0 ? `else ${offer}` : `else COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$cur"))`}`,
      '      fi ;;',
    ].join('\n');
  });
  return `# bash completion for culvert, made by "culvert completions bash"

_culvert() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} path='' word position=0
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $path == '' && $word == help ]] && continue
    case "\${path:+$path }$word" in
      ${paths.join(' | ')}) path="\${path:+$path }$word" ;;
      *) [[ $word == -* ]] || ((position++)) ;;
    esac
  done
  case $path in
${cases.join('\n')}
  esac
}

complete -F _culvert culvert
`;
}

function bashReply(kind: ValueKind): string {
  switch (kind.kind) {
    case 'words':
      return `COMPREPLY=($(compgen -W '${kind.words.join(' ')}' -- "$cur"))`;
    case 'interfaces':
      return `COMPREPLY=($(compgen -W "$(${INTERFACES})" -- "$cur"))`;
    case 'confs':
      return `COMPREPLY=($(compgen -W "$(${CONFS})" -- "$cur") $(compgen -f -X '!*.conf' -- "$cur"))`;
    case 'files':
      return 'COMPREPLY=($(compgen -f -- "$cur"))';
    case 'nothing':
      return ':';
    default:
      return kind satisfies never;
  }
}

// zsh

function zsh(program: CommandSpec): string {
  const functions = flatten(program).map((spec) => {
    const options = spec.options.map(zshOption);
    const args = spec.arguments.map(({ name, description, isRequired, isVariadic }, i) => {
      const position = isVariadic ? '*' : `${i + 1}`;
      return quote(
        `${position}:${isRequired ? '' : ':'}${zshText(description || name)}:${zshAction(valueKind(name))}`,
      );
    });
    const subcommands = spec.commands.length > 0 ? [quote('1: :->command'), quote('*:: :->rest')] : [];
    const lines = [...options, ...subcommands, ...args].map((line) => ` \\\n    ${line}`).join('');
    const described = [
      ...spec.commands.map(({ path, summary }) => quote(`${lastWord(path)}:${zshText(summary)}`)),
      ...(spec.path === '' ? [quote(`help:${HELP_SUMMARY}`)] : []),
    ];
    const dispatch =
      spec.commands.length === 0
        ? ''
        : `
  case $state in
    command) _describe command commands ;;
    rest) (( $+functions[${zshName(spec.path)}_$words[1]] )) && ${zshName(spec.path)}_$words[1] ;;
  esac`;
    return `${zshName(spec.path)}() {
  local context state state_descr line
  typeset -A opt_args
${described.length === 0 || spec.commands.length === 0 ? '' : `  local -a commands=(\n    ${described.join('\n    ')}\n  )\n`}  _arguments -C -s${lines}${dispatch}
}`;
  });
  return `#compdef culvert
# zsh completion for culvert, made by "culvert completions zsh"

${functions.join('\n\n')}

_culvert_help() {
  _arguments '1:command:(${program.commands.map(({ path }) => path).join(' ')})'
}

if [ "$funcstack[1]" = _culvert ]; then _culvert "$@"; else compdef _culvert culvert; fi
`;
}

function zshName(path: string): string {
  return path === '' ? '_culvert' : `_culvert_${path.replaceAll(' ', '_')}`;
}

function zshOption({ long, short, value, isValueOptional, description }: OptionSpec): string {
  const colon = isValueOptional ? '::' : ':';
  const rest = `[${zshText(description)}]${value === undefined ? '' : `${colon}${zshText(value)}:${zshAction(valueKind(value))}`}`;
  return short === undefined
    ? quote(`${long}${rest}`)
    : `'(${short} ${long})'{${short},${long}}${quote(rest)}`;
}

function zshAction(kind: ValueKind): string {
  switch (kind.kind) {
    case 'words':
      return `(${kind.words.join(' ')})`;
    case 'interfaces':
      return `($(${INTERFACES}))`;
    case 'confs':
      return '_files -g "*.conf"';
    case 'files':
      return '_files';
    case 'nothing':
      return ' ';
    default:
      return kind satisfies never;
  }
}

/** Brackets and colons have a meaning in specifications of _arguments. */
function zshText(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, (character) => `\\${character}`);
}

// fish

function fish(program: CommandSpec): string {
  const lines = flatten(program).flatMap((spec) => {
    const condition = fishCondition(spec);
    const offer = (word: string, summary: string) =>
      `complete -c culvert -n ${condition} -a ${word} -d ${quote(summary)}`;
    const subcommands = spec.commands.map(({ path, summary }) => offer(lastWord(path), summary));
    const options = spec.options.map(({ long, short, value, isValueOptional, description }) => {
      const names = `-l ${long.slice(2)}${short === undefined ? '' : ` -s ${short.slice(1)}`}`;
      const takes = value === undefined || isValueOptional ? '' : fishValue(valueKind(value));
      return `complete -c culvert -n ${condition} ${names}${takes} -d ${quote(description)}`;
    });
    const args = spec.arguments
      .map(({ name }) => fishArguments(valueKind(name)))
      .filter((text) => text !== '')
      .map((text) => `complete -c culvert -n ${condition}${text}`);
    return [...subcommands, ...(spec.path === '' ? [offer('help', HELP_SUMMARY)] : []), ...options, ...args];
  });
  const names = program.commands.map(({ path }) => path).join(' ');
  return `# fish completion for culvert, made by "culvert completions fish"

# Whether the words so far, without flags, begin with these.
function __culvert_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l plain (string match -v -- '-*' $words)
    set -l depth (count $argv)
    test (count $plain) -ge $depth; and test "$plain[1..$depth]" = "$argv"
end

complete -c culvert -f
${lines.join('\n')}
complete -c culvert -n '__culvert_at help' -a '${names}'
`;
}

/** Where the words so far are those of the command and of none below it. */
function fishCondition(spec: CommandSpec): string {
  if (spec.path === '') return '__fish_use_subcommand';
  const below = spec.commands.map(({ path }) => lastWord(path));
  const none = below.length === 0 ? '' : `; and not __fish_seen_subcommand_from ${below.join(' ')}`;
  return quote(`__culvert_at ${spec.path}${none}`);
}

function fishValue(kind: ValueKind): string {
  return `${kind.kind === 'files' ? ' -r' : ' -x'}${fishArguments(kind)}`;
}

function fishArguments(kind: ValueKind): string {
  switch (kind.kind) {
    case 'words':
      return ` -a ${quote(kind.words.join(' '))}`;
    case 'interfaces':
      return ` -a ${quote(`(begin; ls /var/run/wireguard 2>/dev/null | string replace -rf '\\.sock$' ''; end)`)}`;
    case 'confs':
      return ` -a ${quote(`(begin; ls /etc/wireguard 2>/dev/null | string replace -rf '\\.conf$' ''; __fish_complete_suffix .conf; end)`)}`;
    case 'files':
      return ' -F';
    case 'nothing':
      return '';
    default:
      return kind satisfies never;
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
