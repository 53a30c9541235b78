/** docs/reference/log-events.md against every place in the source that logs. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

interface Logged {
  readonly levels: Set<string>;
  readonly fields: Set<string>;
}

function entry(map: Map<string, Logged>, event: string): Logged {
  const found = map.get(event) ?? { levels: new Set(), fields: new Set() };
  map.set(event, found);
  return found;
}

/** The arguments of the call whose parenthesis opens at `start`, each as its text. */
function argumentsAt(text: string, start: number): string[] {
  const parts = [''];
  let depth = 0;
  let quote = '';
  for (let i = start; i < text.length; i++) {
    const character = text[i] as string;
    if (quote !== '') quote = character === quote ? '' : quote;
    else if (/['"`]/.test(character)) quote = character;
    else if (/[([{]/.test(character)) depth++;
    else if (/[)\]}]/.test(character) && --depth === 0) return parts.map((part) => part.trim());
    if (quote === '' && depth === 1 && character === ',') parts.push('');
    else if (i > start) parts[parts.length - 1] += character;
  }
  throw new Error('the call does not end');
}

const WORDS = /'([a-z][a-z_]*)'/g;
const wordsIn = (text: string): string[] => Array.from(text.matchAll(WORDS), ([, word = '']) => word);

/** Literal words that stand for a choice: those of a comparison are not among them. */
const chosen = (text: string): string[] =>
  wordsIn(text.replace(/^[^?]*\?/s, (head) => (head.includes(':') ? head : '')));

/** Names of an object literal's members; spread ones are not seen. */
function membersOf(literal: string): string[] {
  if (!literal.startsWith('{')) return [];
  return argumentsAt(literal, 0)
    .map((member) => /^(\w+)/.exec(member)?.[1] ?? '')
    .filter((name) => name !== '');
}

function loggedInSource(): Map<string, Logged> {
  const logged = new Map<string, Logged>();
  const source = join(root, 'src');
  for (const name of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const text = readFileSync(join(source, name), 'utf8');
    for (const { index } of text.matchAll(/\blogger\.log\(|\.#logger\.log\(/g)) {
      const [level = '', event = '', fields = ''] = argumentsAt(text, text.indexOf('(', index));
      // Loggers that hand on what another one was given.
      if (level === 'level' && event === 'event') continue;
      const events = chosen(event);
      assert.ok(events.length > 0, `${name} logs an event without a literal name: ${event}`);
      for (const one of events) {
        for (const each of chosen(level)) entry(logged, one).levels.add(each);
        for (const member of membersOf(fields)) entry(logged, one).fields.add(member);
      }
    }
  }
  return logged;
}

function documented(): Map<string, Logged> {
  const text = readFileSync(join(root, 'docs', 'reference', 'log-events.md'), 'utf8');
  const names = (cell: string): string[] => Array.from(cell.matchAll(/`(\w+)`/g), ([, name = '']) => name);
  const logged = new Map<string, Logged>();
  for (const [, event = '', levels = '', fields = ''] of text.matchAll(
    /^\| `(\w+)` \| ([a-z, ]+) \|([^|]*)\|[^|]*\|$/gm,
  )) {
    assert.ok(!logged.has(event), `${event} is listed twice`);
    for (const level of levels.split(', ')) entry(logged, event).levels.add(level);
    for (const field of names(fields)) entry(logged, event).fields.add(field);
  }
  return logged;
}

const sorted = (names: Iterable<string>): string[] => [...names].toSorted();

test('logs: docs/reference/log-events.md lists every event with its levels and fields, and no others', () => {
  const [source, manual] = [loggedInSource(), documented()];
  assert.ok(source.size > 50);
  const missing = sorted(source.keys()).filter((event) => !manual.has(event));
  const unknown = sorted(manual.keys()).filter((event) => !source.has(event));
  assert.deepEqual({ missing, unknown }, { missing: [], unknown: [] });
  for (const [event, { levels, fields }] of source) {
    const said = entry(manual, event);
    assert.deepEqual(sorted(said.levels), sorted(levels), `levels of ${event}`);
    assert.deepEqual(sorted(said.fields), sorted(fields), `fields of ${event}`);
  }
});
