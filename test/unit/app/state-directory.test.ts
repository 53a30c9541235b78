import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { prepareStateDirectory, stateDirectory } from '../../../src/app/state-directory.ts';

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-state-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const uid = process.geteuid?.() ?? 0;

test('root keeps state in /var/lib/culvert, others in the XDG state directory, --state wins', () => {
  const env = { XDG_STATE_HOME: '/x/state' };
  assert.equal(stateDirectory(undefined, { env, uid: 0, home: '/root' }), '/var/lib/culvert');
  assert.equal(stateDirectory(undefined, { env, uid: 1000, home: '/home/a' }), '/x/state/culvert');
  assert.equal(
    stateDirectory(undefined, { env: {}, uid: 1000, home: '/home/a' }),
    '/home/a/.local/state/culvert',
  );
  assert.equal(
    stateDirectory(undefined, { env: { XDG_STATE_HOME: 'relative' }, uid: 1000, home: '/home/a' }),
    '/home/a/.local/state/culvert',
  );
  assert.equal(stateDirectory('/elsewhere', { env, uid: 0, home: '/root' }), '/elsewhere');
  assert.throws(() => stateDirectory('', { env, uid: 0, home: '/root' }), /--state is empty/);
});

test('a new state directory is closed to others, parents are made', (t) => {
  const path = join(temporaryDirectory(t), 'a', 'b');
  prepareStateDirectory(path, uid);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  prepareStateDirectory(path, uid);
});

test('a directory that others can look into, belongs to somebody else or is a file is refused', (t) => {
  const path = temporaryDirectory(t);
  chmodSync(path, 0o750);
  assert.throws(() => prepareStateDirectory(path, uid), { code: 'permission', hint: /chmod 700/ });
  chmodSync(path, 0o700);
  assert.throws(() => prepareStateDirectory(path, uid + 1), { code: 'permission' });
  const file = join(path, 'file');
  writeFileSync(file, '');
  assert.throws(() => prepareStateDirectory(file, uid), { code: 'io' });
  mkdirSync(join(path, 'inner'), { mode: 0o700 });
  prepareStateDirectory(join(path, 'inner'), uid);
});
