// Used by bin/*: a package as installed has dist/ already; a clone that was never built is built now.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Ends the process with a message when `entry` (a file URL below dist/) is missing and cannot be built. */
export function ensureBuilt(entry) {
  if (existsSync(entry)) return;
  if (existsSync(new URL('../src', import.meta.url))) {
    console.error('culvert: not built yet; building once ...');
    const run = fileURLToPath(new URL('run.mjs', import.meta.url));
    // Standard output belongs to the command that follows.
    const { status } = spawnSync(process.execPath, [run, 'build'], { stdio: ['ignore', 2, 2] });
    if (status === 0 && existsSync(entry)) return;
  }
  console.error(
    'culvert: dist/ is missing\nhint: run "npm run build" in a clone, or install the package again',
  );
  process.exit(1);
}
