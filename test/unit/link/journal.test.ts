import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  DEFAULT_JOURNAL_LIMITS,
  Followers,
  type JournalLimits,
  type NewEntry,
} from '../../../src/link/journal.ts';
import { SqliteJournal } from '../../../src/link/sqlite-journal.ts';

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-journal-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

function open(t: TestContext, limits: Partial<JournalLimits> = {}, directory = temporary(t)): SqliteJournal {
  const journal = SqliteJournal.open(directory, { ...DEFAULT_JOURNAL_LIMITS, ...limits });
  t.after(() => journal.close());
  return journal;
}

const log = (machine: string, body: string, atMs = 0): NewEntry => ({ machine, kind: 'log', atMs, body });
const bodies = (journal: SqliteJournal, machine: string, count = 10_000, after?: number) =>
  journal.tail(machine, 'log', count, after).map(({ body }) => body);

test('entries come back in order, by machine and kind', (t) => {
  const journal = open(t);
  journal.append(log('a', 'one', 5));
  journal.append(log('b', 'two'));
  journal.append({ machine: 'a', kind: 'event', atMs: 6, body: '{}', id: 'e1' });
  journal.append(log('a', 'three'));
  assert.deepEqual(bodies(journal, 'a'), ['one', 'three']);
  assert.deepEqual(bodies(journal, 'b'), ['two']);
  assert.deepEqual(bodies(journal, 'c'), []);
  const [event] = journal.tail('a', 'event', 10);
  assert.deepEqual(
    { ...event, sequence: 0 },
    { machine: 'a', kind: 'event', atMs: 6, body: '{}', id: 'e1', sequence: 0 },
  );
});

test('a reader takes the newest, and later what came after them', (t) => {
  const journal = open(t);
  for (let n = 0; n < 10; n++) journal.append(log('a', String(n)));
  const newest = journal.tail('a', 'log', 3);
  assert.deepEqual(
    newest.map(({ body }) => body),
    ['7', '8', '9'],
  );
  journal.append(log('a', '10'));
  assert.deepEqual(bodies(journal, 'a', 100, newest.at(-1)?.sequence), ['10']);
});

test('an event that is sent again is kept once, per machine', (t) => {
  const journal = open(t);
  const event: NewEntry = { machine: 'a', kind: 'event', atMs: 0, body: 'x', id: 'same' };
  for (const machine of ['a', 'a', 'b']) journal.append({ ...event, machine });
  journal.append({ ...event, id: undefined });
  journal.append({ ...event, id: undefined });
  assert.equal(journal.tail('a', 'event', 10).length, 3);
  assert.equal(journal.tail('b', 'event', 10).length, 1);
});

test('the number of entries is bounded for each machine and kind', (t) => {
  const journal = open(t, { maxEntries: 10 });
  for (let n = 0; n < 1000; n++) journal.append(log('a', String(n)));
  journal.append(log('b', 'kept'));
  journal.sweep(0);
  assert.deepEqual(
    bodies(journal, 'a'),
    Array.from({ length: 10 }, (_, i) => String(990 + i)),
  );
  assert.deepEqual(bodies(journal, 'b'), ['kept']);
});

test('between sweeps a machine cannot grow without bound either', (t) => {
  const directory = temporary(t);
  const journal = open(t, { maxEntries: 10 }, directory);
  for (let n = 0; n < 1000; n++) journal.append(log('a', String(n)));
  journal.flush();
  const unbounded = open(t, {}, directory);
  assert.ok(unbounded.tail('a', 'log', 10_000).length <= 10 + 128);
});

test('old entries go, and the oldest of all when the total is too large', (t) => {
  const journal = open(t, { maxAgeMs: 1000, maxTotalBytes: 25 });
  journal.append(log('a', 'old', 0));
  journal.append(log('a', '0123456789', 1500));
  journal.append(log('b', '0123456789', 1500));
  journal.sweep(2000);
  assert.deepEqual([bodies(journal, 'a'), bodies(journal, 'b')], [['0123456789'], ['0123456789']]);
  journal.append(log('b', 'more text', 1600));
  journal.sweep(2000);
  assert.deepEqual([bodies(journal, 'a'), bodies(journal, 'b')], [[], ['0123456789', 'more text']]);
});

test('a machine that is removed leaves nothing', (t) => {
  const journal = open(t);
  journal.append(log('a', 'x'));
  journal.append(log('b', 'y'));
  journal.forget('a');
  assert.deepEqual([bodies(journal, 'a'), bodies(journal, 'b')], [[], ['y']]);
});

test('everything is there after a restart', (t) => {
  const directory = temporary(t);
  const first = SqliteJournal.open(directory, DEFAULT_JOURNAL_LIMITS);
  first.append(log('a', 'x'));
  first.close();
  assert.deepEqual(bodies(open(t, {}, directory), 'a'), ['x']);
});

test('a damaged file is named, moved aside and not deleted', (t) => {
  const directory = temporary(t);
  const path = join(directory, 'journal.db');
  writeFileSync(path, 'nonsense '.repeat(1000), { mode: 0o600 });
  assert.throws(() => SqliteJournal.open(directory, DEFAULT_JOURNAL_LIMITS), { code: 'corrupt' });
  const { journal, setAside } = SqliteJournal.openOrSetAside(directory, DEFAULT_JOURNAL_LIMITS, 77);
  t.after(() => journal.close());
  assert.ok(setAside?.message.startsWith(path) && setAside.message.endsWith(`moved to ${path}.77.damaged`));
  assert.ok(existsSync(`${path}.77.damaged`));
  journal.append(log('a', 'x'));
  assert.deepEqual(bodies(journal, 'a'), ['x']);
  const good = SqliteJournal.openOrSetAside(temporary(t), DEFAULT_JOURNAL_LIMITS, 78);
  t.after(() => good.journal.close());
  assert.equal(good.setAside, undefined);
  assert.ok(readdirSync(directory).every((name) => !name.includes('.78.')));
});

test('followers are told of their machine and kind until they stop', () => {
  const followers = new Followers();
  const told: string[] = [];
  const stopA = followers.follow('a', 'log', () => told.push('a'));
  followers.follow('b', 'log', () => told.push('b'));
  followers.tell('a', 'log');
  followers.tell('a', 'event');
  followers.tell('b', 'log');
  stopA();
  followers.tell('a', 'log');
  assert.deepEqual(told, ['a', 'b']);
});

test('a flood of the longest lines stays within the total, between sweeps too, and so does the file', (t) => {
  const directory = temporary(t);
  const maxTotalBytes = 4 * 1024 * 1024;
  const journal = open(t, { maxTotalBytes }, directory);
  const line = 'x'.repeat(64 * 1024);
  let largest = 0;
  for (let n = 0; n < 2_000; n++) {
    journal.append(log(`machine ${n % 7}`, line, n));
    if (n % 100 === 0) {
      journal.flush();
      largest = Math.max(largest, statSync(join(directory, 'journal.db')).size);
    }
  }
  journal.flush();
  const kept = Array.from({ length: 7 }, (_, n) => bodies(journal, `machine ${n}`).length);
  assert.equal(
    kept.reduce((sum, count) => sum + count),
    maxTotalBytes / line.length,
  );
  // 256 lines of one transaction come on top before the oldest go, and pages have their own waste.
  assert.ok(largest < maxTotalBytes + 1.25 * 256 * line.length, `${largest} bytes`);
});
