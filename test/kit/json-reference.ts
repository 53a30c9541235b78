/** docs/reference/json.md, which says what programs may rely on. */
import { readFileSync } from 'node:fs';

const file = new URL('../../../docs/reference/json.md', import.meta.url);

/** The members that the first table below a heading has, sorted. Throws when there is no such heading. */
export function documentedMembers(heading: string): string[] {
  const [, section] = readFileSync(file, 'utf8').split(`\n## ${heading}\n`);
  if (section === undefined) throw new Error(`docs/reference/json.md has no "${heading}"`);
  const rows = section.split('\n## ')[0]?.matchAll(/^\| (`[^|]*) \|/gm) ?? [];
  return Array.from(rows, ([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)])
    .flatMap((names) => names.map(([, name = '']) => name))
    .toSorted();
}
