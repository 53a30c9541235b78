/**
 * A folder with Debian in it, as small as `apt` still works in, and this machine's Node.js as its `nodejs`. Programs run in it
 * under chroot, with /proc and /dev, in a mount and process namespace that ends with them.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { output } from '../../src/app/bench/facts.ts';

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Name of a network namespace; that of the test by default. */
  readonly network?: string;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Of the network, passed on: what leads to mirrors and registries here. */
const NETWORK = /^(?:https?_proxy|no_proxy|npm_config_registry|NODE_EXTRA_CA_CERTS)$/i;

const TIMEOUT_MS = 240_000;

export class DebianRoot implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), 'culvert-debian-'));

  /** Of the release of this machine. Takes ten seconds and 180 MB. Throws with the words of mmdebstrap. */
  static create(): DebianRoot {
    const root = new DebianRoot();
    const suite = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
    const { status, stderr } = spawnSync(
      'mmdebstrap',
      ['--quiet', '--variant=minbase', '--mode=root', suite, root.path],
      { encoding: 'utf8' },
    );
    if (status !== 0) {
      root[Symbol.dispose]();
      throw new Error(`mmdebstrap: ${stderr}`);
    }
    return root;
  }

  /** Another one with the same files. */
  copy(): DebianRoot {
    const other = new DebianRoot();
    rmSync(other.path, { recursive: true });
    const { status, stderr } = spawnSync('cp', ['-a', this.path, other.path], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return other;
  }

  /** Runs a program in it. */
  try(
    command: string,
    args: readonly string[],
    { input = '', env = {}, cwd = '/', network }: RunOptions = {},
  ): SpawnSyncReturns<string> {
    // /dev/net/tun is for everybody, as udev makes it.
    const enter = `mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && cp -f /etc/resolv.conf "$0/etc/resolv.conf"
mount -t tmpfs none "$0/dev/net" && mknod -m 666 "$0/dev/net/tun" c 10 200
exec chroot "$0" sh -c 'cd "$0" && exec "$@"' "$@"`;
    const passed = Object.entries(process.env).filter(([name]) => NETWORK.test(name));
    const own = ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'bash', '-c', enter, this.path];
    const outside = network === undefined ? [] : [`--net=/run/netns/${network}`];
    return spawnSync('nsenter', [...outside, ...own, cwd, command, ...args], {
      encoding: 'utf8',
      input,
      env: {
        ...Object.fromEntries(passed),
        PATH,
        HOME: '/root',
        NO_COLOR: '1',
        ...env,
      } as NodeJS.ProcessEnv,
      maxBuffer: 64 << 20,
      timeout: TIMEOUT_MS,
    });
  }

  /** The same; throws when it fails. */
  run(command: string, args: readonly string[], options?: RunOptions): string {
    const { status, stdout, stderr, error } = this.try(command, args, options);
    if (status !== 0)
      throw new Error(`${command} ${args.join(' ')}: ${String(error ?? '')}${stdout}${stderr}`);
    return stdout;
  }

  /** The certificates that this machine was told to trust on the way to its registry. */
  #addCertificates(): void {
    const file = process.env['NODE_EXTRA_CA_CERTS'] ?? '';
    if (file !== '') cpSync(realpathSync(file), join(this.path, file));
  }

  /** This machine's Node.js and npm where the image of Node.js has them. */
  addNode(): void {
    this.#addCertificates();
    const local = join(this.path, 'usr/local');
    cpSync(realpathSync(process.execPath), join(local, 'bin/node'));
    const npm = dirname(dirname(realpathSync(output('sh', ['-c', 'command -v npm']))));
    cpSync(npm, join(local, 'lib/node_modules/npm'), { recursive: true });
    symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'));
  }

  /** A package named nodejs, with this machine's, for packages to depend on. Returns its path inside. */
  nodePackage(): string {
    const stage = mkdtempSync(join(tmpdir(), 'culvert-nodejs-'));
    try {
      mkdirSync(join(stage, 'DEBIAN'));
      mkdirSync(join(stage, 'usr/bin'), { recursive: true });
      cpSync(realpathSync(process.execPath), join(stage, 'usr/bin/node'));
      const architecture = output('dpkg', ['--print-architecture']);
      writeFileSync(
        join(stage, 'DEBIAN/control'),
        `Package: nodejs\nVersion: ${process.versions.node}\nArchitecture: ${architecture}\n` +
          'Maintainer: nobody <nobody@localhost>\nDepends: libc6, libstdc++6\nDescription: for a test\n',
      );
      for (const path of ['', 'DEBIAN', 'usr', 'usr/bin']) chmodSync(join(stage, path), 0o755);
      return this.#build(stage, 'nodejs.deb');
    } finally {
      rmSync(stage, { recursive: true, force: true });
    }
  }

  #build(stage: string, name: string): string {
    const args = ['--root-owner-group', '-Zgzip', '-z1', '--build', stage, join(this.path, 'tmp', name)];
    const { status, stderr } = spawnSync('dpkg-deb', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return `/tmp/${name}`;
  }

  /** Puts a file into /tmp inside and returns its path there. */
  give(file: string): string {
    const name = file.slice(file.lastIndexOf('/') + 1);
    cpSync(file, join(this.path, 'tmp', name));
    return `/tmp/${name}`;
  }

  exists(path: string): boolean {
    return existsSync(join(this.path, path));
  }

  modeOf(path: string): number {
    return statSync(join(this.path, path)).mode & 0o7777;
  }

  /** Everything but what dpkg and apt keep for themselves, and /tmp, /proc and /dev. */
  files(): string[] {
    const isTheirs =
      /^\/(?:tmp|var\/(?:lib\/(?:dpkg|apt)|cache|log)|etc\/(?:ld\.so\.cache|resolv\.conf))(?:\/|$)/;
    return this.run('find', ['/', '-xdev'])
      .split('\n')
      .filter((name) => !isTheirs.test(name))
      .toSorted();
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
