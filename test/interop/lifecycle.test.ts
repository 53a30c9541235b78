/** From the start of the process to its end: what wg-quick, service managers and people rely on. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { Namespace } from '../kit/netns.ts';
import {
  implementationUnderTest,
  isRunning,
  knownFlaw,
  newLinkName,
  requireInterop,
  runProgram,
  socketPath,
  WireGuardProcess,
} from '../kit/programs.ts';
import { askUapi } from '../kit/uapi-client.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const implementation = implementationUnderTest();

const flaw = (text: string): { readonly todo: string | false } => ({
  todo: knownFlaw(implementation, { 'wireguard-go': `0.0.20220316 ${text}` }),
});

/** The promise is one second; the rest is for a loaded machine. */
const AT_ONCE_MS = 2_000;

describe(
  `life cycle: ${implementation.name}`,
  { skip: requireInterop([implementation]), timeout: TEST_TIMEOUT_MS },
  () => {
    let namespace: Namespace;

    before(() => {
      namespace = Namespace.create();
    });
    after(() => namespace.close());

    const start = (link?: string): WireGuardProcess =>
      WireGuardProcess.start(implementation, namespace, link === undefined ? {} : { link });
    const run = (...args: string[]): ReturnType<typeof runProgram> =>
      runProgram(implementation, namespace, args);
    const isDown = (link: string): boolean => namespace.try('ip', ['link', 'show', link]).status !== 0;

    test('on return the link is there and the socket answers', async () => {
      const daemon = start();
      assert.ok(daemon.linkExists());
      assert.match(await askUapi(daemon.socketPath, 'get=1'), /errno=0\n\n$/);
      await daemon.stop();
    });
    test('only root can reach the socket, everybody can see its folder', async () => {
      const daemon = start();
      const mode = (path: string): number => statSync(path).mode & 0o7777;
      assert.equal(mode(daemon.socketPath), 0o700);
      assert.equal(mode('/var/run/wireguard'), 0o755);
      await daemon.stop();
    });
    test(
      'the daemon keeps neither session nor standard streams of its starter',
      flaw('stays in the session'),
      async () => {
        const daemon = WireGuardProcess.start(implementation, namespace, { env: { LOG_LEVEL: 'silent' } });
        const pid = daemon.pid();
        assert.notEqual(sessionOf(pid), sessionOf(process.pid));
        for (const fd of [0, 1, 2]) assert.equal(readlinkSync(`/proc/${pid}/fd/${fd}`), '/dev/null');
        await daemon.stop();
      },
    );

    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      test(`${signal} leaves nothing behind`, async () => {
        await start().stop(signal);
      });
      test(`${signal} ends the foreground program with exit code 0`, async () => {
        const daemon = await WireGuardProcess.startForeground(implementation, namespace);
        const exited = once(daemon.child ?? assert.fail(), 'exit');
        await daemon.stop(signal);
        assert.deepEqual(await exited, [0, null]);
      });
    }
    test('-f and WG_PROCESS_FOREGROUND=1 keep the program in the foreground', async () => {
      const byFlag = await WireGuardProcess.startForeground(implementation, namespace);
      assert.equal(byFlag.pid(), byFlag.child?.pid);
      await byFlag.stop();

      const link = newLinkName();
      const child = namespace.spawn(implementation.path, [link], {
        stdio: 'ignore',
        env: { ...process.env, WG_PROCESS_FOREGROUND: '1' },
      });
      await eventually('it answers', async () =>
        (await askUapi(socketPath(link), 'get=1')).endsWith('errno=0\n\n'),
      );
      assert.equal(child.exitCode, null);
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      await eventually('the link vanishes', () => isDown(link));
    });

    test('removing the socket ends the process and the link', async () => {
      const daemon = start();
      const pid = daemon.pid();
      rmSync(daemon.socketPath);
      await daemon.gone(pid, AT_ONCE_MS);
    });
    test('deleting the link ends the process and the socket', async () => {
      const daemon = start();
      const pid = daemon.pid();
      namespace.ip(`link del ${daemon.link}`);
      await daemon.gone(pid, AT_ONCE_MS);
    });
    test('deleting the link while it is up ends the process and the socket', async () => {
      const daemon = start();
      namespace.ip(`link set ${daemon.link} up`);
      await eventually('a port is bound', () => daemon.wg.state().listenPort !== 0);
      const pid = daemon.pid();
      namespace.ip(`link del ${daemon.link}`);
      await daemon.gone(pid, AT_ONCE_MS);
    });
    test('a foreground program whose link is deleted ends', async () => {
      const daemon = await WireGuardProcess.startForeground(implementation, namespace);
      const pid = daemon.pid();
      namespace.ip(`link del ${daemon.link}`);
      await daemon.gone(pid, AT_ONCE_MS);
    });

    test('a second instance is refused with exit code 1 and harms nothing', async () => {
      const daemon = start();
      assert.equal(run(daemon.link).status, 1);
      assert.match(await askUapi(daemon.socketPath, 'get=1'), /errno=0\n\n$/);
      await daemon.stop();
    });
    test('a second instance in another namespace is refused by the socket', async () => {
      const daemon = start();
      await using other = Namespace.create();
      assert.equal(runProgram(implementation, other, [daemon.link]).status, 1);
      assert.match(await askUapi(daemon.socketPath, 'get=1'), /errno=0\n\n$/);
      assert.doesNotMatch(other.ip('-br link'), new RegExp(daemon.link));
      await daemon.stop();
    });
    test('the socket of a killed process is replaced', async () => {
      const killed = start();
      const pid = killed.pid();
      process.kill(pid, 'SIGKILL');
      await eventually('it is dead and its link gone', () => !isRunning(pid) && !killed.linkExists());
      assert.ok(statSync(killed.socketPath).isSocket());
      const daemon = start(killed.link);
      assert.match(await askUapi(daemon.socketPath, 'get=1'), /errno=0\n\n$/);
      await daemon.stop();
    });
    test('a stopped interface can be started again under the same name', async () => {
      const first = start();
      await first.stop();
      await start(first.link).stop();
    });

    test('a name longer than 15 characters is refused and leaves nothing', () => {
      const link = `${newLinkName()}-too-long`;
      assert.notEqual(run(link).status, 0);
      assert.throws(() => statSync(socketPath(link)), { code: 'ENOENT' });
    });
    test('wrong usage ends with exit code 2 and says how it is right', flaw('exits with 0'), () => {
      for (const args of [[], ['-f'], [newLinkName(), 'more'], ['--no-such-flag', newLinkName()]]) {
        const { status, output } = run(...args);
        assert.equal(status, 2, `${args.join(' ')}: ${output}`);
        assert.match(output, /usage/i);
      }
    });
    test('--version prints a version and exits with 0', () => {
      const { status, output } = run('--version');
      assert.equal(status, 0);
      assert.match(output, /\d+\.\d+\.\d+/);
    });
  },
);

/** Session id, the sixth field of proc_pid_stat(5); the second one, the name, may contain anything. */
function sessionOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]);
}
