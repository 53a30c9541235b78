import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AdminToken } from '../../../../src/app/api/access.ts';
import { adminSocketPath } from '../../../../src/app/gateway/admin-socket.ts';
import { SERVE_SETTINGS } from '../../../../src/app/gateway/settings.ts';
import { systemRandom } from '../../../../src/core/random.ts';
import { startTestGateway, temporaryDirectory } from '../gateway/kit.ts';

const CULVERT = fileURLToPath(new URL('../../../../../bin/culvert', import.meta.url));

/** The gateway runs in this process, so nothing may wait for the command in a blocking way. */
function page(directory: string): Promise<{ code: unknown; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(CULVERT, ['page', '--state', directory], (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

test('culvert page prints where the page is, with the token behind the "#"', async (t) => {
  const directory = temporaryDirectory(t);
  const token = AdminToken.ofDirectory(directory, systemRandom);
  const { running } = await startTestGateway(t, {
    parts: {
      adminSocket: adminSocketPath(directory),
      http: { address: { host: '127.0.0.1', port: 0 }, token },
    },
  });
  const { code, stdout } = await page(directory);
  assert.deepEqual([code, stdout], [0, `${running.admin.status().page}#token=${token.reveal()}\n`]);
});

test('culvert page says when there is no page, and when there is no gateway', async (t) => {
  const directory = temporaryDirectory(t);
  const { running } = await startTestGateway(t, { parts: { adminSocket: adminSocketPath(directory) } });
  const off = await page(directory);
  assert.deepEqual([off.code, off.stdout], [1, '']);
  assert.match(off.stderr, /serves no status page\n.*--http/);
  await running.stop('the end');
  const gone = await page(directory);
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /gateway/);
});

test('--http: loopback unless told, another address, or none', () => {
  const read = (http?: string) => SERVE_SETTINGS.http.read(http === undefined ? undefined : [http], '--http');
  assert.deepEqual(read(), { host: '127.0.0.1', port: 9587 });
  assert.deepEqual(read('0.0.0.0:80'), { host: '0.0.0.0', port: 80 });
  assert.equal(read('none'), undefined);
  assert.throws(() => read(':9587'), /--http ":9587": says no address/);
});
