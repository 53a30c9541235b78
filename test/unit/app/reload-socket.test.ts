import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { askReload, reloadPath, serveReload } from '../../../src/app/reload-socket.ts';
import { configError } from '../../../src/core/errors.ts';
import { type Logger, silentLogger } from '../../../src/core/log.ts';
import { eventually } from '../../kit/eventually.ts';

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-reload-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const REPORT = { changed: [{ key: 'a', after: 'b' }], needsRestart: [], failed: [] };

test('whoever connects has it reloaded and is told what came of it; only the owner can', async (t) => {
  const directory = temporary(t);
  let end = () => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  let reloads = 0;
  const reload = async () => {
    if (++reloads > 1) throw configError('config.yaml:7', 'unknown key "x"', 'did you mean y?');
    return REPORT as never;
  };
  await serveReload('one', reload, { ended, logger: silentLogger, directory });
  assert.equal(statSync(reloadPath('one', directory)).mode & 0o777, 0o600);
  assert.deepEqual(await askReload('one', directory), REPORT);
  await assert.rejects(askReload('one', directory), {
    code: 'config',
    message: 'config.yaml:7: unknown key "x"',
    hint: 'did you mean y?',
    exitCode: 2,
  });
  end();
  await eventually('the socket is gone', () => !existsSync(reloadPath('one', directory)));
  await assert.rejects(askReload('one', directory), { code: 'not_found', message: /^one is not running/ });
});

test('a program that cannot have the socket runs without', async (t) => {
  const events: string[] = [];
  const logger: Logger = {
    log: (level, event) => void events.push(`${level} ${event}`),
    child: () => logger,
  };
  const directory = join(temporary(t), 'file', 'below');
  writeFileSync(dirname(directory), '');
  await serveReload('one', async () => REPORT as never, { ended: Promise.resolve(), logger, directory });
  assert.deepEqual(events, ['warn reload_socket_not_opened']);
});
