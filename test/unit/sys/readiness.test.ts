import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hasLibc, libc } from '../../../src/sys/libc.ts';
import { EventFd, POLLIN, PollSet } from '../../../src/sys/poll.ts';
import { fdWatcher } from '../../../src/sys/readiness.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs Linux and koffi';
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Runs a module of its own that starts from this build and prints; returns what it printed and its exit code. */
function run(body: string): { stdout: string; stderr: string; status: number | null } {
  const at = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
  const code = `
    import { fdWatcher } from ${at('../../../src/sys/readiness.js')};
    import { EventFd } from ${at('../../../src/sys/poll.js')};
    ${body}`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    timeout: 20_000,
  });
}

describe('readiness', { skip }, () => {
  test('a descriptor that becomes readable wakes its consumer, a drained one does not', async () => {
    const event = new EventFd();
    let calls = 0;
    const woken = new Promise<void>((resolve) => {
      const watch = fdWatcher.watch(event.fd, () => {
        calls++;
        assert.ok(event.clear());
        watch.close();
        resolve();
      });
    });
    await turn();
    assert.equal(calls, 0);
    event.raise();
    await woken;
    await turn();
    assert.equal(calls, 1);
    event.close();
  });

  test('a consumer that leaves some for later is called again, and other events come in between', async () => {
    const event = new EventFd();
    event.raise();
    const turns: number[] = [];
    let turnsSoFar = 0;
    const watch = fdWatcher.watch(event.fd, () => turns.push(turnsSoFar));
    while (turns.length < 3) {
      await turn();
      turnsSoFar++;
    }
    watch.close();
    assert.equal(new Set(turns).size, 3);
    await turn();
    await turn();
    assert.equal(turns.length, 3);
    event.close();
  });

  test('no call comes after close, even when the descriptor was readable already', async () => {
    const event = new EventFd();
    event.raise();
    const watch = fdWatcher.watch(event.fd, () => assert.fail('called after close'));
    watch.close();
    watch.close();
    for (let i = 0; i < 5; i++) await turn();
    event.close();
  });

  test('promises settle in the consumer as in any callback', async () => {
    const event = new EventFd();
    event.raise();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      const watch = fdWatcher.watch(event.fd, () => {
        watch.close();
        Promise.resolve()
          .then(() => order.push('microtask'))
          .catch(assert.fail);
        setImmediate(() => {
          order.push('next turn');
          resolve();
        });
      });
    });
    assert.deepEqual(order, ['microtask', 'next turn']);
    event.close();
  });

  test('a descriptor that stays broken does not keep the loop busy for ever', async () => {
    // The write end of a pipe without a reader reports nothing but an error.
    const result = run(`
      import { libc } from ${JSON.stringify(fileURLToPath(new URL('../../../src/sys/libc.js', import.meta.url)))};
      const { koffi } = libc();
      const pair = new Int32Array(2);
      koffi.load(null).func('int pipe(void *fds)')(pair);
      libc().close(pair[0]);
      let calls = 0;
      fdWatcher.watch(pair[1], () => { calls++; });
      setTimeout(() => { console.log(calls); process.exit(0); }, 300);`);
    assert.equal(result.stderr, '');
    assert.equal(Number(result.stdout), 16);
  });

  test('watches take no thread of the pool: names and files resolve beside ten of them', async () => {
    const events = Array.from({ length: 10 }, () => new EventFd());
    const watches = events.map((event) => fdWatcher.watch(event.fd, () => assert.fail('nothing was raised')));
    assert.equal((await lookup('127.0.0.1')).address, '127.0.0.1');
    assert.ok((await readFile(fileURLToPath(import.meta.url))).length > 0);
    for (const watch of watches) watch.close();
    for (const event of events) event.close();
  });

  test('a live watch keeps the process alive, without being referenced; a closed one does not', () => {
    const result = run(`
      const event = new EventFd();
      (() => { fdWatcher.watch(event.fd, () => { console.log('woken'); process.exit(7); }); })();
      global.gc?.();
      setTimeout(() => { global.gc?.(); event.raise(); }, 50).unref();
      const idle = new EventFd();
      fdWatcher.watch(idle.fd, () => {}).close();`);
    // The unreferenced timer still fires only because the first watch holds the loop open.
    assert.deepEqual([result.stdout, result.status], ['woken\n', 7]);
    assert.equal(run(`fdWatcher.watch(new EventFd().fd, () => {}).close(); console.log('end');`).status, 0);
  });

  test('an exception of the consumer ends the process like any other', () => {
    const result = run(`
      const event = new EventFd();
      event.raise();
      fdWatcher.watch(event.fd, () => { throw new Error('consumer broke'); });`);
    assert.notEqual(result.status, 0);
    assert.match(result.stderr, /consumer broke/);
  });
});

describe('poll and eventfd', { skip }, () => {
  test('poll times out, and returns at once for a raised event, telling which', () => {
    const [a, b] = [new EventFd(), new EventFd()];
    const set = new PollSet([
      { fd: a.fd, events: POLLIN },
      { fd: b.fd, events: POLLIN },
    ]);
    assert.equal(set.wait(0), 0);
    b.raise();
    b.raise();
    assert.equal(set.wait(-1), 1);
    assert.deepEqual([set.ready(0), set.ready(1)], [0, POLLIN]);
    set.setEvents(1, 0);
    assert.equal(set.wait(0), 0);
    assert.ok(b.clear());
    assert.ok(!b.clear());
    a.close();
    b.close();
  });

  test('an event is shared by descriptor number', () => {
    const event = new EventFd();
    new EventFd(event.fd).raise();
    assert.ok(event.clear());
    event.close();
    assert.throws(() => event.raise(), /write eventfd: EBADF/);
  });

  test('errors of system calls are read right after them', () => {
    assert.equal(libc().close(-1), -1);
    assert.equal(libc().errno(), 9);
  });
});
