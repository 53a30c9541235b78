// What bin/* have in common: finding the program. A package as installed has dist/; a clone is built when it is used
// for the first time.
import { spawnSync } from 'node:child_process';
import { existsSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Imports a module of dist/src/app, or ends the process with one line that says why not. */
export async function load(name) {
  try {
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major < 20 || (major === 20 && minor < 19))
      throw new Error(`it needs Node.js 20.19 or later, this is ${process.version}`);
    const entry = new URL(`../dist/src/app/${name}`, import.meta.url);
    if (!existsSync(entry)) build();
    return await import(entry.href);
  } catch (error) {
    // A daemon's standard error may be closed; whoever waits for it listens on this descriptor (src/app/daemonize.ts).
    const fd = Number(process.env.CULVERT_READY_FD ?? 2);
    writeSync(fd, `culvert: cannot start: ${error.message}\n`);
    return process.exit(1);
  }
}

function build() {
  if (!existsSync(new URL('../src', import.meta.url)))
    throw new Error('dist/ is missing; install the package again');
  console.error('culvert: not built yet; building once ...');
  const run = fileURLToPath(new URL('run.mjs', import.meta.url));
  // Standard output belongs to the command that follows.
  const { status } = spawnSync(process.execPath, [run, 'build'], { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('the build failed; "npm run build" shows why');
}
