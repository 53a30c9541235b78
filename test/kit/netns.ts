/**
 * Network namespaces for tests: made, used and removed by the test itself, so that nothing outside is touched.
 * Every namespace has a random name, `lo` up, and is removed by `close` or at the latest when the process ends.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, closeSync, constants, existsSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import type koffiModule from 'koffi';
import { eventually } from './eventually.ts';

export interface Needs {
  /** Programs, by path or looked for in PATH, besides `ip` and `sysctl`. */
  readonly programs?: readonly string[];
  /** /dev/net/tun. */
  readonly tun?: boolean;
}

/**
 * For the `skip` option of a test: false when namespaces can be made and everything in `needs` is there, else one
 * line that says what is missing. Throws instead of skipping under CULVERT_REQUIRE_INTEROP=1.
 */
export function requireRoot(needs: Needs = {}): string | false {
  const missing: string[] = [];
  if (process.platform !== 'linux') missing.push('Linux');
  if (process.getuid?.() !== 0) missing.push('root');
  for (const program of ['ip', 'sysctl', ...(needs.programs ?? [])]) {
    if (!isProgram(program)) missing.push(`the program ${program}`);
  }
  if (needs.tun && !isReadWrite('/dev/net/tun')) missing.push('/dev/net/tun');
  if (missing.length === 0 && !canUnshare()) missing.push('CAP_SYS_ADMIN and CAP_NET_ADMIN');
  if (missing.length === 0) return false;
  const reason = `SKIPPED: needs ${missing.join(', ')}`;
  if (process.env['CULVERT_REQUIRE_INTEROP'] === '1')
    throw new Error(`${reason} (CULVERT_REQUIRE_INTEROP=1)`);
  return reason;
}

function isProgram(name: string): boolean {
  if (name.includes('/')) return existsSync(name);
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, name)));
}

function isReadWrite(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

let unshareWorks: boolean | undefined;

function canUnshare(): boolean {
  if (unshareWorks === undefined) {
    const name = randomName();
    unshareWorks = spawnSync('ip', ['netns', 'add', name]).status === 0;
    if (unshareWorks) spawnSync('ip', ['netns', 'del', name]);
  }
  return unshareWorks;
}

function randomName(): string {
  return `culvert-${randomBytes(6).toString('hex')}`;
}

export interface ExecOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ExecResult {
  /** Exit code; null when a signal or the timeout ended the program. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const live = new Set<Namespace>();
let hooked = false;

/** `exit` handlers do not run when a signal ends the process, so the usual ones are turned into an exit. */
function hookExit(): void {
  if (hooked) return;
  hooked = true;
  process.on('exit', () => {
    for (const namespace of live) namespace.destroy();
  });
  for (const [signal, number] of [
    ['SIGHUP', 1],
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.on(signal, () => process.exit(128 + number));
  }
}

export class Namespace {
  readonly name: string;
  readonly #children = new Set<ChildProcess>();
  readonly #cleanups: (() => void)[] = [];

  private constructor(name: string) {
    this.name = name;
  }

  static create(): Namespace {
    hookExit();
    const namespace = new Namespace(randomName());
    check('ip', ['netns', 'add', namespace.name], run('ip', ['netns', 'add', namespace.name], {}));
    live.add(namespace);
    namespace.exec('ip', ['link', 'set', 'lo', 'up']);
    return namespace;
  }

  /** The file that stands for the namespace, for setns(2). */
  get path(): string {
    return `/var/run/netns/${this.name}`;
  }

  /** Runs a program inside, waits, and returns its standard output. Throws when it fails. */
  exec(command: string, args: readonly string[], options: ExecOptions = {}): string {
    return check(command, args, this.try(command, args, options)).stdout;
  }

  /** As `exec`, but failing is a result and not an error. */
  try(command: string, args: readonly string[], options: ExecOptions = {}): ExecResult {
    // ip(8) enters a namespace by itself, which saves the `ip netns exec` process with its own mount namespace.
    return command === 'ip'
      ? run('ip', ['-n', this.name, ...args], options)
      : run('ip', ['netns', 'exec', this.name, command, ...args], options);
  }

  /** As `exec`, without blocking the event loop: for programs that must run side by side. */
  async run(command: string, args: readonly string[], options: ExecOptions = {}): Promise<string> {
    const child = this.spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 30_000,
      killSignal: 'SIGKILL',
      env: { ...process.env, ...options.env },
    });
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    // A program that ends without reading its input is judged by its exit code, not by EPIPE.
    child.stdin?.on('error', () => {}).end(options.input ?? '');
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    return check(command, args, { status, stdout, stderr }).stdout;
  }

  /** Shorthand: `ip('link set eth0 up')`. */
  ip(words: string): string {
    return this.exec('ip', words.split(/\s+/));
  }

  /** Starts a program inside; `close` ends it. (`ip netns exec` executes it in place, so the pid is its own.) */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /**
   * Runs `action` with this thread inside the namespace. What it opens (sockets, TUN devices) stays there for good;
   * the thread comes back. Synchronous, so that nothing else runs in between.
   */
  within<T>(action: () => T): T {
    const own = openSync('/proc/thread-self/ns/net', constants.O_RDONLY);
    const other = openSync(this.path, constants.O_RDONLY);
    try {
      setns(other);
      try {
        return action();
      } finally {
        setns(own);
      }
    } finally {
      closeSync(other);
      closeSync(own);
    }
  }

  /** Runs `cleanup` when the namespace is removed, the latest one first. */
  defer(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  /** The processes inside, daemons that left their parent included. */
  pids(): number[] {
    return run('ip', ['netns', 'pids', this.name], {}).stdout.split('\n').filter(Boolean).map(Number);
  }

  /** Ends all processes inside, daemons too, and removes the namespace with its links. Idempotent. */
  async close(): Promise<void> {
    if (!live.has(this)) return;
    await eventually(`the processes in ${this.name} end`, () => this.#kill() === 0);
    this.destroy();
  }

  /** `close` without waiting, for exit handlers. */
  destroy(): void {
    if (!live.delete(this)) return;
    this.#kill();
    run('ip', ['netns', 'del', this.name], {});
    for (const cleanup of this.#cleanups.reverse()) cleanup();
  }

  /** A process keeps its namespace alive, with all links, even when the name is gone. Returns how many were left. */
  #kill(): number {
    for (const child of this.#children) child.kill('SIGKILL');
    const inside = this.pids();
    for (const pid of inside) killIfAlive(pid);
    return this.#children.size + inside.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

const CLONE_NEWNET = 0x4000_0000;
let setnsFunction: ((fd: number, type: number) => number) | undefined;

function setns(fd: number): void {
  const koffi = createRequire(import.meta.url)('koffi') as typeof koffiModule;
  setnsFunction ??= koffi.load(null).func('int setns(int fd, int type)');
  if (setnsFunction(fd, CLONE_NEWNET) !== 0) throw new Error(`setns failed with errno ${koffi.errno()}`);
}

export interface VethEnd {
  readonly namespace: Namespace;
  /** Interface name inside its namespace. */
  readonly link: string;
  /** With prefix length: `10.0.0.1/24`, `fd00::1/64`. */
  readonly addresses: readonly string[];
}

/**
 * Joins two namespaces by a veth pair, both ends up and IPv6 usable: no duplicate detection, and the kernel has noticed
 * that the link has a carrier (it does so up to a second later, and until then answers no neighbour solicitation).
 */
export function joinByVeth(a: VethEnd, b: VethEnd): void {
  for (const end of [a, b]) end.namespace.exec('sysctl', ['-qw', 'net.ipv6.conf.default.accept_dad=0']);
  a.namespace.ip(`link add ${a.link} type veth peer name ${b.link} netns ${b.namespace.name}`);
  for (const end of [a, b]) {
    for (const address of end.addresses) {
      end.namespace.ip(`address add ${address} dev ${end.link}${address.includes(':') ? ' nodad' : ''}`);
    }
    end.namespace.ip(`link set ${end.link} up`);
  }
  for (const end of [a, b]) awaitCarrier(end);
}

function awaitCarrier({ namespace, link }: VethEnd): void {
  const deadline = performance.now() + 10_000;
  while (!namespace.ip(`-o link show dev ${link}`).includes(' state UP ')) {
    if (performance.now() > deadline)
      throw new Error(`${link} in ${namespace.name} has no carrier after 10 s`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
}

function run(command: string, args: readonly string[], options: ExecOptions): ExecResult {
  const result = spawnSync(command, args, {
    encoding: 'utf8',
    input: options.input,
    timeout: options.timeoutMs ?? 30_000,
    maxBuffer: 64 << 20,
    env: { ...process.env, ...options.env },
  });
  if (result.error && result.status === null && result.signal === null) throw result.error;
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

function check(command: string, args: readonly string[], result: ExecResult): ExecResult {
  if (result.status === 0) return result;
  const end = result.status === null ? 'was ended by a signal or timeout' : `exited with ${result.status}`;
  throw new Error(`${command} ${args.join(' ')} ${end}: ${(result.stderr || result.stdout).trim()}`);
}
