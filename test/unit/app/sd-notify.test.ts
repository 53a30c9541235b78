import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noServiceManager, serviceManager } from '../../../src/app/sd-notify.ts';
import { hasLibc } from '../../../src/sys/libc.ts';
import { UnixDatagramSender } from '../../../src/sys/unix-datagram.ts';
import { listenForNotices } from '../../kit/notify.ts';
import { until } from '../../kit/until.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs Linux and koffi';

test('sd_notify: a service says that it is ready, with a status and its process', { skip }, (t) => {
  const listener = listenForNotices(t);
  const env: Record<string, string | undefined> = { NOTIFY_SOCKET: listener.path, PATH: '/bin' };
  const manager = serviceManager(env, 42);
  assert.equal(listener.next(), undefined);
  manager.ready('wg0 is up');
  assert.equal(listener.next(), 'READY=1\nSTATUS=wg0 is up\nMAINPID=42');
  manager.stopping();
  assert.equal(listener.next(), 'STOPPING=1');
  assert.deepEqual(env, { PATH: '/bin' });
});

test('sd_notify: an abstract socket is spoken to as well', { skip }, (t) => {
  const listener = listenForNotices(t, true);
  serviceManager({ NOTIFY_SOCKET: listener.path }).stopping();
  assert.equal(listener.next(), 'STOPPING=1');
});

test(
  'sd_notify: with a watchdog the service shows its pulse, twice as often as it must',
  { skip },
  async (t) => {
    const listener = listenForNotices(t);
    t.mock.timers.enable({ apis: ['setInterval'] });
    serviceManager({ NOTIFY_SOCKET: listener.path, WATCHDOG_USEC: '30000000' }).ready('x');
    listener.next();
    t.mock.timers.tick(14_999);
    assert.equal(listener.next(), undefined);
    t.mock.timers.tick(1);
    assert.equal(listener.next(), 'WATCHDOG=1');
    t.mock.timers.tick(15_000);
    assert.equal(listener.next(), 'WATCHDOG=1');
    t.mock.timers.reset();
    await until(() => listener.next() === undefined);
  },
);

test('sd_notify: a watchdog of another process, or none, asks for no pulse', { skip }, (t) => {
  const listener = listenForNotices(t);
  t.mock.timers.enable({ apis: ['setInterval'] });
  for (const env of [{ WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1' }, {}, { WATCHDOG_USEC: 'x' }]) {
    serviceManager({ NOTIFY_SOCKET: listener.path, ...env }, 42).ready('x');
    listener.next();
    t.mock.timers.tick(10_000_000);
    assert.equal(listener.next(), undefined);
  }
});

test('sd_notify: without systemd, or with a socket that is gone, nothing happens', { skip }, () => {
  assert.equal(serviceManager({}), noServiceManager);
  assert.equal(serviceManager({ NOTIFY_SOCKET: '/nonexistent/notify' }), noServiceManager);
  assert.equal(serviceManager({ NOTIFY_SOCKET: 'vsock:2:1' }), noServiceManager);
  noServiceManager.ready('x');
});

test('unix datagrams: a path that does not fit is an error that names it', { skip }, () => {
  assert.throws(() => new UnixDatagramSender(`/${'x'.repeat(120)}`), /connect to \/xxx/);
});
