import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readSettings } from '../../../../src/app/config/effective.ts';
import { givenTexts } from '../../../../src/app/config/given.ts';
import { formatReload, type ReloadFailure, settingsReload } from '../../../../src/app/config/reload.ts';
import { SERVE_SETTINGS, type ServeValues } from '../../../../src/app/gateway/settings.ts';
import { AppError } from '../../../../src/core/errors.ts';
import type { Logger } from '../../../../src/core/log.ts';

function reloadable(start: Record<string, string> = {}) {
  const read = (texts: Record<string, string>) =>
    readSettings(SERVE_SETTINGS, givenTexts(SERVE_SETTINGS, texts));
  const self = {
    now: start,
    applied: [] as ServeValues[],
    failures: [] as ReloadFailure[],
    frozen: [] as string[],
    logged: [] as string[],
  };
  const logger: Logger = {
    log: (level, event, fields) => void self.logged.push(`${level} ${event} ${JSON.stringify(fields)}`),
    child: () => logger,
  };
  const reload = settingsReload({
    running: read(start),
    read: () => read(self.now),
    frozen: () => self.frozen,
    apply: async ({ values }) => {
      self.applied.push(values);
      return self.failures;
    },
    logger,
  });
  return Object.assign(self, { reload });
}

test('reload: nothing is applied when nothing has changed, and writing out a default changes nothing', async () => {
  const program = reloadable();
  assert.equal(formatReload(await program.reload()), 'nothing has changed\n');
  program.now = { tunnel: 'hint', listen: ':4000' };
  assert.equal(formatReload(await program.reload()), 'nothing has changed\n');
  assert.deepEqual(program.applied, []);
});

test('reload: what can change is applied, what cannot is named and stays as it was', async () => {
  const program = reloadable({ interface: 'one' });
  program.now = { interface: 'two', machineLimit: '7' };
  const report = await program.reload();
  assert.equal(
    formatReload(report),
    'machineLimit: not set -> 7\ninterface: one -> two: needs a restart, left as it was\n',
  );
  assert.deepEqual(
    program.applied.map(({ machineLimit, interface: name }) => [machineLimit, name]),
    [[7, 'one']],
  );
  // It still does, the next time.
  assert.deepEqual(
    (await program.reload()).needsRestart.map(({ key }) => key),
    ['interface'],
  );
  assert.equal(program.applied.length, 1);
});

test('reload: a configuration that is wrong changes nothing, and is told', async () => {
  const program = reloadable();
  program.now = { machineLimit: '7', tunnel: 'nonsense' };
  await assert.rejects(program.reload(), { message: /--tunnel "nonsense"/, exitCode: 2 });
  assert.deepEqual(program.applied, []);
  assert.match(program.logged[0] ?? '', /^error config_not_reloaded .*nonsense/);
  program.now = { machineLimit: '7' };
  assert.deepEqual((await program.reload()).changed, [
    { key: 'machineLimit', before: undefined, after: '7' },
  ]);
});

test('reload: what could not be applied counts as unchanged, and is tried again', async () => {
  const program = reloadable();
  program.now = { http: '127.0.0.1:1', tunnel: 'forced' };
  program.failures = [{ keys: ['http', 'httpTokenFile'], reason: 'the port is taken' }];
  const first = await program.reload();
  assert.deepEqual(first.changed, [{ key: 'tunnel', before: 'hint', after: 'forced' }]);
  assert.deepEqual(first.failed, [{ keys: ['http'], reason: 'the port is taken' }]);
  program.failures = [];
  const second = await program.reload();
  assert.deepEqual(second.changed, [{ key: 'http', before: '127.0.0.1:9587', after: '127.0.0.1:1' }]);
});

test('reload: a setting may need a restart for once', async () => {
  const program = reloadable();
  program.frozen = ['tlsCert', 'tlsKey'];
  program.now = { tlsCert: 'a', tlsKey: 'b', accept: 'manual' };
  const { changed, needsRestart } = await program.reload();
  assert.deepEqual(
    [changed.map(({ key }) => key), needsRestart.map(({ key }) => key)],
    [['accept'], ['tlsCert', 'tlsKey']],
  );
  assert.equal(program.applied[0]?.tlsCert, undefined);
});

test('reload: another secret in the same file is a change, and is not shown; the first token is none', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-reload-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const metricsTokenFile = join(directory, 'token');
  writeFileSync(metricsTokenFile, 'one');
  const program = reloadable({ metricsTokenFile });
  writeFileSync(metricsTokenFile, 'two');
  program.now = { metricsTokenFile, joinToken: 'hush' };
  assert.equal(formatReload(await program.reload()), 'metricsTokenFile: changed\n');
  assert.doesNotMatch(program.logged.join(), /hush|one|two/);
  assert.equal(formatReload(await program.reload()), 'nothing has changed\n');
});

test('reload: several at once are done one after the other', async () => {
  const program = reloadable();
  program.now = { tunnel: 'forced' };
  const [first, second] = await Promise.all([program.reload(), program.reload()]);
  assert.deepEqual([first.changed.length, second.changed.length], [1, 0]);
});

test('reload: an error that is none of ours is one of ours to whoever asked', async () => {
  const program = reloadable();
  program.now = { tunnel: 'forced' };
  program.applied.push = () => {
    throw new TypeError('oops');
  };
  await assert.rejects(program.reload(), (error) => error instanceof AppError && error.code === 'internal');
});
