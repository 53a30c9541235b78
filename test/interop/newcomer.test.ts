/**
 * What the README begins with: a clone, one command, and a machine that answers a ping. Says how long that took, and
 * writes it to the file that CULVERT_NEWCOMER_JSON names.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { machineFacts, output } from '../../src/app/bench/facts.ts';
import { eventually } from '../kit/eventually.ts';
import { Namespace, requireRoot } from '../kit/netns.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const skip =
  requireRoot({ tun: true, programs: ['git', 'npm', 'ping'] }) ||
  (output('git', ['-C', root, 'rev-parse', '--git-dir']) === '' && 'SKIPPED: this is no clone');

test('newcomer: from git clone to a ping that a machine answers', { skip, timeout: 600_000 }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-newcomer-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const clone = join(directory, 'culvert');
  mkdirSync(join(directory, 'cache'));
  // Nothing is lent but the registry: packages are downloaded as if for the first time.
  const env = { ...process.env, NO_COLOR: '1', npm_config_cache: join(directory, 'cache') };
  const marks: [string, number][] = [['start', performance.now()]];
  const mark = (name: string) => marks.push([name, performance.now()]);
  const run = (command: string, args: readonly string[], cwd: string) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: 'utf8' });
    assert.equal(status, 0, `${command} ${args.join(' ')}: ${stdout}${stderr}`);
  };
  run('git', ['clone', '--quiet', root, clone], directory);
  mark('clone');
  // The first half of npm start, apart from the rest because the gateway's namespace has no way to the registry.
  run('npm', ['run', '--silent', 'build'], clone);
  mark('install and build');
  await using namespace = Namespace.create();
  const child = namespace.spawn('npm', ['start', '--silent', '--', '--state', join(directory, 'state')], {
    cwd: clone,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (more: string) => (text += more));
  await eventually(
    'a machine answers',
    () => /\d+ of 10 pings answered/.test(text) || child.exitCode !== null,
    120_000,
  );
  mark('first ping');
  assert.match(text, /udp +joined over UDP in [\d.]+ m?s[^]* 10 of 10 pings answered/, text);
  await eventually('it says what to do next', () => /machines ls/.test(text), 60_000);
  const seconds = marks.slice(1).map(([name, at], i) => [name, (at - (marks[i]?.[1] ?? 0)) / 1_000] as const);
  const total = seconds.reduce((sum, [, part]) => sum + part, 0);
  const parts = seconds.map(([name, part]) => `${name} ${part.toFixed(1)} s`).join(', ');
  t.diagnostic(`from clone to first ping: ${total.toFixed(1)} s (${parts})`);
  const file = process.env['CULVERT_NEWCOMER_JSON'];
  if (file !== undefined) {
    const result = { machine: machineFacts(), newcomer: { ...Object.fromEntries(seconds), total } };
    writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`);
  }
});
