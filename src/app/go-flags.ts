/** Flags as Go's flag package reads them: one dash or two, `-name value` or `-name=value`, switches alone or with `=`. */
import { nearest, usageError } from '../core/errors.ts';

export interface GoFlag {
  readonly kind: 'text' | 'switch';
}

export interface GoFlags {
  /** Every value in order; switches as `true` or `false`. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** What follows the first word that is no flag, or `--`. */
  readonly rest: readonly string[];
}

const SWITCH_VALUES: ReadonlyMap<string, string> = new Map([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((text) => [text, 'true'] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((text) => [text, 'false'] as const),
]);

/** Throws a usage error that names the flag. */
export function parseGoFlags(args: readonly string[], flags: Readonly<Record<string, GoFlag>>): GoFlags {
  const values = new Map<string, string[]>();
  let at = 0;
  while (at < args.length) {
    const word = args[at] as string;
    if (word.length < 2 || !word.startsWith('-')) break;
    at++;
    if (word === '--') break;
    const [, name = '', value] = /^--?([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === '' || name.startsWith('-')) throw usageError(`bad flag syntax: ${word}`);
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (!flag) {
      const near = nearest(name, Object.keys(flags));
      throw usageError(
        `flag provided but not defined: -${name}`,
        near === undefined ? undefined : `did you mean -${near}?`,
      );
    }
    const found = value ?? (flag.kind === 'switch' ? 'true' : args[at++]);
    if (found === undefined) throw usageError(`flag needs an argument: -${name}`);
    const plain = flag.kind === 'switch' ? SWITCH_VALUES.get(found) : found;
    if (plain === undefined) throw usageError(`invalid boolean value ${JSON.stringify(found)} for -${name}`);
    values.set(name, [...(values.get(name) ?? []), plain]);
  }
  return { values, rest: args.slice(at) };
}
