/** What people install, in empty folders: the bundle, the Debian package, the npm package, the container recipe. */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requirePrograms } from '../kit/require-programs.ts';
import { requireRoot } from '../kit/netns.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'culvert-package-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const timeout = 180_000;
const tun = requireRoot({ tun: true });
const dpkg = requirePrograms('dpkg', 'dpkg-deb') || requireRoot();

/** Without what this repository would lend: its node_modules, and variables of npm. */
function run(command: string, args: readonly string[], input = ''): SpawnSyncReturns<string> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: scratch, NO_COLOR: '1' };
  return spawnSync(command, args, { cwd: scratch, encoding: 'utf8', env, input });
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

const VERSION = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;

/** Keys, a check of a file, backends in WebAssembly and OpenSSL, the store: what needs no rights. */
function exercise(culvert: readonly [string, ...string[]]): void {
  const call = (args: readonly string[], input = '') => {
    const [command, ...first] = culvert;
    return succeed(command, [...first, ...args], input);
  };
  assert.equal(call(['--version']), `culvert ${VERSION}\n`);
  const key = call(['genkey']);
  assert.match(call(['pubkey'], key), /^[A-Za-z0-9+/]{43}=\n$/);
  assert.match(call(['check', '-'], `[Interface]\nPrivateKey = ${key}`), /good, 0 peers/);
  assert.match(call(['bench', 'lane', '--quick']), /TUN to UDP 1420 B\n {2}wasm/);
  assert.match(call(['demo', '--memory', '--seconds', '1']), /WireGuard +alice sent/);
}

test('bundle: the folder alone is the whole program', { timeout }, () => {
  const folder = script('bundle.mjs', '--out', join(scratch, 'bundle'));
  exercise([process.execPath, join(folder, 'culvert.mjs')]);
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

test('deb: it installs, upgrades, is removed and purged without a trace', { skip: dpkg, timeout }, () => {
  const [first, second] = ['1.0~first', '1.0~second'].map((version) =>
    script('package-deb.mjs', '--out', scratch, '--deb-version', version, '--compression', 'gzip'),
  ) as [string, string];
  assert.match(basename(first), /^culvert_1\.0~first_[a-z0-9]+\.deb$/);
  const target = join(scratch, 'target');
  for (const directory of ['info', 'updates', 'triggers'])
    mkdirSync(join(target, 'var/lib/dpkg', directory), { recursive: true });
  for (const file of ['status', 'available']) writeFileSync(join(target, 'var/lib/dpkg', file), '');
  const before = files(target);
  // Nothing but the package lies there: no nodejs to depend on, no shell for its scripts but that of this machine.
  const install = ['--force-depends', '--force-script-chrootless', '--force-not-root'];
  const onTarget = (...args: string[]) =>
    succeed('dpkg', [`--root=${target}`, ...install, '--no-triggers', ...args]);
  onTarget('--install', first);
  exercise([process.execPath, join(target, 'usr/bin/culvert')]);
  for (const path of [
    'usr/lib/systemd/system/culvert@.service',
    'usr/share/man/man1/culvert.1.gz',
    'usr/share/bash-completion/completions/culvert',
    'usr/share/doc/culvert/copyright',
  ])
    assert.ok(existsSync(join(target, path)), path);
  assert.equal(statSync(join(target, 'etc/culvert')).mode & 0o777, 0o700);
  assert.match(succeed(join(target, 'usr/bin/culvert-go'), ['--version']), /^culvert-go /);
  mkdirSync(join(target, 'var/lib/culvert'));
  writeFileSync(join(target, 'var/lib/culvert/key'), 'secret');
  onTarget('--install', second);
  const status = succeed('dpkg-query', [
    `--admindir=${target}/var/lib/dpkg`,
    '-W',
    '-f',
    '${Version} ${Status}',
    'culvert',
  ]);
  assert.equal(status, '1.0~second install ok installed');
  assert.ok(existsSync(join(target, 'var/lib/culvert/key')), 'an upgrade keeps the state');
  onTarget('--remove', 'culvert');
  assert.ok(!existsSync(join(target, 'usr/bin/culvert')));
  assert.ok(existsSync(join(target, 'var/lib/culvert/key')), 'a removal keeps the state');
  onTarget('--purge', 'culvert');
  assert.deepEqual(files(target), before);
});

/** Apart from what dpkg keeps for itself. */
function files(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(
    (name) => !name.startsWith('var/lib/dpkg') && statSync(join(directory, name)).isFile(),
  );
}

interface PackedFile {
  readonly path: string;
}

test(
  'npm: the package has the program and nothing of its workshop, and runs with its dependencies alone',
  { skip: requirePrograms('npm', 'tar'), timeout },
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
    succeed('tar', ['-xzf', join(scratch, filename), '-C', scratch]);
    lendDependencies(join(scratch, 'package'));
    exercise([process.execPath, join(scratch, 'package', 'bin', 'culvert')]);
    assert.match(succeed(join(scratch, 'package', 'bin', 'culvert-go'), ['--version']), /^culvert-go /);
  },
);

test(
  'npm: a tunnel with lanes in a thread runs from the package',
  { skip: tun || requirePrograms('npm'), timeout },
  () => {
    const text = succeed(process.execPath, [
      join(scratch, 'package', 'bin', 'culvert'),
      'demo',
      '--seconds',
      '1',
    ]);
    assert.match(text, /Each has a network namespace of its own/);
  },
);

interface Lock {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }>>;
}

/** What `npm install` would fetch for it: the packages of the lock file that are not for development. */
function lendDependencies(directory: string): void {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
  for (const [path, { dev }] of Object.entries(packages)) {
    const from = join(root, path);
    // One below another comes with it.
    if (path === '' || dev === true || !existsSync(from) || path.lastIndexOf('node_modules/') > 0) continue;
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    if (path.includes('koffi') || path.includes('libsql'))
      cpSync(from, join(directory, path), { recursive: true });
    else symlinkSync(from, join(directory, path));
  }
}

test('container: the recipe builds from the lock file and runs as nobody in particular', () => {
  const text = readFileSync(join(root, 'packaging/container/Containerfile'), 'utf8');
  const instructions = text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => /^([A-Z]+) (.*)$/.exec(line)?.slice(1) as [string, string]);
  assert.ok(instructions.every((instruction) => instruction !== undefined));
  const of = (name: string) =>
    instructions.filter(([instruction]) => instruction === name).map(([, rest]) => rest);
  assert.equal(of('FROM').length, 2);
  for (const from of of('FROM'))
    assert.match(from, /^\S+:\d+\.\d+\.\d+-\S+( AS \w+)?$/, 'a version that stays');
  const last = instructions.slice(instructions.findLastIndex(([name]) => name === 'FROM'));
  assert.deepEqual(
    last.filter(([name]) => name === 'USER'),
    [['USER', '65532:65532']],
  );
  assert.ok(of('RUN').some((command) => command.includes('npm ci --ignore-scripts')));
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
