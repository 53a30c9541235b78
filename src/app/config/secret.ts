/** Secrets that may be given themselves, or by the name of a file that holds them. */
import { usageError } from '../../core/errors.ts';
import { readSecretFile } from '../secret-file.ts';
import { placeOf } from './effective.ts';
import type { Givens } from './given.ts';
import type { SettingTable } from './setting.ts';

/** Throws AppError when both are given, or when the file cannot be read, by others can, or does not hold one word. */
export function secretOf<Key extends string>(
  table: SettingTable,
  givens: Givens,
  values: Readonly<Record<Key, string | undefined>>,
  key: Key,
  fileKey: Key,
): string | undefined {
  const file = values[fileKey];
  if (file === undefined) return values[key];
  const place = placeOf(table, givens, fileKey);
  if (values[key] !== undefined) {
    throw usageError(`${place} and ${placeOf(table, givens, key)}: only one of them can be the secret`);
  }
  return readSecretFile(file, place);
}
