/** Manual pages in man(7), made from the table of commands. */
import { type CommandSpec, flatten, formatArgument, formatOption, formatUsage } from './command-spec.ts';

/** culvert(1). */
export function culvertPage(program: CommandSpec, version: string): string {
  const commands = flatten(program).filter(({ path }) => path !== '');
  return page('CULVERT', version, [
    section('NAME', [`culvert ${DASH} ${escape(lowerFirst(program.summary))}`]),
    section('SYNOPSIS', ['.B culvert', '.I COMMAND', escape('[options] [arguments]')]),
    section('DESCRIPTION', [
      escape(
        'A WireGuard device that runs as a process, for Linux systems whose kernel has none, with the tools around it. ' +
          'wg(8) and wg-quick(8) drive it as they drive the kernel.',
      ),
    ]),
    section(
      'OPTIONS',
      program.options.flatMap((option) => item(formatOption(option), describeOption(option))),
    ),
    section('COMMANDS', commands.flatMap(command)),
    section('EXIT STATUS', [
      ...item('0', 'It did what was asked.'),
      ...item('1', 'It failed.'),
      ...item('2', 'It was asked wrongly: flags, arguments or a configuration file.'),
    ]),
    section('ENVIRONMENT', [
      ...environment(program),
      ...item('NO_COLOR', 'No colours. WG_COLOR_MODE (always, never, auto) goes before it.'),
      ...item('WG_LOG_FILE', 'Append log lines to this file.'),
      ...item('CULVERT_DEBUG', 'Print the stack of errors.'),
    ]),
    section('FILES', [
      ...item('/etc/wireguard/NAME.conf', 'Configuration of the interface NAME, as for wg-quick(8).'),
      ...item('/var/run/wireguard/NAME.sock', 'The UAPI socket of the interface NAME.'),
    ]),
    section('SEE ALSO', ['.BR culvert-go (1),', '.BR wg (8),', '.BR wg-quick (8)']),
  ]);
}

/** culvert-go(1). `usage` is what its --help prints. */
export function culvertGoPage(usage: string, version: string): string {
  const [synopsis = '', ...rest] = usage.split('\n\n');
  const [description = '', environmentText = ''] = rest.join('\n\n').split(/\n\nEnvironment:\n/);
  const variables = Array.from(
    environmentText.matchAll(/^ {2}(\S.*?) {2,}(.*)$/gm),
    ([, name = '', text = '']) => item(name, text),
  );
  return page('CULVERT-GO', version, [
    section('NAME', [`culvert-go ${DASH} userspace WireGuard device, stand-in for wireguard-go`]),
    section('SYNOPSIS', [
      '.nf',
      ...synopsis
        .replace(/^Usage: /, '')
        .split('\n')
        .map((line) => escape(line.trim())),
      '.fi',
    ]),
    section('DESCRIPTION', ['.nf', ...description.split('\n').map(escape), '.fi']),
    section('ENVIRONMENT', variables.flat()),
    section('SEE ALSO', ['.BR culvert (1),', '.BR wg (8),', '.BR wg-quick (8)']),
  ]);
}

const DASH = String.raw`\-`;

function page(name: string, version: string, sections: readonly string[]): string {
  const head = [
    String.raw`.\" Made from the table of commands by "npm run docs"; do not edit.`,
    `.TH ${name.replaceAll('-', DASH)} 1 "" "culvert ${version}" "User Commands"`,
  ];
  return `${head.join('\n')}\n${sections.join('')}`;
}

function section(title: string, lines: readonly string[]): string {
  return `.SH ${title}\n${lines.join('\n')}\n`;
}

function item(name: string, text: string): string[] {
  return ['.TP', `.B ${escape(name)}`, escape(text)];
}

function command(spec: CommandSpec): string[] {
  const { arguments: args, options, notes, summary } = spec;
  return [
    `.SS ${escape(formatUsage(spec))}`,
    escape(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`),
    ...args.flatMap((argument) => item(formatArgument(argument), argument.description)),
    ...options
      .filter(({ long }) => long !== '--help')
      .flatMap((option) => item(formatOption(option), describeOption(option))),
    ...(notes === '' ? [] : ['.PP', '.nf', '.RS', ...notes.split('\n').map(escape), '.RE', '.fi']),
  ];
}

function describeOption({ description, defaultValue, env }: CommandSpec['options'][number]): string {
  const more = [
    ...(defaultValue === undefined ? [] : [`default: ${defaultValue}`]),
    ...(env === undefined ? [] : [`environment: ${env}`]),
  ];
  return more.length === 0 ? description : `${description} (${more.join('; ')})`;
}

function environment(program: CommandSpec): string[] {
  const twins = new Map(
    flatten(program).flatMap(({ path, options }) =>
      options.flatMap(({ env, long }) =>
        env === undefined ? [] : ([[env, `${long} of culvert ${path}`]] as const),
      ),
    ),
  );
  return Array.from(twins, ([name, text]) => item(name, `Twin of ${text}.`)).flat();
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

/** A backslash is an escape, a hyphen would become a dash, a dot or quote at the start of a line a request. */
function escape(text: string): string {
  return text
    .replaceAll('\\', String.raw`\e`)
    .replaceAll('-', DASH)
    .replaceAll(/^(?=[.'])/gm, String.raw`\&`);
}
