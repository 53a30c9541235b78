// Writes docs/man, docs/reference and examples/config.yaml from the tables of commands and settings: `node scripts/docs.mjs`. With --check it writes
// nothing and fails when they differ. Needs a build.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const { generatedDocs } = await import('../dist/src/app/docs/generated.js');
const stale = [];
for (const [name, text] of await generatedDocs()) {
  const path = fileURLToPath(new URL(`../${name}`, import.meta.url));
  let stored = '';
  try {
    stored = readFileSync(path, 'utf8');
  } catch {
    // Not there yet.
  }
  if (stored === text) continue;
  stale.push(name);
  if (process.argv.includes('--check')) continue;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
if (process.argv.includes('--check') && stale.length > 0) {
  console.error(`docs: not what the table of commands says: ${stale.join(', ')}; run npm run docs`);
  process.exitCode = 1;
}
