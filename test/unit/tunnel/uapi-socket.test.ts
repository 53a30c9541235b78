import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AppError } from '../../../src/core/errors.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { UapiSocket, inheritUapiSocket, openUapiSocket, uapiPath } from '../../../src/tunnel/uapi-socket.ts';
import { identify, watchFileGone } from '../../../src/tunnel/uapi-watch.ts';
import { FakeDevice } from '../../kit/fake-device.ts';
import { fakeZones } from '../../kit/zones.ts';

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-uapi-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

interface Served {
  readonly path: string;
  readonly socket: UapiSocket;
  readonly device: FakeDevice;
  /** Resolves when the server notices that its file is gone. */
  readonly removed: Promise<void>;
}

async function serve(t: TestContext): Promise<Served> {
  const path = uapiPath('wg0', join(temporaryDirectory(t), 'run'));
  const socket = await openUapiSocket(path);
  t.after(() => socket.close());
  const device = new FakeDevice();
  const removed = new Promise<void>((resolve) => {
    socket.serve({ device, zones: fakeZones, logger: silentLogger }, resolve);
  });
  return { path, socket, device, removed };
}

async function client(path: string): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.setEncoding('utf8');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Everything the server says until it closes, or until `end` appears. */
async function hear(socket: Socket, end?: string): Promise<string> {
  let heard = '';
  for await (const text of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<string>) {
    heard += text;
    if (end !== undefined && heard.endsWith(end)) break;
  }
  return heard;
}

/** A process that ended while it listened on `path`. */
function leaveStale(path: string): void {
  const script = 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, 9))';
  spawnSync(process.execPath, ['-e', script, path]);
  assert.ok(lstatSync(path).isSocket());
}

test('the directory has mode 0755 and the socket 0700, whatever the umask', async (t) => {
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const { path } = await serve(t);
  assert.equal(lstatSync(path).mode & 0o7777, 0o700);
  assert.equal(lstatSync(join(path, '..')).mode & 0o7777, 0o755);
  assert.equal(process.umask(), 0);
});

test('a client gets its answers and may stay for more', async (t) => {
  const { path } = await serve(t);
  const socket = await client(path);
  t.after(() => socket.destroy());
  socket.write('set=1\nlisten_port=7\n\n');
  assert.equal(await hear(socket, '\n\n'), 'errno=0\n\n');
  socket.write('get=1\n\n');
  assert.equal(await hear(socket, '\n\n'), 'listen_port=7\nerrno=0\n\n');
});

test('a client that closed its writing side still gets its answer', async (t) => {
  const { path, device } = await serve(t);
  const socket = await client(path);
  socket.end('set=1\nlisten_port=7\n');
  assert.equal(await hear(socket), 'errno=0\n\n');
  assert.equal(device.state().listenPort, 7);
});

test('an unknown operation closes the connection', async (t) => {
  const { path } = await serve(t);
  const socket = await client(path);
  socket.write('hello\n');
  assert.equal(await hear(socket), '');
});

test('ten clients at once, each writing single bytes, are all served', async (t) => {
  const { path, device } = await serve(t);
  const answers = Array.from({ length: 10 }, async (_, i) => {
    const socket = await client(path);
    for (const byte of `set=1\nlisten_port=${i}\n\nget=1\n\n`) socket.write(byte);
    socket.end();
    return hear(socket);
  });
  for (const answer of await Promise.all(answers))
    assert.match(answer, /^errno=0\n\n(listen_port=\d\n)?errno=0\n\n$/);
  assert.equal(device.changes.length, 10);
});

test('clients that vanish in the middle of a request or an answer harm nobody', async (t) => {
  const { path, device } = await serve(t);
  let open = () => {};
  device.gate = new Promise((resolve) => {
    open = resolve;
  });
  for (const text of ['', 'set=1\nlisten_port=7', 'get=1\n\n', 'set=1\nlisten_port=8\n\n']) {
    const socket = await client(path);
    socket.write(text);
    socket.destroy();
  }
  open();
  const socket = await client(path);
  socket.end('get=1\n\n');
  assert.match(await hear(socket), /errno=0\n\n$/);
});

test('a half request that is broken off is not applied', async (t) => {
  const { path, device } = await serve(t);
  const socket = await client(path);
  socket.end('set=1\nlisten_port=7');
  assert.equal(await hear(socket), 'errno=-71\n\n');
  assert.deepEqual(device.changes, []);
});

test('a large answer reaches a client that reads late', async (t) => {
  const { path, device } = await serve(t);
  const lines: string[] = [];
  for (let i = 0; i < 20_000; i++) lines.push(`allowed_ip=10.0.${i >> 8}.${i & 255}/32\n`);
  const socket = await client(path);
  t.after(() => socket.destroy());
  socket.write(`set=1\npublic_key=${'ab'.repeat(32)}\n${lines.join('')}\nget=1\n\n`);
  // Another client is served while the answer of the first does not fit into its socket.
  const other = await client(path);
  other.end('get=1\n\n');
  await hear(other);
  assert.ok((await hear(socket, '/32\nerrno=0\n\n')).includes(lines.join('')));
  assert.equal(device.changes.length, 1);
});

test('when too many clients hang about, the one silent for longest has to go', async (t) => {
  const { path } = await serve(t);
  const idle: Socket[] = [];
  t.after(() => idle.forEach((socket) => socket.destroy()));
  for (let i = 0; i < 64; i++) idle.push(await client(path));
  const [first] = idle as [Socket];
  first.write('get=1\n\n');
  assert.equal(await hear(first, '\n\n'), 'errno=0\n\n');
  const second = once(idle[1] as Socket, 'close');
  idle[1]?.resume().on('end', () => idle[1]?.destroy());
  const late = await client(path);
  late.end('get=1\n\n');
  assert.equal(await hear(late), 'errno=0\n\n');
  await second;
  first.write('get=1\n\n');
  assert.equal(await hear(first, '\n\n'), 'errno=0\n\n', 'the active one stays');
});

test('a live socket is refused', async (t) => {
  const { path } = await serve(t);
  await assert.rejects(openUapiSocket(path), (error) => error instanceof AppError && error.code === 'in_use');
  const socket = await client(path);
  socket.end('get=1\n\n');
  assert.equal(await hear(socket), 'errno=0\n\n', 'the first one still serves');
});

test('a stale socket is taken over', async (t) => {
  const path = join(temporaryDirectory(t), 'wg0.sock');
  leaveStale(path);
  const socket = await openUapiSocket(path);
  t.after(() => socket.close());
  assert.equal(lstatSync(path).mode & 0o7777, 0o700);
  (await client(path)).destroy();
});

test('a file that is no socket is left alone', async (t) => {
  const path = join(temporaryDirectory(t), 'wg0.sock');
  writeFileSync(path, 'precious');
  await assert.rejects(openUapiSocket(path), (error) => error instanceof AppError && error.code === 'in_use');
  assert.ok(lstatSync(path).isFile());
});

test('a path that does not fit into a socket address is refused by name', async (t) => {
  const path = join(temporaryDirectory(t), `${'x'.repeat(100)}.sock`);
  await assert.rejects(openUapiSocket(path), { code: 'usage' });
});

test('closing deletes the socket and ends the clients', async (t) => {
  const { path, socket } = await serve(t);
  const guest = await client(path);
  const gone = hear(guest);
  await socket.close();
  assert.ok(!existsSync(path));
  await gone;
  await socket.close();
});

test('closing leaves a socket alone that another process put in our place', async (t) => {
  const { path, socket, removed } = await serve(t);
  unlinkSync(path);
  await removed;
  const successor = await openUapiSocket(path);
  t.after(() => successor.close());
  await socket.close();
  assert.ok(existsSync(path));
});

test('deleting the socket is noticed', async (t) => {
  const { path, removed } = await serve(t);
  unlinkSync(path);
  await removed;
});

test('renaming the socket away is noticed', async (t) => {
  const { path, removed } = await serve(t);
  renameSync(path, `${path}.old`);
  await removed;
});

test('putting another socket in its place is noticed', async (t) => {
  const { path, removed } = await serve(t);
  leaveStale(`${path}.new`);
  renameSync(`${path}.new`, path);
  await removed;
});

test('deleting the whole directory is noticed', async (t) => {
  const { path, removed } = await serve(t);
  rmSync(join(path, '..'), { recursive: true });
  await removed;
});

test('without inotify the socket is looked at again and again', async (t) => {
  const path = join(temporaryDirectory(t), 'wg0.sock');
  writeFileSync(path, '');
  const identity = identify(path);
  assert.ok(identity);
  const exhausted = () => {
    throw Object.assign(new Error('too many watches'), { code: 'ENOSPC' });
  };
  // The polling timer alone does not keep the process alive.
  const alive = setInterval(() => {}, 1_000_000);
  t.after(() => clearInterval(alive));
  const gone = new Promise<void>((resolve) => {
    watchFileGone(path, identity, resolve, exhausted);
  });
  unlinkSync(path);
  await gone;
});

test('other files in the directory do not matter, and neither does a changed mode', async (t) => {
  const { path, removed } = await serve(t);
  let isRemoved = false;
  void removed.then(() => {
    isRemoved = true;
  });
  spawnSync('chmod', ['0770', path]);
  writeFileSync(join(path, '..', 'wg1.sock'), '');
  unlinkSync(join(path, '..', 'wg1.sock'));
  // The marker is seen by the same watch, after everything above.
  const socket = await client(path);
  socket.end('get=1\n\n');
  await hear(socket);
  assert.equal(isRemoved, false);
});

test('a process serves a listening socket that its parent bound and left to it', async (t) => {
  const path = join(temporaryDirectory(t), 'wg0.sock');
  const here = new URL('../../../', import.meta.url).href;
  const serving = `
    const { inheritUapiSocket } = await import('${here}src/tunnel/uapi-socket.js');
    const { FakeDevice } = await import('${here}test/kit/fake-device.js');
    const { fakeZones } = await import('${here}test/kit/zones.js');
    const { silentLogger } = await import('${here}src/core/log.js');
    const socket = await inheritUapiSocket('${path}', 3);
    socket.serve({ device: new FakeDevice(), zones: fakeZones, logger: silentLogger }, () => socket.close());
    console.log('serving');`;
  // The parent exits without closing the socket, as a starter does, so that the file stays.
  const starting = `
    const server = require('node:net').createServer().listen('${path}', () => {
      const stdio = ['ignore', 'inherit', 'inherit', server._handle.fd];
      const args = ['--input-type=module', '-e', ${JSON.stringify(serving)}];
      require('node:child_process').spawn(process.execPath, args, { stdio });
      process.exit(0);
    });`;
  const starter = spawn(process.execPath, ['-e', starting], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(starter.stdout, 'end');
  await once(starter.stdout, 'data');
  const guest = await client(path);
  guest.end('get=1\n\n');
  assert.equal(await hear(guest), 'errno=0\n\n');
  unlinkSync(path);
  await ended;
});

test('an inherited socket that is closed deletes its file', async (t) => {
  const path = join(temporaryDirectory(t), 'wg0.sock');
  const server = createServer().listen(path);
  await once(server, 'listening');
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const script = `
    const { inheritUapiSocket } = await import('${new URL('../../../src/tunnel/uapi-socket.js', import.meta.url).href}');
    await (await inheritUapiSocket('${path}', 3)).close();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'inherit', 'inherit', fd],
  });
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.ok(!existsSync(path));
  server.close();
});

test('an inherited socket whose file is gone is refused', async (t) => {
  const path = join(temporaryDirectory(t), 'wg0.sock');
  await assert.rejects(inheritUapiSocket(path, 0), { code: 'not_found' });
});
