import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Hooks } from '../../../../src/app/agent/hooks.ts';
import { silentLogger, type Logger } from '../../../../src/core/log.ts';

test('hooks run in order, with what happened in their environment', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-hooks-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'log');
  const command = `echo "$CULVERT_EVENT $CULVERT_INTERFACE" >> ${file}`;
  const hooks = new Hooks({ onUp: command, onDown: command }, silentLogger);
  void hooks.run('up', { CULVERT_INTERFACE: 'one' });
  await hooks.run('down', { CULVERT_INTERFACE: 'two' });
  assert.equal(readFileSync(file, 'utf8'), 'up one\ndown two\n');
});

test('a hook that fails is told and keeps nobody', async () => {
  const told: unknown[] = [];
  const logger: Logger = { log: (_level, event, fields) => told.push([event, fields]), child: () => logger };
  const hooks = new Hooks({ onUp: 'exit 3', onDown: undefined }, logger);
  await hooks.run('up', {});
  await hooks.run('down', {});
  assert.deepEqual(told, [['hook_failed', { hook: 'on-up', reason: 'exit code 3' }]]);
});
