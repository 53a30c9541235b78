/** README and docs/METRICS.md quote figures of committed results, and no others. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (name: string): string => readFileSync(join(root, name), 'utf8');

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

function numbersIn(value: Json | undefined): number[] {
  if (typeof value === 'number') return [value];
  return value !== null && typeof value === 'object' ? Object.values(value).flatMap(numbersIn) : [];
}

/** Whether `quoted`, as it is written, is what one of `measured` rounds to. */
function isRoundingOf(quoted: string, measured: readonly number[]): boolean {
  const digits = quoted.split('.')[1]?.length ?? 0;
  return measured.some((number) => number.toFixed(digits) === quoted);
}

const FILE = /`(bench\/results\/[^`]+\.json)`/g;
const DECIMAL = /(?<![\d.v])\d+\.\d+(?![\d.])/g;

test('figures: every decimal of a paragraph of the README that names a result is in it', () => {
  const paragraphs = read('README.md').split(/\n\n|(?<=\.)\n/);
  const naming = paragraphs.filter((text) => text.search(FILE) >= 0);
  assert.ok(naming.length > 0);
  for (const text of naming) {
    const results = Array.from(text.matchAll(FILE), ([, file = '']) => JSON.parse(read(file)) as Json);
    for (const [figure] of text
      .replaceAll(FILE, '')
      .replaceAll(/Linux \S+|Node \S+/g, '')
      .matchAll(DECIMAL))
      assert.ok(isRoundingOf(figure, results.flatMap(numbersIn)), `${figure} in "${text}"`);
  }
});

test('figures: every row of the table of speeds is that implementation in the result above it', () => {
  const [, speed = ''] = read('README.md').split('\n## Speed\n');
  const [section = ''] = speed.split('\n## ');
  const [, file = ''] = [...section.matchAll(FILE)][0] ?? [];
  const { tunnel } = JSON.parse(read(file)) as { tunnel: readonly { name: string; [name: string]: Json }[] };
  const rows = [...section.matchAll(/^\| ([^|`]+) \|((?: [\d.]+ \|)+)$/gm)];
  assert.ok(rows.length >= 3);
  for (const [, name = '', cells = ''] of rows) {
    const measured = numbersIn(tunnel.find((one) => one.name === name));
    assert.ok(measured.length > 0, `${name} is in ${file}`);
    for (const [figure] of cells.matchAll(/[\d.]+/g))
      assert.ok(isRoundingOf(figure, measured), `${figure} of ${name} is in ${file}`);
  }
});

test('figures: docs/METRICS.md tells what a scrape of 10,000 peers took', () => {
  const text = read('docs/METRICS.md').replaceAll('\n', ' ');
  const [, megabytes, cpuMs, turnMs, file = ''] =
    /10,000 peers are ([\d.]+) MB, ([\d.]+) ms of CPU time and no turn longer than ([\d.]+) ms \(`([^`]+)`/.exec(
      text,
    ) ?? [];
  const { metrics } = JSON.parse(read(file)) as {
    metrics: readonly { peers: number; bytes: number; totalMs: number; longestTurnMs: number }[];
  };
  const most = metrics.find(({ peers }) => peers === 10_000);
  assert.ok(most);
  assert.equal(megabytes, (most.bytes / 1e6).toFixed(1));
  assert.equal(cpuMs, most.totalMs.toFixed(0));
  assert.equal(turnMs, most.longestTurnMs.toFixed(1));
});
