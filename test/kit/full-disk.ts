// A gateway whose disk fills up and is freed again, in a mount namespace of its own (see full-disk.test.ts). Exits with 0
// when everything was as it should. Arguments: an empty directory to mount on, and which case.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../src/core/errors.ts';
import type { Logger } from '../../src/core/log.ts';
import { EventSink } from '../../src/link/event-sink.ts';
import { STATUS } from '../../src/link/grpc-status.ts';
import { DEFAULT_JOURNAL_LIMITS, Followers } from '../../src/link/journal.ts';
import { LogReceiver } from '../../src/link/log-receiver.ts';
import { removeMachine } from '../../src/link/machine-admin.ts';
import { SqliteJournal } from '../../src/link/sqlite-journal.ts';
import { SqliteStore } from '../../src/link/sqlite-store.ts';
import { firstStart } from '../../src/link/token-admin.ts';
import { FakeClock } from './clock.ts';
import { CALLER, callOf, PeerList, randomKey, startGatewayOn } from './gateway.ts';
import { seededRandom } from './random.ts';

const [mountPoint = '', which = ''] = process.argv.slice(2);
const state = join(mountPoint, 'state');
const filler = join(mountPoint, 'filler');
const random = seededRandom(1);
const INTERNAL = { code: STATUS.INTERNAL, message: 'internal server error' };

/** Takes all the room there is, to the last byte. */
function fill(): void {
  const file = openSync(filler, 'w');
  try {
    for (const size of [65_536, 4_096, 1]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    }
  } finally {
    closeSync(file);
  }
}

const makeRoom = () => rmSync(filler);

interface Line {
  readonly event: string;
  readonly fields: object;
}

function recorder(lines: Line[]): Logger {
  const logger: Logger = {
    log: (_level, event, fields = {}) => void lines.push({ event, fields }),
    child: () => logger,
    isEnabled: () => true,
  } as Logger;
  return logger;
}

async function gatewayOnDisk() {
  const store = SqliteStore.open(state);
  await store.commit(firstStart(await store.load(), random, 0, 'default'));
  const device = new PeerList();
  const lines: Line[] = [];
  const gateway = await startGatewayOn(store, random, recorder(lines), device);
  return { store, device, lines, gateway };
}

type OnDisk = Awaited<ReturnType<typeof gatewayOnDisk>>;

/** Machines join until one is refused; how many there are then. */
async function joinUntilRefused({ gateway }: OnDisk): Promise<number> {
  for (let n = 0; ; n++) {
    const answer = await gateway.provision(callOf(`many-${n}`, randomKey(random), 'default'), CALLER);
    if (!('code' in answer)) continue;
    assert.deepEqual(answer, INTERNAL);
    return gateway.registry.machineCount;
  }
}

/** What a gateway does that cannot write, whatever the reason. */
async function assertServes(on: OnDisk, keyOfFirst: string, problem: RegExp): Promise<void> {
  const { gateway, device, lines, store } = on;
  const count = await joinUntilRefused(on);
  const known = await gateway.provision(callOf('first', keyOfFirst, 'default'), CALLER);
  assert.ok(!('code' in known), 'a known machine is served');
  assert.equal(device.size, count);
  assert.equal((await store.load()).machines.length, count, 'refused, and there nevertheless');
  for (let n = 0; n < 3; n++) {
    assert.deepEqual(await gateway.provision(callOf('new', randomKey(random), 'default'), CALLER), INTERNAL);
  }
  const failures = lines.filter(({ event }) => event === 'store_failed');
  assert.equal(failures.length, 1, 'said once');
  assert.match(JSON.stringify(failures[0]?.fields), problem);
  assert.ok(!lines.some(({ event }) => event === 'provision_failed'));
  assert.ok(gateway.storeProblem?.message.startsWith(store.path));
  const first = gateway.registry.machine('first');
  assert.ok(first);
  await assert.rejects(gateway.commit(removeMachine(first)), (error: AppError) => {
    assert.match(`${error.message} ${error.hint ?? ''}`, problem);
    return true;
  });
  assert.ok(gateway.registry.machine('first'));
}

const CASES: Readonly<Record<string, () => Promise<void>>> = {
  /** The disk is full, then it is not. */
  async full() {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'culvert-test', mountPoint]);
    const on = await gatewayOnDisk();
    const key = randomKey(random);
    assert.ok(!('code' in (await on.gateway.provision(callOf('first', key, 'default'), CALLER))));
    for (let round = 0; round < 3; round++) {
      fill();
      await assertServes(on, key, /state\.db: its file system is full.*make room in \S+\/state/);
      makeRoom();
      const name = `after ${round}`.replace(' ', '-');
      assert.ok(
        !('code' in (await on.gateway.provision(callOf(name, randomKey(random), 'default'), CALLER))),
      );
      assert.equal(on.gateway.storeProblem, undefined);
      assert.equal(on.lines.filter(({ event }) => event === 'store_works_again').length, 1);
      on.lines.length = 0;
    }
    const count = on.gateway.registry.machineCount;
    fill();
    await on.store.close();
    // Where there is no room to begin in, the place and the fix are named.
    assert.throws(() => SqliteStore.open(join(mountPoint, 'other')), {
      code: 'io',
      message: /other\/\S+: its file system is full/,
    });
    makeRoom();
    const after = await gatewayOnDisk();
    assert.equal(after.gateway.registry.machineCount, count);
    await after.store.close();
  },

  /** Logs and events while the disk is full: bounded in memory, events come again. */
  async journal() {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'culvert-test', mountPoint]);
    const journal = SqliteJournal.open(state, DEFAULT_JOURNAL_LIMITS);
    const parts = {
      clock: new FakeClock(),
      journal,
      followers: new Followers(),
      resolve: () => ({ kind: 'machine', id: 'm' }) as const,
    };
    const logs = new LogReceiver(parts);
    const events = new EventSink({ ...parts, rateLimit: { perSecond: 1e6, burst: 1e6 } });
    fill();
    const line = Buffer.from('x'.repeat(1_000));
    for (let n = 0; n < 5_000; n++) logs.datagram('', line);
    assert.ok((journal.lostEntries ?? 0) >= 4_000, `${journal.lostEntries} lost`);
    assert.match(journal.problem?.message ?? '', /journal\.db: its file system is full/);
    const event = { id: 'e1', actorId: '', data: undefined };
    assert.throws(() => events.publish(event, ''), AppError);
    assert.ok(journal.tail('m', 'log', 10).length <= 10);
    makeRoom();
    assert.equal(events.publish(event, ''), undefined);
    assert.equal(journal.problem, undefined);
    assert.equal(journal.tail('m', 'event', 10).length, 1);
    logs.datagram('', Buffer.from('the last'));
    assert.equal(journal.tail('m', 'log', 1)[0]?.body, 'the last');
    journal.close();
  },

  /** The kernel makes the file system read-only after an error, as ext4 does. */
  async readonly() {
    const image = `${mountPoint}.img`;
    execFileSync('truncate', ['-s', '16M', image]);
    execFileSync('mkfs.ext4', ['-q', image]);
    execFileSync('mount', ['-o', 'loop,errors=remount-ro', image, mountPoint]);
    const on = await gatewayOnDisk();
    const key = randomKey(random);
    assert.ok(!('code' in (await on.gateway.provision(callOf('first', key, 'default'), CALLER))));
    execFileSync('sync', ['-f', mountPoint]);
    execFileSync('mount', ['-o', 'remount,abort', mountPoint]);
    await assertServes(on, key, /state\.db: cannot be (read or )?written/);
    assert.throws(() => SqliteStore.open(join(mountPoint, 'other')), { code: 'permission' });
    await on.store.close();
    execFileSync('umount', ['-l', mountPoint]);
  },

  /** Started on a file system that is read-only from the start. */
  async 'readonly-start'() {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'culvert-test', mountPoint]);
    const child = process.execPath;
    // In a process of its own: only its end closes the files for good, and an open one keeps the mount writable.
    execFileSync(child, [process.argv[1] as string, mountPoint, 'make']);
    execFileSync('mount', ['-o', 'remount,ro', mountPoint]);
    assert.throws(
      () => SqliteStore.open(state),
      (error: AppError) =>
        error.code === 'permission' &&
        error.message.startsWith(state) &&
        /read-only file system/.test(error.hint ?? ''),
    );
    execFileSync('mount', ['-o', 'remount,rw', mountPoint]);
    const store = SqliteStore.open(state);
    assert.equal((await store.load()).tokens.length, 1);
    await store.close();
  },

  async make() {
    await (await gatewayOnDisk()).store.close();
  },
};

const run = CASES[which];
if (!run) throw new Error(`no case "${which}"`);
await run();
