/**
 * Published test vectors, kept outside of the repository: in `../shared/vectors` beside it, or where the environment
 * variable CULVERT_VECTORS points.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function repositoryRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

const directory = process.env['CULVERT_VECTORS'] ?? join(repositoryRoot(), '..', 'shared', 'vectors');

/**
 * For the `skip` option of a test: false when the files are there, else one line that says what is missing. Throws
 * instead of skipping under CULVERT_REQUIRE_INTEROP=1.
 */
export function requireVectors(...files: readonly string[]): string | false {
  const missing = files.filter((file) => !existsSync(join(directory, file)));
  if (missing.length === 0) return false;
  const reason = `SKIPPED: needs the vectors ${missing.join(', ')} (set CULVERT_VECTORS to their folder)`;
  if (process.env['CULVERT_REQUIRE_INTEROP'] === '1')
    throw new Error(`${reason} (CULVERT_REQUIRE_INTEROP=1)`);
  return reason;
}

/** Reads a JSON file of vectors. Call it inside a test that is skipped by `requireVectors`. */
export function readVectors(file: string): unknown {
  return JSON.parse(readFileSync(join(directory, file), 'utf8'));
}
