/** The Debian package and the steps of the container recipe, in a Debian of their own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { output } from '../../src/app/bench/facts.ts';
import { type Instruction, containerInstructions } from '../kit/container-recipe.ts';
import { DebianRoot } from '../kit/debian-root.ts';
import { exercise } from '../kit/exercise.ts';
import { Namespace, requireRoot } from '../kit/netns.ts';

const repository = fileURLToPath(new URL('../../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'culvert-debs-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const skip = requireRoot({
  tun: true,
  programs: ['mmdebstrap', 'dpkg-deb', 'unshare', 'nsenter', 'chroot', 'npm'],
});

describe('debian', { skip, timeout: 600_000 }, () => {
  let pristine: DebianRoot;
  before(() => {
    pristine = DebianRoot.create();
  });
  after(() => pristine?.[Symbol.dispose]());

  test('deb: apt installs it, upgrades it, and removes it without a trace', () => {
    using root = pristine.copy();
    const [first, second] = ['1.0~first', '1.0~second'].map((version) => root.give(makePackage(version))) as [
      string,
      string,
    ];
    const apt = (...args: string[]) =>
      root.run('apt-get', ['--yes', '--no-install-recommends', ...args], {
        env: { DEBIAN_FRONTEND: 'noninteractive' },
      });
    const alone = root.try('apt-get', ['--yes', '--no-install-recommends', 'install', first]);
    assert.notEqual(alone.status, 0);
    assert.match(alone.stdout + alone.stderr, /culvert : Depends: nodejs \(>= 20\.19\)/);
    apt('install', root.nodePackage());
    const withoutIt = root.files();

    apt('install', first);
    exercise((args, input = '') => root.run('culvert', args, { input }));
    assert.match(root.run('culvert-go', ['--version']), /^culvert-go /);
    assert.match(root.run('culvert', ['demo', '--seconds', '1']), /Each has a network namespace of its own/);
    for (const path of [
      'usr/lib/systemd/system/culvert@.service',
      'usr/share/man/man1/culvert.1.gz',
      'usr/share/bash-completion/completions/culvert',
      'usr/share/doc/culvert/copyright',
      'usr/share/doc/culvert/docs/README.md',
    ])
      assert.ok(root.exists(path), path);
    assert.equal(root.modeOf('etc/culvert'), 0o700);
    assert.equal(root.run('dpkg', ['--verify', 'culvert']), '', 'every file is as it was packed');
    mkdirSync(join(root.path, 'var/lib/culvert'));
    writeFileSync(join(root.path, 'var/lib/culvert/key'), 'secret');

    apt('install', second);
    assert.equal(
      root.run('dpkg-query', ['-W', '-f', '${Version} ${Status}', 'culvert']),
      '1.0~second install ok installed',
    );
    exercise((args, input = '') => root.run('culvert', args, { input }));
    assert.ok(root.exists('var/lib/culvert/key'), 'an upgrade keeps the state');

    apt('remove', 'culvert');
    assert.ok(!root.exists('usr/bin/culvert'));
    assert.ok(root.exists('var/lib/culvert/key'), 'a removal keeps the state');
    apt('purge', 'culvert');
    assert.deepEqual(root.files(), withoutIt);
  });

  test('container: the steps of the recipe make a program that runs as nobody in particular', async () => {
    const instructions = containerInstructions(
      readFileSync(join(repository, 'packaging/container/Containerfile'), 'utf8'),
    );
    const stages = new Map<string, DebianRoot>();
    try {
      const image = build(instructions, stages);
      assert.deepEqual(image.entrypoint, ['/usr/local/bin/culvert']);
      assert.equal(image.user, '65532:65532');
      const [uid, gid] = image.user.split(':') as [string, string];
      // As an engine with --cap-add NET_ADMIN starts it: this user, and no right but this one to be had.
      const asUser = [
        ...['--reuid', uid, '--regid', gid, '--clear-groups'],
        ...['--bounding-set', '-all,+net_admin', '--inh-caps', '-all'],
      ];
      const call = (args: readonly string[], input = '') =>
        image.root.run('setpriv', [...asUser, ...image.entrypoint, ...args], {
          input,
          cwd: image.workdir,
          env: image.env,
        });
      exercise(call);
      assert.match(call(['doctor']), /ok +rights +CAP_NET_ADMIN/);
      // The container has a network of its own.
      const up = `
        printf '[Interface]\\nPrivateKey = %s\\nAddress = 10.0.0.1/24\\n' "$(culvert genkey)" > /tmp/wg0.conf
        culvert up /tmp/wg0.conf --detach && culvert show wg0 && culvert down wg0
        culvert serve --advertise grpc://127.0.0.1:4000 > /tmp/log 2>&1 &
        tries=0
        until culvert token show > /tmp/show 2>&1; do
          kill -0 $! && [ $((tries += 1)) -lt 100 ] || { cat /tmp/log /tmp/show; exit 1; }
          sleep 0.1
        done
        [ -e /var/lib/culvert/state.db ]
        culvert machines ls
        kill $! && wait $!`;
      await using network = Namespace.create();
      const text = image.root.run('setpriv', [...asUser, 'sh', '-euc', up], {
        cwd: image.workdir,
        env: image.env,
        network: network.name,
      });
      assert.match(text, /interface: wg0/);
      assert.match(text, /No machine has joined yet/);
    } finally {
      for (const stage of stages.values()) stage[Symbol.dispose]();
    }
  });

  interface Image {
    readonly root: DebianRoot;
    readonly user: string;
    readonly workdir: string;
    readonly entrypoint: readonly string[];
    readonly env: Readonly<Record<string, string>>;
  }

  /** Follows the recipe, with a small Debian and this machine's Node.js in place of the base image. */
  function build(instructions: readonly Instruction[], stages: Map<string, DebianRoot>): Image {
    const registry = output('npm', ['config', 'get', 'registry']);
    let root = pristine;
    let [user, workdir] = ['root', '/'];
    let entrypoint: string[] = [];
    const env: Record<string, string> = {};
    for (const { name, rest } of instructions) {
      switch (name) {
        case 'FROM': {
          const stage = / AS (\w+)$/.exec(rest)?.[1] ?? 'last';
          root = pristine.copy();
          root.addNode();
          stages.set(stage, root);
          [user, workdir] = ['root', '/'];
          break;
        }
        case 'WORKDIR':
          workdir = rest;
          mkdirSync(join(root.path, rest), { recursive: true });
          break;
        case 'COPY':
          copyInto(root, workdir, rest, stages);
          break;
        case 'RUN':
          root.run('sh', ['-ec', rest], { cwd: workdir, env: { npm_config_registry: registry } });
          break;
        case 'ENV': {
          const [, variable = '', value = ''] = /^(\w+)=(\S*)$/.exec(rest) ?? [];
          env[variable] = value;
          break;
        }
        case 'USER':
          user = rest;
          break;
        case 'ENTRYPOINT':
          entrypoint = JSON.parse(rest) as string[];
          break;
        case 'CMD':
        case 'VOLUME':
        case 'STOPSIGNAL':
          break;
        default:
          assert.fail(`the recipe has an instruction that is not followed here: ${name}`);
      }
    }
    return { root, user, workdir, entrypoint, env };
  }
});

/** From another stage, or from the repository without what .dockerignore names. */
function copyInto(
  root: DebianRoot,
  workdir: string,
  rest: string,
  stages: ReadonlyMap<string, DebianRoot>,
): void {
  const words = rest.split(' ');
  const from = words[0]?.startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined;
  const target = words.pop() ?? '.';
  const base = from === undefined ? repository : (stages.get(from) as DebianRoot).path;
  const ignored = from === undefined ? ignoredPaths() : [];
  for (const word of words) {
    const source = join(base, word);
    assert.ok(existsSync(source), word);
    const into = join(root.path, target.startsWith('/') ? target : join(workdir, target));
    const isFile = word !== '.' && from === undefined;
    cpSync(source, isFile ? join(into, basename(word)) : into, {
      recursive: true,
      filter: (path) => !ignored.some((pattern) => pattern.test(path.slice(base.length).replace(/^\//, ''))),
    });
  }
}

function ignoredPaths(): RegExp[] {
  return readFileSync(join(repository, 'packaging/container/Containerfile.dockerignore'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => new RegExp(`^${line.replaceAll('.', String.raw`\.`).replaceAll('*', '[^/]*')}$`));
}

function makePackage(version: string): string {
  const args = ['--out', scratch, '--deb-version', version, '--compression', 'gzip'];
  const script = join(repository, 'scripts/package-deb.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: repository,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}
