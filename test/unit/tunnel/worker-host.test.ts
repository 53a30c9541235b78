import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { hasLibc } from '../../../src/sys/libc.ts';
import { ACTIVITY, type LaneEvents } from '../../../src/tunnel/lane/control.ts';
import { createWorkerHost } from '../../../src/tunnel/lane/worker-host.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs 64-bit Linux';

/** A host without TUN and sockets; what it reports is awaited by name. */
function startHost(after: (ms: number, task: () => void) => void = (_ms, task) => setImmediate(task)) {
  const reports: unknown[][] = [];
  let wake = () => {};
  const report = (...report: unknown[]): void => {
    reports.push(report);
    wake();
  };
  const events: LaneEvents = {
    handshake: (...args) => report('handshake', ...args),
    activity: (...args) => report('activity', ...args),
    confirmed: (...args) => report('confirmed', ...args),
    roamed: (...args) => report('roamed', ...args),
  };
  const host = createWorkerHost(
    {
      arena: new Arena({ bytes: 16 << 20, shared: true }),
      tunFd: -1,
      tunFormat: 'plain',
      aead: 'wasm',
      longestText: 1440,
      gso: true,
      gro: true,
      clock: systemClock,
      // A thread that died is replaced without delay here.
      after,
      onRestart: (cause) => report('restarted', cause.message),
    },
    events,
  );
  const next = async (): Promise<unknown[]> => {
    while (reports.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return reports.shift() as unknown[];
  };
  return { host, next };
}

test('worker host: commands reach the lane in its thread, events come back', { skip }, async () => {
  const { host, next } = startHost();
  host.addPeer(7);
  host.sendKeepalive(7);
  assert.deepEqual(await next(), ['activity', 7, ACTIVITY.needsSession]);
  await host.close();
});

test('worker host: sockets are handed over before the promise resolves', { skip }, async () => {
  const { host } = startHost();
  await host.useSockets(-1, -1);
  await host.close();
});

test(
  'worker host: a thread that dies is reported and replaced, and the new one works',
  { skip },
  async () => {
    const { host, next } = startHost();
    host.addPeer(7);
    host.addAllowedIp(7, undefined as never, 8);
    const [event, cause] = await next();
    assert.equal(event, 'restarted');
    assert.match(String(cause), /undefined/);
    host.addPeer(8);
    host.sendKeepalive(8);
    assert.deepEqual(await next(), ['activity', 8, ACTIVITY.needsSession]);
    await host.close();
  },
);

test('worker host: sockets asked for while the thread is dead do not wait for ever', { skip }, async () => {
  const { host, next } = startHost();
  host.addAllowedIp(7, undefined as never, 8);
  const asked = host.useSockets(-1, -1);
  assert.equal((await next())[0], 'restarted');
  await asked;
  await host.close();
});

test('worker host: it can be closed while its thread is dead', { skip }, async () => {
  let died = (): void => {};
  const death = new Promise<void>((resolve) => (died = resolve));
  const { host } = startHost(() => died());
  host.addAllowedIp(7, undefined as never, 8);
  await death;
  await host.close();
});

test('worker host: session keys given by the caller stay as they are', { skip }, async () => {
  const { host } = startHost();
  const sendKey = new Uint8Array(32).fill(1);
  host.addPeer(1);
  const init = {
    peer: 1,
    index: 5,
    remoteIndex: 6,
    receiveKey: new Uint8Array(32),
    isInitiator: true,
    createdAtMs: 0,
  };
  host.addKeypair({ ...init, sendKey });
  await Promise.resolve();
  assert.ok(
    sendKey.every((byte) => byte === 1),
    'the caller keeps its own array',
  );
  await host.close();
});
