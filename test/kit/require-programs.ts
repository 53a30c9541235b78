import { hasProgram } from '../../src/app/programs.ts';

/** For the `skip` option. A missing program fails under CULVERT_REQUIRE_INTEROP=1. */
export function requirePrograms(...names: string[]): string | false {
  const missing = names.filter((name) => !hasProgram(name));
  if (missing.length === 0) return false;
  const reason = `SKIPPED: needs the program ${missing.join(', ')}`;
  if (process.env['CULVERT_REQUIRE_INTEROP'] === '1')
    throw new Error(`${reason} (CULVERT_REQUIRE_INTEROP=1)`);
  return reason;
}
