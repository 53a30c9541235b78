/** What people install, in empty folders: the bundle, the npm package; and the container recipe by its words. debian.test.ts has the rest. */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { containerInstructions } from '../kit/container-recipe.ts';
import { exercise } from '../kit/exercise.ts';
import { requirePrograms } from '../kit/require-programs.ts';
import { requireRoot } from '../kit/netns.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'culvert-package-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const timeout = 180_000;
const tun = requireRoot({ tun: true });

/** Without what this repository would lend: its node_modules, and variables of npm. */
function run(command: string, args: readonly string[], input = ''): SpawnSyncReturns<string> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: scratch, NO_COLOR: '1' };
  return spawnSync(command, args, { cwd: scratch, encoding: 'utf8', env, input, timeout });
}

function succeed(command: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = run(command, args, input);
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${String(error ?? '')}${stdout}${stderr}`);
  return stdout;
}

function script(name: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts', name), ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

const calling =
  (program: string) =>
  (args: readonly string[], input = ''): string =>
    succeed(process.execPath, [program, ...args], input);

test('bundle: the folder alone is the whole program', { timeout }, () => {
  const folder = script('bundle.mjs', '--out', join(scratch, 'bundle'));
  exercise(calling(join(folder, 'culvert.mjs')));
  assert.match(succeed(join(folder, 'culvert-go'), ['--version']), /^culvert-go /);
});

test('bundle: every file that a program looks for beside itself is there', { timeout }, () => {
  const source = join(root, 'src');
  const wanted = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => [
      ...readFileSync(join(source, name), 'utf8').matchAll(
        /new URL\('(?:\.\.?\/)+(?:[^']*\/)?([^'/]+\/?)', import\.meta\.url\)/g,
      ),
    ])
    .map(([, name = '']) => name)
    // The version is put in.
    .filter((name) => name !== 'package.json');
  assert.ok(wanted.includes('worker.js'));
  for (const name of wanted) assert.ok(existsSync(join(scratch, 'bundle', name)), name);
});

test('bundle: a tunnel with lanes in a thread runs from it', { skip: tun, timeout }, () => {
  const text = succeed(process.execPath, [join(scratch, 'bundle', 'culvert.mjs'), 'demo', '--seconds', '1']);
  assert.match(text, /Each has a network namespace of its own/);
  assert.match(text, /throughput +\d/);
});

/** In namespaces of its own, so that ports and sockets are. */
const GATEWAY = `
  mount -t tmpfs none /run && mkdir -p /run/wireguard
  ip link set lo up
  mkdir -m 700 state
  node "$1" serve --state state --advertise grpc://127.0.0.1:8090 --http 127.0.0.1:8081 > log 2>&1 &
  until curl -s -o page http://127.0.0.1:8081/; do kill -0 $! || { cat log; exit 1; }; done
  grep -qi '<!doctype html>' page
  node "$1" token ls --state state
  kill $! && wait $!`;

test(
  'bundle: a gateway runs from it, with its store and its page',
  { skip: tun || requirePrograms('curl', 'unshare'), timeout },
  () => {
    const program = join(scratch, 'bundle', 'culvert.mjs');
    const text = succeed('unshare', [
      '-mnpf',
      '--mount-proc',
      '--kill-child',
      'bash',
      '-ec',
      GATEWAY,
      'bash',
      program,
    ]);
    assert.match(text, /initial token +active, default/);
  },
);

interface PackedFile {
  readonly path: string;
}

test(
  'npm: the package has the program and nothing of its workshop, and runs with its dependencies alone',
  { skip: requirePrograms('npm'), timeout },
  () => {
    const packed = spawnSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch], {
      cwd: root,
      encoding: 'utf8',
    });
    assert.equal(packed.status, 0, packed.stderr);
    const [{ filename, files: list }] = JSON.parse(packed.stdout) as [
      { filename: string; files: PackedFile[] },
    ];
    const paths = list.map(({ path }) => path);
    for (const path of [
      'bin/culvert',
      'bin/culvert-go',
      'dist/src/app/cli.js',
      'dist/src/wasm/kernels.wasm',
      'docs/man/culvert.1',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'packaging/systemd/culvert@.service',
    ])
      assert.ok(paths.includes(path), `${path} is missing`);
    const strangers = paths.filter((path) =>
      /^(?:src|test|bench|dist\/(?:test|bench)|node_modules)\/|\.map$|tsbuildinfo|\.kernels$/.test(path),
    );
    assert.deepEqual(strangers, []);
    // As anybody would, with the registry that npm is set to, and scripts of packages off, which none of them needs.
    const empty = join(scratch, 'empty');
    mkdirSync(empty);
    const installing = spawnSync(
      'npm',
      ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', empty, join(scratch, filename)],
      { cwd: scratch, encoding: 'utf8', timeout },
    );
    assert.equal(installing.status, 0, installing.stdout + installing.stderr);
    exercise((args, input = '') => succeed(join(empty, 'node_modules/.bin/culvert'), args, input));
    assert.match(succeed(join(empty, 'node_modules/.bin/culvert-go'), ['--version']), /^culvert-go /);
    const installed = readdirSync(join(empty, 'node_modules'));
    for (const tool of ['typescript', 'esbuild', 'playwright-core'])
      assert.ok(!installed.includes(tool), `${tool} is for development`);
  },
);

test(
  'npm: a tunnel with lanes in a thread runs from the package',
  { skip: tun || requirePrograms('npm'), timeout },
  () => {
    const text = succeed(join(scratch, 'empty/node_modules/.bin/culvert'), ['demo', '--seconds', '1']);
    assert.match(text, /Each has a network namespace of its own/);
  },
);

test('container: the recipe builds from the lock file and runs as nobody in particular', () => {
  const text = readFileSync(join(root, 'packaging/container/Containerfile'), 'utf8');
  const instructions = containerInstructions(text);
  const of = (wanted: string) => instructions.filter(({ name }) => name === wanted).map(({ rest }) => rest);
  assert.equal(of('FROM').length, 2);
  for (const from of of('FROM'))
    assert.match(from, /^\S+:\d+\.\d+\.\d+-\S+( AS \w+)?$/, 'a version that stays');
  const last = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));
  assert.deepEqual(
    last.filter(({ name }) => name === 'USER'),
    [{ name: 'USER', rest: '65532:65532' }],
  );
  assert.ok(
    of('RUN').some((command) => command.includes('node scripts/run.mjs install')),
    'from the lock file',
  );
  assert.ok(of('RUN').some((command) => command.includes('setcap cap_net_admin=ep')));
  for (const copy of of('COPY').filter((one) => !one.startsWith('--from')))
    for (const source of copy.split(' ').slice(0, -1)) assert.ok(existsSync(join(root, source)), source);
  for (const [, name = ''] of text.matchAll(/node scripts\/(\S+\.mjs)/g))
    assert.ok(existsSync(join(root, 'scripts', name)));
  // What it links to is in the bundle, and what it starts is linked.
  for (const [, name = ''] of text.matchAll(/\/usr\/lib\/culvert\/(\S+) /g))
    assert.ok(existsSync(join(scratch, 'bundle', name)), name);
  assert.deepEqual(JSON.parse(of('ENTRYPOINT')[0] ?? ''), ['/usr/local/bin/culvert']);
});
