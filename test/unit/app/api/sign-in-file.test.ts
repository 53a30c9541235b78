import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { AdminToken } from '../../../../src/app/api/access.ts';
import { pageFlagOf, readPageFlag } from '../../../../src/app/api/page-flag.ts';
import { SignInFiles } from '../../../../src/app/api/sign-in-file.ts';
import { systemRandom } from '../../../../src/core/random.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'culvert-sign-in-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return join(path, 'run');
}

test('sign-in file: for the owner only, and gone when it is removed', (t) => {
  const path = directory(t);
  const files = new SignInFiles(path);
  assert.deepEqual([files.read('wg0'), files.names()], [undefined, []]);
  const token = AdminToken.make(systemRandom);
  files.write('wg0', { url: 'http://127.0.0.1:9587/', token });
  assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.equal(statSync(files.path('wg0')).mode & 0o777, 0o600);
  const read = files.read('wg0');
  assert.deepEqual([read?.url, read?.token.reveal()], ['http://127.0.0.1:9587/', token.reveal()]);
  assert.deepEqual(files.names(), ['wg0']);
  assert.equal(files.read('wg1'), undefined);
  files.remove('wg0');
  files.remove('wg0');
  assert.deepEqual(files.names(), []);
});

test('sign-in file: what no device wrote is named, without what is in it', (t) => {
  const path = directory(t);
  mkdirSync(path);
  const files = new SignInFiles(path);
  for (const text of ['', 'hush', '{"token":"hush"}', '{"url":1,"token":"hush"}', 'null']) {
    writeFileSync(files.path('wg0'), text);
    assert.throws(
      () => files.read('wg0'),
      (error: Error) => error.message.startsWith(files.path('wg0')) && !error.message.includes('hush'),
      text,
    );
  }
});

test('--http and CULVERT_HTTP: off unless named, on loopback unless told', () => {
  assert.equal(readPageFlag({}), undefined);
  assert.equal(readPageFlag({ http: '' }), undefined);
  assert.equal(readPageFlag({ http: 'none' }), undefined);
  assert.deepEqual(readPageFlag({ http: '9587' }), { host: '127.0.0.1', port: 9_587 });
  assert.deepEqual(readPageFlag(pageFlagOf({ CULVERT_HTTP: '[::1]:0' })), { host: '::1', port: 0 });
  assert.deepEqual(pageFlagOf({ CULVERT_HTTP: '' }), {});
  assert.throws(() => readPageFlag({ http: 'example' }), /address of the status page "example": expected/);
});
