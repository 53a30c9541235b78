import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseGoArguments } from '../../../src/app/culvert-go.ts';
import { getDevice } from '../../../src/app/uapi-client.ts';
import { uapiPath } from '../../../src/tunnel/uapi-socket.ts';
import { eventually } from '../../kit/eventually.ts';

const PROGRAM = fileURLToPath(new URL('../../../../bin/culvert-go', import.meta.url));
const dist = new URL('../../../', import.meta.url).href;

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-go-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test('the command line is that of wireguard-go', () => {
  assert.deepEqual(parseGoArguments(['wg0']), { kind: 'run', interfaceName: 'wg0', isForeground: false });
  assert.deepEqual(parseGoArguments(['-f', 'wg0']), {
    kind: 'run',
    interfaceName: 'wg0',
    isForeground: true,
  });
  assert.deepEqual(parseGoArguments(['--foreground', 'wg0']), {
    kind: 'run',
    interfaceName: 'wg0',
    isForeground: true,
  });
  assert.deepEqual(parseGoArguments(['--version']), { kind: 'version' });
  for (const args of [
    [],
    ['-f'],
    ['wg0', 'wg1'],
    ['-f', 'wg0', 'wg1'],
    ['-x'],
    ['-f', '-x'],
    ['--version', 'wg0'],
  ])
    assert.throws(() => parseGoArguments(args), { code: 'usage' }, args.join(' '));
});

test('wrong usage prints the usage and ends with 2', () => {
  for (const args of [[], ['-f'], ['wg0', 'wg1'], ['-x'], ['']]) {
    const { status, stdout, stderr } = spawnSync(PROGRAM, args, { encoding: 'utf8' });
    assert.equal(status, 2, args.join(' '));
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /^culvert-go: .*\n(hint: .*\n)?\nUsage: culvert-go \[-f\|--foreground\] INTERFACE\n/,
    );
  }
});

test('--version and --help print to standard output', () => {
  const version = spawnSync(PROGRAM, ['--version'], { encoding: 'utf8' });
  assert.match(version.stdout, /^culvert-go \d+\.\d+\.\d+\n/);
  assert.equal(version.status, 0);
  assert.match(spawnSync(PROGRAM, ['--help'], { encoding: 'utf8' }).stdout, /WG_TUN_FD/);
});

// The program with a fake device: everything but TUN and UDP is real.

function script(directory: string): string {
  return `
    const { main } = await import('${dist}src/app/culvert-go.js');
    const { FakeOpenedDevice } = await import('${dist}test/kit/fake-opened-device.js');
    const { fakeZones } = await import('${dist}test/kit/zones.js');
    const { AppError } = await import('${dist}src/core/errors.js');
    const openDevice = (options) => {
      if (options.name === 'broken') throw new AppError('unavailable', 'no TUN here', { hint: 'load it' });
      return new FakeOpenedDevice({ name: options.tunFd === undefined ? options.name : 'fd' + options.tunFd });
    };
    const status = await main(process.argv.slice(1), {
      env: process.env,
      command: [process.execPath, ...process.execArgv],
      loadDevice: async () => ({ openDevice, zones: fakeZones, uapiDirectory: ${JSON.stringify(directory)} }),
    });
    process.exit(status);`;
}

function start(
  t: TestContext,
  directory: string,
  args: readonly string[],
  env: Record<string, string>,
): ChildProcess {
  const { LOG_LEVEL: _level, ...inherited } = process.env;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script(directory), '--', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...inherited, ...env },
  });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

async function output(
  child: ChildProcess,
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (text: Buffer) => (stdout += text.toString()));
  child.stderr?.on('data', (text: Buffer) => (stderr += text.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

const answers = (directory: string, name: string) =>
  eventually(`${name} answers`, async () => {
    await getDevice(name, directory);
    return true;
  });

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`in the foreground ${signal} ends it with 0 and no socket`, async (t) => {
    const directory = temporaryDirectory(t);
    const child = start(t, directory, ['-f', 'wg0'], { LOG_LEVEL: 'verbose' });
    const result = output(child);
    await answers(directory, 'wg0');
    child.kill(signal);
    const { status, stdout } = await result;
    assert.equal(status, 0);
    assert.ok(!existsSync(uapiPath('wg0', directory)));
    const line = String.raw`DEBUG: \(wg0\) \d{4}/\d\d/\d\d \d\d:\d\d:\d\d `;
    assert.match(
      stdout,
      new RegExp(
        `^${line}UAPI listener started\\n${line}Device started\\n${line}Shutting down: reason=${signal}\\n$`,
      ),
    );
  });
}

test('WG_PROCESS_FOREGROUND=1 is the same as -f, and deleting the socket ends it', async (t) => {
  const directory = temporaryDirectory(t);
  const result = output(start(t, directory, ['wg0'], { WG_PROCESS_FOREGROUND: '1' }));
  await answers(directory, 'wg0');
  unlinkSync(uapiPath('wg0', directory));
  assert.deepEqual(await result, { status: 0, stdout: '', stderr: '' });
});

test('WG_TUN_FD is passed on, and the kernel names the interface', async (t) => {
  const directory = temporaryDirectory(t);
  start(t, directory, ['-f', 'asked'], { WG_TUN_FD: '5' });
  await answers(directory, 'fd5');
});

test('a descriptor that is no number is refused', async (t) => {
  const { status, stderr } = await output(start(t, temporaryDirectory(t), ['-f', 'wg0'], { WG_TUN_FD: 'x' }));
  assert.equal(stderr, 'culvert-go: WG_TUN_FD=x: expected the number of a descriptor\n');
  assert.equal(status, 2);
});

test('WG_LOG_FILE takes the lines, readable by its owner only', async (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'log');
  const child = start(t, directory, ['-f', 'wg0'], { WG_LOG_FILE: file, LOG_LEVEL: 'debug' });
  const result = output(child);
  await answers(directory, 'wg0');
  child.kill();
  assert.equal((await result).stdout, '');
  assert.match(readFileSync(file, 'utf8'), /Device started/);
});

test('in the background it returns when the socket answers', async (t) => {
  const directory = temporaryDirectory(t);
  const { status, stdout, stderr } = await output(start(t, directory, ['wg0'], {}));
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
  await getDevice('wg0', directory);
  unlinkSync(uapiPath('wg0', directory));
});

test('what goes wrong in the background is said in the foreground', async (t) => {
  assert.deepEqual(await output(start(t, temporaryDirectory(t), ['broken'], {})), {
    status: 1,
    stdout: '',
    stderr: 'culvert-go: no TUN here\nhint: load it\n',
  });
});

// The shell that waits, with a fake node.

function launch(
  t: TestContext,
  daemon: string,
  env: Record<string, string> = {},
): ReturnType<typeof spawnSync> {
  const directory = temporaryDirectory(t);
  const node = join(directory, 'node');
  writeFileSync(node, `#!/bin/sh\n${daemon}\n`);
  chmodSync(node, 0o755);
  const { LOG_LEVEL: _level, ...inherited } = process.env;
  const path = `${directory}:${process.env['PATH']}`;
  return spawnSync(PROGRAM, ['wg0'], { encoding: 'utf8', env: { ...inherited, ...env, PATH: path } });
}

test('the launcher returns 0 when the daemon is ready, though the daemon goes on', (t) => {
  const { status, stdout, stderr } = launch(
    t,
    'echo said; echo ready >&"$CULVERT_READY_FD"; exec 3>&-; sleep 3',
  );
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
});

test('the launcher passes on what the daemon says and ends with 1', (t) => {
  const { status, stderr } = launch(t, 'printf "culvert-go: broken\\nhint: mend it\\n" >&3');
  assert.equal(stderr, 'culvert-go: broken\nhint: mend it\n');
  assert.equal(status, 1);
});

test('the launcher ends with 1 when the daemon dies without a word', (t) => {
  const { status, stderr } = launch(t, 'exit 0');
  assert.equal(stderr, 'culvert-go: the daemon ended before it was ready\n');
  assert.equal(status, 1);
});

test('with LOG_LEVEL the daemon keeps the output of the launcher', (t) => {
  const daemon = 'echo out; echo err >&2; echo ready >&3';
  assert.equal(launch(t, daemon, { LOG_LEVEL: 'verbose' }).stdout, 'out\n');
  assert.equal(launch(t, daemon, { LOG_LEVEL: 'verbose' }).stderr, 'err\n');
  assert.equal(launch(t, daemon, { LOG_LEVEL: 'silent' }).stdout, '');
});
