import { readFileSync } from 'node:fs';

/** Put in by scripts/bundle.mjs, where there is no package.json to ask. */
declare const CULVERT_VERSION: string | undefined;

/** The version in package.json. */
export function version(): string {
  if (typeof CULVERT_VERSION === 'string') return CULVERT_VERSION;
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
