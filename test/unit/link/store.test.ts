import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  existsSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../../src/core/errors.ts';
import { MemoryStore } from '../../../src/link/memory-store.ts';
import { SqliteFile } from '../../../src/link/sqlite.ts';
import { SqliteStore } from '../../../src/link/sqlite-store.ts';
import type { Store } from '../../../src/link/store.ts';
import { machineRecord, type OpenStore, storeContract, tokenRecord } from '../../contracts/store.ts';
import { seededRandom } from '../../kit/random.ts';

function inMemory(store: Store): OpenStore {
  return {
    store,
    reopen: async () => inMemory(new MemoryStore(await store.load())),
    dispose: () => store.close(),
  };
}

function onDisk(directory: string): OpenStore {
  const store = SqliteStore.open(directory);
  return {
    store,
    reopen: async () => {
      await store.close();
      return onDisk(directory);
    },
    dispose: async () => {
      await store.close();
      rmSync(directory, { recursive: true });
    },
  };
}

const temporary = () => mkdtempSync(join(tmpdir(), 'culvert-store-'));

storeContract('memory', async () => inMemory(new MemoryStore()));
storeContract('sqlite', async () => onDisk(temporary()));

/** A state directory with three machines, closed in good order. */
async function sample(): Promise<{ directory: string; path: string }> {
  const directory = temporary();
  const store = SqliteStore.open(directory);
  for (const name of ['a', 'b', 'c']) {
    await store.commit([{ kind: 'put_machine', record: machineRecord(name), before: undefined }]);
  }
  await store.close();
  return { directory, path: store.path };
}

test('sqlite: the file belongs to its owner alone, and to one process', async () => {
  const directory = temporary();
  const store = SqliteStore.open(join(directory, 'made', 'on', 'the', 'way'));
  assert.equal(statSync(store.path).mode & 0o777, 0o600);
  const second = () => SqliteStore.open(join(directory, 'made', 'on', 'the', 'way'));
  assert.throws(second, { code: 'in_use', message: /state\.lock: another process has it open/ });
  await store.close();
  await second().close();
  rmSync(directory, { recursive: true });
});

test('sqlite: a reader sees what is stored, while a gateway runs and after it', async () => {
  const { directory, path } = await sample();
  assert.equal(SqliteStore.read(directory).machines.length, 3);
  const store = SqliteStore.open(directory);
  await store.commit([{ kind: 'put_machine', record: machineRecord('d'), before: undefined }]);
  assert.equal(SqliteStore.read(directory).machines.length, 4);
  await store.close();
  rmSync(path);
  assert.throws(() => SqliteStore.read(directory), { code: 'not_found' });
  rmSync(directory, { recursive: true });
});

test('sqlite: nothing that was acknowledged is lost when the process is killed at any point', async (t) => {
  const directory = temporary();
  const random = seededRandom(Date.now());
  const writer = fileURLToPath(new URL('../../kit/store-writer.js', import.meta.url));
  let acknowledged = -1;
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [writer, directory, String(acknowledged + 1)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const last = acknowledged + 1 + (random.u32() % 200);
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged === last) child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    assert.equal(child.signalCode, 'SIGKILL');
    const store = SqliteStore.open(directory);
    const { machines, uses } = await store.load();
    const ids = machines.map(({ id }) => Number(id)).toSorted((a, b) => a - b);
    // The one under way may be there or not, with its use or without both.
    assert.ok(
      ids.length === acknowledged + 1 || ids.length === acknowledged + 2,
      `${ids.length}, ${acknowledged}`,
    );
    assert.deepEqual(
      ids,
      ids.map((_, i) => i),
    );
    assert.equal(uses.length, ids.length);
    acknowledged = ids.length - 1;
    await store.close();
  }
  t.diagnostic(`${acknowledged + 1} machines in 6 rounds`);
  rmSync(directory, { recursive: true });
});

test('sqlite: a process killed while it made the file does not stand in the way of the next one', async () => {
  const directory = temporary();
  writeFileSync(join(directory, 'state.db.new'), 'half');
  writeFileSync(join(directory, 'state.db.new-journal'), 'half');
  await SqliteStore.open(directory).close();
  assert.ok(!existsSync(join(directory, 'state.db.new')));
  rmSync(directory, { recursive: true });
});

/** Opens or reads; the damage must be named together with the file, and the file must stay as it is. */
async function assertDamaged(directory: string, path: string, what: RegExp): Promise<void> {
  const before = existsSync(path) ? readFileSync(path) : undefined;
  assert.throws(
    () => SqliteStore.open(directory),
    (error: unknown) => {
      assert.ok(error instanceof AppError, String(error));
      assert.ok(error.message.startsWith(path), error.message);
      assert.match(error.message, what);
      return true;
    },
  );
  assert.deepEqual(existsSync(path) ? readFileSync(path) : undefined, before);
  rmSync(directory, { recursive: true });
}

test('sqlite: an emptied file is damage and no fresh start', async () => {
  const { directory, path } = await sample();
  truncateSync(path, 0);
  await assertDamaged(directory, path, /not a state file|damaged/);
});

test('sqlite: a file cut short is damaged', async () => {
  const { directory, path } = await sample();
  truncateSync(path, 5000);
  await assertDamaged(directory, path, /damaged/);
});

test('sqlite: something else under the name is refused', async () => {
  const { directory, path } = await sample();
  writeFileSync(path, 'not a database, but long enough to be read as a header '.repeat(100));
  await assertDamaged(directory, path, /damaged/);
});

test('sqlite: a foreign database is refused', async () => {
  const directory = temporary();
  const path = join(directory, 'state.db');
  const file = new SqliteFile(path);
  file.exec('CREATE TABLE t (a)');
  file.close();
  await assertDamaged(directory, path, /not a state file of culvert/);
});

test('sqlite: a file of a newer version is refused', async () => {
  const { directory, path } = await sample();
  const file = new SqliteFile(path);
  file.exec('PRAGMA user_version = 99');
  file.close();
  await assertDamaged(directory, path, /schema version 99/);
});

test('sqlite: a log without its file is damage', async () => {
  const { directory, path } = await sample();
  rmSync(path);
  writeFileSync(`${path}-wal`, 'x');
  await assertDamaged(directory, path, /missing/);
});

test('sqlite: a single changed character in a record is found and the record named', async () => {
  const { directory, path } = await sample();
  const bytes = readFileSync(path);
  const at = bytes.indexOf('fd00::b');
  assert.ok(at > 0);
  bytes[at + 5] = 'x'.charCodeAt(0);
  writeFileSync(path, bytes);
  await assertDamaged(directory, path, /damaged: machine b is not what was written/);
});

test('sqlite: a changed use of a token is found', async () => {
  const { directory, path } = await sample();
  const store = SqliteStore.open(directory);
  await store.commit([
    { kind: 'put_token', record: tokenRecord('t'), before: undefined },
    { kind: 'use_token', token: 't', subject: 'machine:a' },
  ]);
  await store.close();
  const file = new SqliteFile(path);
  file.exec(`UPDATE token_uses SET subject = 'machine:b'`);
  file.close();
  await assertDamaged(directory, path, /use of a token/);
});

test('sqlite: a commit that the file does not take is not half there', async () => {
  const { directory, path } = await sample();
  const store = SqliteStore.open(directory);
  // A subject that the table does not take makes the last write of the transaction fail.
  await assert.rejects(
    store.commit([
      { kind: 'put_machine', record: machineRecord('d'), before: undefined },
      { kind: 'deny', subject: null as unknown as string },
    ]),
    AppError,
  );
  assert.equal((await store.load()).machines.length, 3);
  assert.equal(
    await store.commit([{ kind: 'put_machine', record: machineRecord('d'), before: undefined }]),
    undefined,
  );
  await store.close();
  assert.ok(existsSync(path));
  rmSync(directory, { recursive: true });
});
