/**
 * The settings of a command, each described once: its flag, its key in a YAML document, its twin in the environment, its
 * default. Flags and help, the reading of files, examples/config.yaml and docs/reference/config.md are all made from these.
 */
import { type Command, Option } from 'commander';
import { usageError } from '../../core/errors.ts';

export interface SettingSpec {
  /** As commander has it: `--listen <[address]:port>`. Absent: on a command line everybody could read the value. */
  readonly flag?: string;
  readonly env: string;
  readonly description: string;
  /** As it would be written. */
  readonly default?: string;
  /** What stands for a value where there is no default: one that could be. */
  readonly example?: string;
  /** Whether a reload applies it; `first start`: says nothing to a gateway that has its state. */
  readonly change: 'live' | 'restart' | 'first start';
  /** What is shown of a value that holds a secret. */
  readonly redact?: (text: string) => string;
  /** The value names a file, and what is in the file counts. */
  readonly isFile?: true;
  /** What a flag without a value stands for: `--kmsg [url]`. */
  readonly preset?: string;
}

export interface Setting<Value> extends SettingSpec {
  readonly form: 'text' | 'list' | 'switch';
  /** Throws AppError. `texts` undefined: nobody has set it. */
  readonly read: (texts: readonly string[] | undefined, place: string) => Value;
}

/** Throws AppError, beginning with `place`. */
type Parse<Value> = (place: string, text: string) => Value;

export type SettingTable = Readonly<Record<string, Setting<unknown>>>;

export type ValuesOf<Table extends SettingTable> = {
  readonly [Key in keyof Table]: Table[Key] extends Setting<infer Value> ? Value : never;
};

export const anyText: Parse<string> = (place, text) => {
  if (text === '') throw usageError(`${place} is empty`);
  return text;
};

export const hidden = (): string => '(hidden)';

/** There is always a value. */
export function setting<Value>(
  spec: SettingSpec & { readonly default: string },
  parse: Parse<Value>,
): Setting<Value> {
  const read = (texts: readonly string[] | undefined, place: string) =>
    parse(place, single(texts, place) ?? spec.default);
  return { ...spec, form: 'text', read };
}

export function optional<Value>(
  spec: SettingSpec & { readonly example: string },
  parse: Parse<Value>,
): Setting<Value | undefined> {
  const read = (texts: readonly string[] | undefined, place: string) => {
    const text = single(texts, place);
    return text === undefined ? undefined : parse(place, text);
  };
  return { ...spec, form: 'text', read };
}

export function list<Value>(
  spec: SettingSpec & { readonly example: string },
  parse: Parse<Value>,
): Setting<readonly Value[]> {
  const read = (texts: readonly string[] = [], place: string) => texts.map((text) => parse(place, text));
  return { ...spec, form: 'list', read };
}

export function toggle(spec: SettingSpec & { readonly default: 'true' | 'false' }): Setting<boolean> {
  const read = (texts: readonly string[] | undefined, place: string) => {
    const text = single(texts, place) ?? spec.default;
    if (text !== 'true' && text !== 'false') {
      throw usageError(`${place} ${JSON.stringify(text)}: expected true or false`);
    }
    return text === 'true';
  };
  return { ...spec, form: 'switch', read };
}

function single(texts: readonly string[] | undefined, place: string): string | undefined {
  if (texts !== undefined && texts.length > 1) throw usageError(`${place}: expected one value, not a list`);
  return texts?.[0];
}

/** `--listen`; the key for a setting without a flag. */
export function flagName(key: string, { flag }: SettingSpec): string {
  return flag === undefined ? key : (/--[\w-]+/.exec(flag)?.[0] ?? flag);
}

/** Commander's values are for `givenByFlags`; its twins and defaults are there for the help. */
export function addSettings(command: Command, table: SettingTable): Command {
  for (const { flag, env, description, form, preset, ...spec } of Object.values(table)) {
    if (flag === undefined) continue;
    const option = new Option(flag, description).env(env);
    if (form === 'list')
      option.argParser((value, before) => [...((before as string[] | undefined) ?? []), value]);
    if (form === 'text' && spec.default !== undefined) option.default(spec.default);
    if (preset !== undefined) option.preset(preset);
    command.addOption(option);
  }
  return command;
}
