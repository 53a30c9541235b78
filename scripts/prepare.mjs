// Runs after `npm install` in a clone, so that bin/culvert works at once. Does nothing where only the package is
// installed (it ships dist/) or where development tools were left out.
import { existsSync } from 'node:fs';
import { build } from './run.mjs';

const root = new URL('..', import.meta.url);
if (existsSync(new URL('src', root)) && existsSync(new URL('node_modules/typescript', root))) build();
