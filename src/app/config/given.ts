/** What a command is told, by flags, environment and file: which of them says what, and where. */
import type { Command } from 'commander';
import { configError, nearest } from '../../core/errors.ts';
import type { ConfigDocument } from '../../link/config-documents.ts';
import { flagName, type SettingTable } from './setting.ts';

export interface Given {
  readonly texts: readonly string[];
  /** For errors: `--listen`, `CULVERT_SERVE_LISTEN`, `config.yaml:7: listen`. */
  readonly place: string;
}

/** By key. */
export type Givens = ReadonlyMap<string, Given>;

export type Environment = Readonly<Record<string, string | undefined>>;

/** What stands on the command line itself. */
export function givenByFlags(command: Command, table: SettingTable): Givens {
  const values = command.opts<Record<string, unknown>>();
  return collect(table, (key, place) => {
    if (command.getOptionValueSource(key) !== 'cli') return undefined;
    const value = values[key];
    return { texts: Array.isArray(value) ? value.map(String) : [String(value)], place };
  });
}

/** An empty variable counts as unset. Items of lists stand between commas. */
export function givenByEnvironment(env: Environment, table: SettingTable): Givens {
  return collect(table, (_key, _place, { env: name, form }) => {
    const text = env[name] ?? '';
    if (text === '') return undefined;
    const items = text.split(',').map((item) => item.trim());
    return { texts: form === 'list' ? items.filter((item) => item !== '') : [text], place: name };
  });
}

/**
 * A sentence for each variable that begins as those of `culvert COMMAND` do and is none of them. No error: a cluster may
 * set some that only look like ours (`CULVERT_SERVE_PORT` for a service of that name).
 */
export function unknownVariables(env: Environment, table: SettingTable, command: string): string[] {
  const prefix = `CULVERT_${command.toUpperCase()}_`;
  const known = Object.values(table).map(({ env: name }) => name);
  return Object.keys(env)
    .filter((name) => name.startsWith(prefix) && !known.includes(name))
    .sort()
    .map((name) => {
      const near = nearest(name, known);
      return `${name}: no such setting${near === undefined ? '' : `, did you mean ${near}?`}`;
    });
}

export function givenByDocument({ entries }: ConfigDocument): Givens {
  return new Map(entries.map(({ key, texts, place }) => [key, { texts, place: `${place}: ${key}` }]));
}

/** Of a program that speaks for its user. */
export function givenTexts(
  table: SettingTable,
  texts: Readonly<Record<string, string | readonly string[]>>,
): Givens {
  return collect(table, (key, place) => {
    const text = texts[key];
    return text === undefined ? undefined : { texts: typeof text === 'string' ? [text] : text, place };
  });
}

/**
 * The first of them that says something to a setting counts; a secret and the file that holds it (`joinToken`,
 * `joinTokenFile`) are one.
 */
export function mergeGivens(...sources: readonly Givens[]): Givens {
  const merged = new Map<string, Given>();
  for (const givens of sources) {
    const said = new Set([...merged.keys()].flatMap((key) => [key, `${key}File`, key.replace(/File$/, '')]));
    for (const [key, given] of givens) if (!said.has(key)) merged.set(key, given);
  }
  return merged;
}

/** Throws AppError when there are two of this kind. */
export function documentOf(documents: readonly ConfigDocument[], kind: string): ConfigDocument | undefined {
  const [first, second] = documents.filter((document) => document.kind === kind);
  if (second) throw configError(second.place, `a second ${kind}`, 'one document has all keys');
  return first;
}

function collect(
  table: SettingTable,
  give: (key: string, place: string, setting: SettingTable[string]) => Given | undefined,
): Givens {
  const givens = new Map<string, Given>();
  for (const [key, setting] of Object.entries(table)) {
    const given = give(key, flagName(key, setting), setting);
    if (given) givens.set(key, given);
  }
  return givens;
}
