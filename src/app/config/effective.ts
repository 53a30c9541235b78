/** The settings of a command as they are in effect, and how they differ from others. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AppError } from '../../core/errors.ts';
import type { Givens } from './given.ts';
import { flagName, type SettingTable, type ValuesOf } from './setting.ts';

export interface Effective<Table extends SettingTable> {
  readonly table: Table;
  readonly values: ValuesOf<Table>;
  readonly givens: Givens;
  /** Of files that count by what is in them: a digest, by key. */
  readonly contents: ReadonlyMap<string, string>;
}

export interface SettingChange {
  readonly key: string;
  /** Fit for everybody's eyes; undefined: not set. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** For errors: where a setting was set, else its flag. */
export function placeOf(table: SettingTable, givens: Givens, key: string): string {
  const setting = table[key];
  return givens.get(key)?.place ?? (setting ? flagName(key, setting) : key);
}

/** Reads every setting; what is wrong with them is in `problems`, and then there are no values. */
export function checkSettings<Table extends SettingTable>(
  table: Table,
  givens: Givens,
): { effective: Effective<Table> | undefined; problems: readonly AppError[] } {
  const problems: AppError[] = [];
  const values: Record<string, unknown> = {};
  const contents = new Map<string, string>();
  for (const [key, setting] of Object.entries(table)) {
    const texts = givens.get(key)?.texts;
    try {
      values[key] = setting.read(texts, placeOf(table, givens, key));
      if (setting.isFile && texts) contents.set(key, digestOf(texts));
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      problems.push(error);
    }
  }
  if (problems.length > 0) return { effective: undefined, problems };
  // Every key of the table has been read into it.
  return { effective: { table, values: values as ValuesOf<Table>, givens, contents }, problems };
}

/** Throws the first problem. */
export function readSettings<Table extends SettingTable>(table: Table, givens: Givens): Effective<Table> {
  const { effective, problems } = checkSettings(table, givens);
  if (!effective) throw problems[0] as AppError;
  return effective;
}

/** What is in effect, as text: its default where nobody set it. Secrets are hidden. */
export function shown(
  { table, givens }: Pick<Effective<SettingTable>, 'table' | 'givens'>,
  key: string,
): string[] {
  const texts = givens.get(key)?.texts;
  const setting = table[key];
  if (texts === undefined) return setting?.default === undefined ? [] : [setting.default];
  return setting?.redact ? texts.map(setting.redact) : [...texts];
}

/** In the order of the table. */
export function differences<Table extends SettingTable>(
  before: Effective<Table>,
  after: Effective<Table>,
): SettingChange[] {
  const text = (effective: Effective<Table>, key: string) => {
    const texts = shown(effective, key);
    return texts.length === 0 ? undefined : texts.join(', ');
  };
  return Object.keys(before.table)
    .filter((key) => stampOf(before, key) !== stampOf(after, key))
    .map((key) => ({ key, before: text(before, key), after: text(after, key) }));
}

/** Equal for settings that come to the same. */
function stampOf({ table, givens, contents }: Effective<SettingTable>, key: string): string {
  const fallback = table[key]?.default;
  const texts = givens.get(key)?.texts ?? (fallback === undefined ? [] : [fallback]);
  return JSON.stringify([texts, contents.get(key)]);
}

function digestOf(paths: readonly string[]): string {
  const hash = createHash('sha256');
  for (const path of paths) {
    try {
      hash.update(readFileSync(path));
    } catch {
      // Whoever needs the file says what is wrong with it.
      hash.update('unreadable');
    }
  }
  return hash.digest('hex');
}
