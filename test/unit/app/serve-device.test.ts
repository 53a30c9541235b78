import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { type TestContext, test } from 'node:test';
import { join } from 'node:path';
import { type ServedDevice, serveDevice } from '../../../src/app/serve-device.ts';
import { getDevice, setDevice } from '../../../src/app/uapi-client.ts';
import { AppError } from '../../../src/core/errors.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { uapiPath } from '../../../src/tunnel/uapi-socket.ts';
import { FakeOpenedDevice } from '../../kit/fake-opened-device.ts';
import { fakeZones } from '../../kit/zones.ts';

interface Setting {
  readonly opened: FakeOpenedDevice;
  readonly directory: string;
  readonly serve: () => Promise<ServedDevice>;
}

function setting(t: TestContext, name = 'wg0'): Setting {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-serve-'));
  const opened = new FakeOpenedDevice({ name });
  t.after(async () => {
    await opened.close('test is over');
    rmSync(directory, { recursive: true, force: true });
  });
  const options = { name: 'asked', openDevice: () => opened, zones: fakeZones, logger: silentLogger };
  return { opened, directory, serve: () => serveDevice({ ...options, uapiDirectory: directory }) };
}

test('a served device answers under the name that the system gave it', async (t) => {
  const { directory, opened, serve } = setting(t, 'given');
  const served = await serve();
  assert.equal(served.name, 'given');
  await setDevice('given', 'set=1\nlisten_port=7\n\n', directory);
  assert.equal((await getDevice('given', directory)).listenPort, 7);
  assert.equal(opened.device.state().listenPort, 7);
});

test('stopping it deletes the socket', async (t) => {
  const { directory, serve } = setting(t);
  const served = await serve();
  await served.stop('enough');
  assert.equal(await served.ended, 'enough');
  assert.ok(!existsSync(uapiPath('wg0', directory)));
});

test('when the device ends by itself the socket goes, too', async (t) => {
  const { directory, opened, serve } = setting(t);
  const served = await serve();
  await opened.close('the interface was deleted');
  assert.equal(await served.ended, 'the interface was deleted');
  assert.ok(!existsSync(uapiPath('wg0', directory)));
});

test('deleting the socket closes the device', async (t) => {
  const { directory, opened, serve } = setting(t);
  const served = await serve();
  unlinkSync(uapiPath('wg0', directory));
  assert.equal(await served.ended, 'the UAPI socket was removed');
  assert.equal(opened.reason, 'the UAPI socket was removed');
});

test('a socket that is in use closes the device and harms the other one not', async (t) => {
  const { directory, serve } = setting(t);
  await serve();
  const second = new FakeOpenedDevice({ name: 'wg0' });
  await assert.rejects(
    serveDevice({
      name: 'wg0',
      openDevice: () => second,
      zones: fakeZones,
      logger: silentLogger,
      uapiDirectory: directory,
      pause: () => Promise.resolve(),
    }),
    (error) => error instanceof AppError && error.code === 'in_use',
  );
  assert.ok(second.reason !== undefined);
  await getDevice('wg0', directory);
});

test('a device that is ending has its socket a moment longer: the next one of its name waits for that', async (t) => {
  const { directory, serve } = setting(t);
  const first = await serve();
  const waited: number[] = [];
  const second = await serveDevice({
    name: 'wg0',
    openDevice: () => new FakeOpenedDevice({ name: 'wg0' }),
    zones: fakeZones,
    logger: silentLogger,
    uapiDirectory: directory,
    pause: async (ms) => {
      waited.push(ms);
      if (waited.length < 3) return;
      await first.stop('the interface was deleted');
      await first.ended;
    },
  });
  assert.equal(waited.length, 3);
  await getDevice('wg0', directory);
  await second.stop('enough');
});

test('a device is announced once its name is its own; when that fails nothing is left', async (t) => {
  const { directory, opened, serve } = setting(t);
  const path = uapiPath('wg0', directory);
  const seen: boolean[] = [];
  Object.assign(opened, { onServed: () => seen.push(existsSync(path)) });
  const served = await serve();
  assert.deepEqual(seen, [true]);
  const rival = setting(t);
  Object.assign(rival.opened, { onServed: () => seen.push(true) });
  await assert.rejects(
    serveDevice({
      name: 'asked',
      openDevice: () => rival.opened,
      zones: fakeZones,
      logger: silentLogger,
      uapiDirectory: directory,
      pause: () => Promise.resolve(),
    }),
    { code: 'in_use' },
  );
  assert.deepEqual(seen, [true]);
  await served.stop('enough');
  await served.ended;
  const broken = setting(t);
  const failure = new AppError('permission', 'no');
  Object.assign(broken.opened, {
    onServed: () => {
      throw failure;
    },
  });
  await assert.rejects(broken.serve(), failure);
  assert.ok(!existsSync(uapiPath('wg0', broken.directory)));
  assert.equal(broken.opened.reason, 'it cannot be announced');
});
