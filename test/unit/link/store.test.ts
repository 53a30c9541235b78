import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { AppError } from '../../../src/core/errors.ts';
import { MemoryStore } from '../../../src/link/memory-store.ts';
import { DEFAULT_JOURNAL_LIMITS } from '../../../src/link/journal.ts';
import { SqliteFile } from '../../../src/link/sqlite.ts';
import { SqliteJournal } from '../../../src/link/sqlite-journal.ts';
import { StateRows } from '../../../src/link/sqlite-rows.ts';
import { SqliteStore } from '../../../src/link/sqlite-store.ts';
import type { Store } from '../../../src/link/store.ts';
import {
  comparable,
  machineRecord,
  type OpenStore,
  storeContract,
  tokenRecord,
} from '../../contracts/store.ts';
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

test('sqlite: a second open in this process, which is refused, does not let another process in', async () => {
  const directory = temporary();
  const store = SqliteStore.open(directory);
  assert.throws(() => SqliteStore.open(directory), { code: 'in_use' });
  const module = new URL('../../../src/link/sqlite-store.js', import.meta.url).href;
  const script = `const { SqliteStore } = await import(${JSON.stringify(module)});
    try { SqliteStore.open(${JSON.stringify(directory)}); console.log('opened'); } catch (error) { console.log(error.code); }`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(stdout.trim(), 'in_use');
  await store.close();
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
  const log = existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : undefined;
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
  if (before) {
    assert.deepEqual(existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : undefined, log);
    assertCopied(directory, before, log);
  }
  rmSync(directory, { recursive: true });
}

/** However often it is tried, there is one copy, for its owner alone. */
function assertCopied(directory: string, bytes: Buffer, log: Buffer | undefined): void {
  const again = () => SqliteStore.open(directory);
  assert.throws(again, {
    code: 'corrupt',
    exitCode: 3,
    message: /a copy is \S+\/state\.db\.corrupt-\d{8}T\d{6}Z$/,
  });
  assert.throws(again, (error: AppError) => /cp BACKUP \S+\/state\.db /.test(error.hint ?? ''));
  const copies = readdirSync(directory).filter((name) => /\.corrupt-\d+T\d+Z$/.test(name));
  assert.equal(copies.length, 1, String(copies));
  const copy = join(directory, String(copies[0]));
  assert.deepEqual(readFileSync(copy), bytes);
  assert.equal(statSync(copy).mode & 0o777, 0o600);
  if (log) assert.deepEqual(readFileSync(`${copy}-wal`), log);
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
  chmodSync(path, 0o600);
  await assertDamaged(directory, path, /not a state file of culvert/);
});

test('sqlite: a file of a newer version is refused', async () => {
  const { directory, path } = await sample();
  const file = new SqliteFile(path);
  file.exec('PRAGMA user_version = 99');
  file.close();
  const before = readFileSync(path);
  assert.throws(() => SqliteStore.open(directory), { code: 'unavailable', message: /schema version 99/ });
  assert.deepEqual(readFileSync(path), before);
  rmSync(directory, { recursive: true });
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

test('sqlite: everything in the directory is for its owner alone, whatever the umask', async (t) => {
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  const directory = join(temporary(), 'state');
  const store = SqliteStore.open(directory);
  const journal = SqliteJournal.open(directory, DEFAULT_JOURNAL_LIMITS);
  await store.commit([{ kind: 'deny', subject: 'x' }]);
  journal.append({ machine: 'a', kind: 'log', atMs: 0, body: 'x' });
  journal.flush();
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  for (const name of readdirSync(directory)) {
    assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
  }
  journal.close();
  await store.close();
});

test('sqlite: files that others can open, or that are another user’s, are refused', async () => {
  const { directory, path } = await sample();
  for (const mode of [0o640, 0o604, 0o660]) {
    chmodSync(path, mode);
    assert.throws(() => SqliteStore.open(directory), {
      code: 'permission',
      message: `${path} has mode ${mode.toString(8)}: others can open it`,
    });
  }
  chmodSync(path, 0o600);
  if (process.geteuid?.() === 0) {
    chownSync(path, 12_345, 12_345);
    assert.throws(() => SqliteStore.open(directory), {
      code: 'permission',
      message: `${path} belongs to user 12345, this is user 0`,
    });
    chownSync(path, 0, 0);
  }
  await SqliteStore.open(directory).close();
  rmSync(directory, { recursive: true });
});

/** What a gateway leaves that was killed: a file, and a log that it depends on. */
async function killed(): Promise<{ directory: string; path: string }> {
  const { directory, path } = await sample();
  const store = SqliteStore.open(directory);
  for (let n = 0; n < 20; n++) {
    await store.commit([{ kind: 'put_machine', record: machineRecord(`1${n}`), before: undefined }]);
  }
  const copy = temporary();
  for (const name of ['state.db', 'state.db-wal']) cpSync(join(directory, name), join(copy, name));
  await store.close();
  rmSync(directory, { recursive: true });
  return { directory: copy, path: path.replace(directory, copy) };
}

test('sqlite: a damaged file keeps the log that belongs to it, untouched', async () => {
  const { directory, path } = await killed();
  const bytes = readFileSync(path);
  bytes[bytes.indexOf('fd00::b') + 5] = 0x78;
  writeFileSync(path, bytes);
  const log = readFileSync(`${path}-wal`);
  // The page is in the log too, newer; without that the damage would be healed.
  const at = log.lastIndexOf('fd00::b');
  if (at > 0) truncateSync(`${path}-wal`, 32);
  await assertDamaged(directory, path, /machine b is not what was written/);
});

/** A state file with these bytes is refused as it is, or has everything that was stored. */
async function assertFoundOrIntact(bytes: Uint8Array, stored: unknown, what: string): Promise<void> {
  const directory = temporary();
  const path = join(directory, 'state.db');
  writeFileSync(path, bytes, { mode: 0o600 });
  let store;
  try {
    store = SqliteStore.open(directory);
  } catch (error) {
    assert.ok(error instanceof AppError && error.message.startsWith(path), `${what}: ${String(error)}`);
    assert.ok(error.code === 'corrupt' || error.code === 'unavailable', `${what}: ${String(error)}`);
    assert.deepEqual(Uint8Array.from(readFileSync(path)), bytes);
  }
  if (store) assert.deepEqual(comparable(await store.load()), stored, what);
  await store?.close();
  rmSync(directory, { recursive: true });
}

async function storedIn(directory: string): Promise<unknown> {
  const store = SqliteStore.open(directory);
  const stored = comparable(await store.load());
  await store.close();
  return stored;
}

test('sqlite: one flipped bit anywhere is found, or changes nothing', async () => {
  const { directory, path } = await sample();
  const stored = await storedIn(directory);
  const intact = Uint8Array.from(readFileSync(path));
  const random = seededRandom(5);
  for (let n = 0; n < 300; n++) {
    const bytes = Uint8Array.from(intact);
    const at = random.u32() % bytes.length;
    bytes[at] = (bytes[at] as number) ^ (1 << (random.u32() % 8));
    await assertFoundOrIntact(bytes, stored, `byte ${at}`);
  }
  rmSync(directory, { recursive: true });
});

test('sqlite: a file cut at any length is found, or nothing of it is missing', async () => {
  const { directory, path } = await sample();
  const stored = await storedIn(directory);
  const intact = Uint8Array.from(readFileSync(path));
  for (let length = 0; length < intact.length; length += 1_021) {
    await assertFoundOrIntact(intact.slice(0, length), stored, `cut to ${length}`);
  }
  rmSync(directory, { recursive: true });
});

test('sqlite: a log cut at any length, as a power failure does, leaves a state that was once acknowledged', async () => {
  const { directory, path } = await killed();
  const { size } = statSync(`${path}-wal`);
  let seen = 0;
  for (let length = size % 2_039; length <= size; length += 2_039) {
    const copy = temporary();
    for (const name of ['state.db', 'state.db-wal']) cpSync(join(directory, name), join(copy, name));
    truncateSync(join(copy, 'state.db-wal'), length);
    const store = SqliteStore.open(copy);
    const added = (await store.load()).machines.length - 3;
    assert.ok(added >= seen, `${added} after ${seen}`);
    seen = added;
    await store.close();
    rmSync(copy, { recursive: true });
  }
  assert.equal(seen, 20);
  rmSync(directory, { recursive: true });
});

test('sqlite: two records with one address are damage, even where each is intact', async () => {
  const { directory, path } = await sample();
  const file = new SqliteFile(path);
  const twin = machineRecord('z', { nodeAddress: 'fd00::b' });
  new StateRows(file).write({ kind: 'put_machine', record: twin, before: undefined });
  file.close();
  await assertDamaged(
    directory,
    path,
    /damaged: the address of machine z \(fd00::b\) belongs to another record/,
  );
});
