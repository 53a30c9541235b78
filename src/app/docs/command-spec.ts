/** The table of commands as plain data, for completions, the manual page and the reference. */
import type { Argument, Command, Option } from 'commander';

export interface CommandSpec {
  /** Words behind the program: `machines ls`; empty for the program itself. */
  readonly path: string;
  readonly summary: string;
  readonly arguments: readonly ArgumentSpec[];
  readonly options: readonly OptionSpec[];
  /** What stands below the options in the help: examples, environment. */
  readonly notes: string;
  readonly commands: readonly CommandSpec[];
}

export interface ArgumentSpec {
  readonly name: string;
  readonly description: string;
  readonly isRequired: boolean;
  readonly isVariadic: boolean;
}

export interface OptionSpec {
  /** `--detach`. */
  readonly long: string;
  /** `-d`; absent when there is none. */
  readonly short?: string;
  /** Name of its value, `address`; absent for a switch. */
  readonly value?: string;
  /** The value may be left out: `--watch [seconds]`. */
  readonly isValueOptional: boolean;
  readonly description: string;
  /** Its twin in the environment. */
  readonly env?: string;
  readonly defaultValue?: string;
}

export function specOf(program: Command): CommandSpec {
  return describe(program, '');
}

/** The command and all below it, in order. */
export function flatten(spec: CommandSpec): readonly CommandSpec[] {
  return [spec, ...spec.commands.flatMap(flatten)];
}

/** `--metrics <address>`, `-d, --detach`. */
export function formatOption({ long, short, value, isValueOptional }: OptionSpec): string {
  const placeholder = value === undefined ? '' : isValueOptional ? ` [${value}]` : ` <${value}>`;
  return `${short === undefined ? '' : `${short}, `}${long}${placeholder}`;
}

/** `<file>`, `[what...]`. */
export function formatArgument({ name, isRequired, isVariadic }: ArgumentSpec): string {
  const text = `${name}${isVariadic ? '...' : ''}`;
  return isRequired ? `<${text}>` : `[${text}]`;
}

/** `culvert up [options] <file|interface>`. */
export function formatUsage({ path, commands, arguments: args }: CommandSpec): string {
  const rest = commands.length > 0 ? ['COMMAND'] : [];
  return ['culvert', path, ...rest, '[options]', ...args.map(formatArgument)].filter(Boolean).join(' ');
}

function describe(command: Command, path: string): CommandSpec {
  const prefix = path === '' ? '' : `${path} `;
  const help = command.createHelp();
  return {
    path,
    summary: command.description(),
    arguments: command.registeredArguments.map(describeArgument),
    // With --help and --version, without those that are hidden.
    options: help.visibleOptions(command).map(describeOption),
    notes: notesOf(command),
    commands: command.commands.map((one) => describe(one, `${prefix}${one.name()}`)),
  };
}

function describeArgument(argument: Argument): ArgumentSpec {
  return {
    name: argument.name(),
    description: argument.description,
    isRequired: argument.required,
    isVariadic: argument.variadic,
  };
}

function describeOption(option: Option): OptionSpec {
  // The name may have brackets of its own: `<[address]:port>`.
  const value = / (?:<(.+)>|\[(.+)\])$/
    .exec(option.flags)
    ?.slice(1)
    .find((name) => name !== undefined);
  const defaultValue: unknown = option.defaultValue;
  return {
    long: option.long ?? option.flags,
    ...(option.short === undefined ? {} : { short: option.short }),
    ...(value === undefined ? {} : { value }),
    // Commander takes brackets anywhere for "optional"; required goes first there, too.
    isValueOptional: option.optional && !option.required,
    description: option.description,
    ...(option.envVar === undefined ? {} : { env: option.envVar }),
    ...(typeof defaultValue === 'string' && defaultValue !== '' ? { defaultValue } : {}),
  };
}

/** Commander gives texts added with addHelpText to nobody but its output. */
function notesOf(command: Command): string {
  let text = '';
  const before = command.configureOutput();
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  command.configureOutput(before);
  return text.slice(command.helpInformation().length).trim();
}
