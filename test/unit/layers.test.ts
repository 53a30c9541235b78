import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ERROR_CODES } from '../../src/core/errors.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const source = join(root, 'src');

/** Who may import whom; ARCHITECTURE.md has the same table. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  gen: [],
  wasm: ['core'],
  sys: ['core'],
  noise: ['core', 'wasm', 'sys'],
  tun: ['core', 'wasm', 'sys'],
  tunnel: ['core', 'wasm', 'sys', 'noise', 'tun'],
  link: ['core', 'wasm', 'sys', 'noise', 'tun', 'tunnel', 'gen'],
  app: ['core', 'wasm', 'sys', 'noise', 'tun', 'tunnel', 'link', 'gen'],
};

function sourceFiles(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return entry.name === 'assembly' ? [] : sourceFiles(path);
    return path.endsWith('.ts') ? [path] : [];
  });
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((match) =>
    join(dirname(file), match[1] as string),
  );
}

const layerOf = (file: string): string => relative(source, file).split(sep)[0] as string;

test('layers: imports go one way', () => {
  for (const file of sourceFiles(source)) {
    const layer = layerOf(file);
    const allowed = ALLOWED[layer];
    assert.ok(allowed, `${relative(root, file)}: folder ${layer} is in no layer`);
    for (const imported of importsOf(file)) {
      const target = layerOf(imported);
      const fine = target === layer || allowed.includes(target);
      assert.ok(fine, `${relative(root, file)} imports ${relative(root, imported)}`);
    }
  }
});

test('errors: docs/ERRORS.md lists exactly the codes of the catalogue, with their exit status', () => {
  const text = readFileSync(join(root, 'docs', 'ERRORS.md'), 'utf8');
  const listed = [...text.matchAll(/^\| `(\w+)` \| (\d) \|/gm)].map((match) => [match[1], Number(match[2])]);
  assert.deepEqual(Object.fromEntries(listed), { ...ERROR_CODES });
});
