import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { getDevice, listInterfaces, setDevice } from '../../../src/app/uapi-client.ts';
import { SystemError } from '../../../src/core/errors.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { openUapiSocket, uapiPath } from '../../../src/tunnel/uapi-socket.ts';
import { FakeDevice } from '../../kit/fake-device.ts';
import { fakeZones } from '../../kit/zones.ts';

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-client-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function serve(t: TestContext, directory: string, name: string): Promise<FakeDevice> {
  const socket = await openUapiSocket(uapiPath(name, directory));
  t.after(() => socket.close());
  const device = new FakeDevice();
  socket.serve({ device, zones: fakeZones, logger: silentLogger }, () => {});
  return device;
}

/** A server that answers everything with `answer`. */
async function answering(t: TestContext, directory: string, name: string, answer: string): Promise<void> {
  const server = createServer((socket) => socket.on('error', () => {}).end(answer));
  t.after(() => server.close());
  await new Promise<void>((resolve) => {
    server.listen(uapiPath(name, directory), resolve);
  });
}

test('only sockets that somebody listens on are interfaces', async (t) => {
  const directory = temporaryDirectory(t);
  await serve(t, directory, 'wg0');
  writeFileSync(join(directory, 'file.sock'), '');
  writeFileSync(join(directory, 'other'), '');
  assert.deepEqual(await listInterfaces(directory), ['wg0']);
  assert.deepEqual(await listInterfaces(join(directory, 'missing')), []);
});

test('what was set can be got', async (t) => {
  const directory = temporaryDirectory(t);
  await serve(t, directory, 'wg0');
  await setDevice('wg0', 'set=1\nlisten_port=7\n\n', directory);
  assert.equal((await getDevice('wg0', directory)).listenPort, 7);
});

test('a device that is not there is told apart from one that refuses', async (t) => {
  const directory = temporaryDirectory(t);
  await assert.rejects(getDevice('wg0', directory), { code: 'not_found' });
  await assert.rejects(getDevice('../wg0', directory), { code: 'not_found' });
  const device = await serve(t, directory, 'wg0');
  await assert.rejects(setDevice('wg0', 'set=1\nx=1\n\n', directory), { errnoName: 'EINVAL', errno: 22 });
  device.failure = new SystemError('in_use', 'port 7', 98, 'EADDRINUSE');
  await assert.rejects(setDevice('wg0', 'set=1\nlisten_port=7\n\n', directory), { errnoName: 'EADDRINUSE' });
});

test('answers that are no UAPI are protocol errors', async (t) => {
  const directory = temporaryDirectory(t);
  await answering(t, directory, 'empty', '');
  await answering(t, directory, 'http', 'HTTP/1.1 400 Bad Request\r\n\r\n');
  for (const name of ['empty', 'http']) {
    await assert.rejects(getDevice(name, directory), { code: 'protocol' });
    await assert.rejects(setDevice(name, 'set=1\n\n', directory), { code: 'protocol' });
  }
});

test('a file in place of the socket is named', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(uapiPath('wg0', directory), '');
  await assert.rejects(getDevice('wg0', directory), /is not a socket/);
});
