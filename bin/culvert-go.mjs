// The program behind bin/culvert-go.
const entry = new URL('../dist/src/app/culvert-go.js', import.meta.url);
const { existsSync } = await import('node:fs');
if (!existsSync(entry)) (await import('../scripts/ensure-built.mjs')).ensureBuilt(entry);
const { main } = await import(entry.href);
process.exit(await main(process.argv.slice(2)));
