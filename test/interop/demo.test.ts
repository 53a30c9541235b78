/** `culvert demo` with real interfaces and sockets: what it shows is true, and nothing of it stays. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../kit/eventually.ts';
import { requireRoot } from '../kit/netns.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const CULVERT = fileURLToPath(new URL('../../../bin/culvert', import.meta.url));

/** The demonstration and all that it started: they carry this variable in their environment. */
const MARK = `CULVERT_DEMO_TEST=${process.pid}`;
const environment = { ...process.env, CULVERT_DEMO_TEST: `${process.pid}`, NO_COLOR: '1' };

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function namespaceOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Processes of the demonstration that have not ended. */
function members(): number[] {
  return pids().filter((pid) => read(`/proc/${pid}/environ`).split('\0').includes(MARK));
}

async function nothingIsLeft(namespaces: ReadonlySet<string>): Promise<void> {
  await eventually('all processes of the demonstration end', () => members().length === 0);
  const inUse = new Set(pids().map(namespaceOf));
  for (const namespace of namespaces) assert.ok(!inUse.has(namespace), `${namespace} is in use`);
  assert.ok(!read('/proc/net/dev').includes('culvert-'), 'an interface is left');
}

function start(t: TestContext, ...args: readonly string[]): ChildProcess & { readonly text: () => string } {
  const child = spawn(CULVERT, ['demo', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  }
  return Object.assign(child, { text: () => text });
}

/** Waits until all four processes run, and returns the namespaces that are not this one's. */
async function namespacesWhen(child: ReturnType<typeof start>, word: string): Promise<Set<string>> {
  await eventually(`the demonstration shows the line "${word}"`, () => child.text().includes(`\n  ${word} `));
  const running = members();
  assert.equal(running.length, 5, 'the demonstration and its four processes');
  const home = namespaceOf(process.pid);
  assert.equal(namespaceOf(child.pid ?? 0), home, 'the demonstration itself stays');
  const namespaces = new Set(running.map(namespaceOf).filter((namespace) => namespace !== home));
  assert.equal(namespaces.size, 3, 'alice, bob and the wire between them');
  return namespaces;
}

describe('culvert demo', { skip: requireRoot({ tun: true }), timeout: TEST_TIMEOUT_MS }, () => {
  test('every step succeeds without any program, with figures above zero, and nothing is left', async () => {
    const result = spawnSync(process.execPath, [CULVERT, 'demo', '--seconds', '1'], {
      encoding: 'utf8',
      // Empty but for the folder that certainly holds no program.
      env: { ...environment, PATH: '/proc' },
    });
    assert.equal(result.stderr, '');
    assert.equal(result.status, 0);
    const { stdout } = result;
    assert.match(stdout, /^Each has a network namespace of its own/m);
    assert.match(stdout, /^ {2}handshake +\d/m);
    assert.match(stdout, /^ {2}ping +10 of 10 answered, (?!0\.00)[\d.]+ \/ [\d.]+ \/ [\d.]+ ms /m);
    assert.match(stdout, /^ {2}transfer +(?!0 )[\d.]+ [kMG]?B in [\d.]+ m?s, (?!0 )[\d.]+ [kMG]bit\/s$/m);
    assert.match(stdout, /^ {2}throughput +(?!0 )[\d.]+ [kMG]bit\/s from alice to bob \(TCP payload\)$/m);
    assert.match(stdout, /^ {2}packets +[1-9][\d,]* with data .*, [1-9][\d,]* acknowledgements$/m);
    assert.match(stdout, /^ {2}WireGuard +alice sent (?!0 )[\d.]+ [kMG]B and received (?!0 )[\d.]+ [kMG]B$/m);
    assert.match(stdout, /^ {2}crypto +ChaCha20-Poly1305 \w+/m);
    assert.match(stdout, /^Next$/m);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
    assert.ok(!stdout.includes('\x1b') && !stdout.includes('\r'), 'plain text when piped');
    await nothingIsLeft(new Set());
  });

  for (const [signal, word, code] of [
    ['SIGINT', 'ping', 130],
    ['SIGTERM', 'devices', 143],
    ['SIGHUP', 'handshake', 129],
  ] as const) {
    test(`${signal} after the line "${word}" ends everything with ${code}`, async (t) => {
      const child = start(t, '--seconds', '60');
      const namespaces = await namespacesWhen(child, word);
      child.kill(signal);
      assert.deepEqual(await once(child, 'close'), [code, null]);
      assert.equal(members().length, 0, 'all have ended before it does');
      assert.match(child.text(), /culvert: interrupted; everything is cleaned up\n$/);
      await nothingIsLeft(namespaces);
    });
  }

  test('even SIGKILL leaves nothing behind', async (t) => {
    const child = start(t, '--seconds', '60');
    const namespaces = await namespacesWhen(child, 'ping');
    child.kill('SIGKILL');
    await once(child, 'close');
    await nothingIsLeft(namespaces);
  });

  test('the death of one of its processes fails the demonstration and takes the others along', async (t) => {
    const child = start(t, '--seconds', '60');
    const namespaces = await namespacesWhen(child, 'ping');
    const device = members().find((pid) => read(`/proc/${pid}/cmdline`).includes('device-process'));
    process.kill(device ?? assert.fail('no device'), 'SIGKILL');
    assert.deepEqual(await once(child, 'close'), [1, null]);
    assert.match(child.text(), /the process of (alice|bob)'s device ended with SIGKILL/);
    await nothingIsLeft(namespaces);
  });

  test('without the right to make namespaces it says so and plays in memory', () => {
    const { status, stdout } = spawnSync(CULVERT, ['demo', '--seconds', '1'], {
      encoding: 'utf8',
      env: environment,
      uid: 65_534,
      gid: 65_534,
    });
    assert.equal(status, 0);
    assert.match(stdout, /^Both run in memory: cannot make a network namespace: EPERM \(run as root.*\)$/m);
    assert.match(stdout, /^ {2}throughput +(?!0 )[\d.]+ [kMG]bit\/s /m);
  });
});
