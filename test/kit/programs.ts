/**
 * WireGuard implementations as programs, driven by the contract of wireguard-go: `PROGRAM LINK` returns when the
 * TUN and /var/run/wireguard/LINK.sock are ready and leaves a daemon behind, `PROGRAM -f LINK` stays.
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';
import { type Namespace, type Needs, requireRoot } from './netns.ts';
import { Wg } from './wg.ts';

/** The repository's root, seen from dist/test/kit. */
const root = fileURLToPath(new URL('../../..', import.meta.url));

export interface Implementation {
  /** For test titles, and to mark what is known of one implementation. */
  readonly name: string;
  /** Path, or a name to look for in PATH. */
  readonly path: string;
}

export const WIREGUARD_GO: Implementation = { name: 'wireguard-go', path: 'wireguard-go' };

/** The repository's own, for tests that know its insides. */
export const CULVERT_GO: Implementation = { name: 'culvert-go', path: join(root, 'bin', 'culvert-go') };

/** What the black-box tests judge: env CULVERT_TEST_PROGRAM, or the repository's bin/culvert-go. */
export function implementationUnderTest(): Implementation {
  const program = process.env['CULVERT_TEST_PROGRAM'] ?? join(root, 'bin', 'culvert-go');
  return { name: basename(program), path: program.includes('/') ? resolve(program) : program };
}

/**
 * For the `todo` option of a test: a test that this implementation is known to fail runs and is reported, but does
 * not count. It counts for every other implementation.
 */
export function knownFlaw(
  implementation: Implementation,
  flaws: Readonly<Record<string, string>>,
): string | false {
  return flaws[implementation.name] ?? false;
}

/** For the `skip` option: as `requireRoot`, with /dev/net/tun, `wg` and the implementations among the needs. */
export function requireInterop(
  implementations: readonly Implementation[],
  needs: Omit<Needs, 'tun'> = {},
): string | false {
  const paths = implementations.map(({ path }) => path);
  return requireRoot({ programs: ['wg', 'ss', ...paths, ...(needs.programs ?? [])], tun: true });
}

export interface StartOptions {
  readonly link?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** /var/run/wireguard is shared by all network namespaces, so link names are unique on the machine. */
export const LINK_PREFIX: string = `cv${randomBytes(3).toString('hex')}`;
let linkCount = 0;

export function newLinkName(): string {
  return `${LINK_PREFIX}${(linkCount++).toString(36)}`;
}

/** A running daemon and its link. The process stays in its namespace when the link moves to another. */
export class WireGuardProcess {
  readonly implementation: Implementation;
  readonly namespace: Namespace;
  readonly link: string;
  readonly wg: Wg;
  /** The child when started by `startForeground`. */
  readonly child: ChildProcess | undefined;
  #linkNamespace: Namespace;

  private constructor(
    implementation: Implementation,
    namespace: Namespace,
    link: string,
    child?: ChildProcess,
  ) {
    this.implementation = implementation;
    this.namespace = namespace;
    this.#linkNamespace = namespace;
    this.link = link;
    this.child = child;
    this.wg = new Wg(link);
  }

  /** Runs `PROGRAM LINK`. The socket must be there on return, as wg-quick never waits. */
  static start(
    implementation: Implementation,
    namespace: Namespace,
    options: StartOptions = {},
  ): WireGuardProcess {
    const link = options.link ?? newLinkName();
    removeSocketWith(namespace, link);
    const result = runProgram(implementation, namespace, [link], options.env);
    if (result.status !== 0)
      throw new Error(`${implementation.path} ${link} exited with ${result.status}: ${result.output}`);
    if (!existsSync(socketPath(link))) throw new Error(`${implementation.path} ${link}: no socket on return`);
    return new WireGuardProcess(implementation, namespace, link);
  }

  /** Runs `PROGRAM -f LINK` and waits for its socket. */
  static async startForeground(
    implementation: Implementation,
    namespace: Namespace,
    options: StartOptions = {},
  ): Promise<WireGuardProcess> {
    const link = options.link ?? newLinkName();
    removeSocketWith(namespace, link);
    const log = openLog();
    const child = namespace.spawn(implementation.path, ['-f', link], {
      stdio: ['ignore', log.fd, log.fd],
      env: { ...process.env, ...options.env },
    });
    closeSync(log.fd);
    const started = new WireGuardProcess(implementation, namespace, link, child);
    await eventually(`${implementation.path} -f ${link} listens`, () => started.#pid() !== undefined);
    return started;
  }

  get socketPath(): string {
    return socketPath(this.link);
  }

  /** Where the link is. */
  get linkNamespace(): Namespace {
    return this.#linkNamespace;
  }

  moveLinkTo(namespace: Namespace): void {
    this.#linkNamespace.ip(`link set ${this.link} netns ${namespace.name}`);
    this.#linkNamespace = namespace;
  }

  /** The process that listens on the socket. */
  pid(): number {
    const pid = this.#pid();
    if (pid === undefined) throw new Error(`nothing listens on ${this.socketPath}`);
    return pid;
  }

  #pid(): number | undefined {
    const listening = this.namespace.exec('ss', ['-xlpH', 'src', this.socketPath]);
    const pid = /pid=(\d+)/.exec(listening)?.[1];
    return pid === undefined ? undefined : Number(pid);
  }

  linkExists(): boolean {
    return this.#linkNamespace.try('ip', ['link', 'show', 'dev', this.link]).status === 0;
  }

  /** Waits until the UDP sockets of an interface that is up are bound, which is when handshakes can arrive. */
  async listening(port: number): Promise<void> {
    await eventually(`${this.link} listens on UDP port ${port}`, () =>
      this.namespace.exec('ss', ['-lunH', 'sport', '=', `:${port}`]).includes(`:${port}`),
    );
  }

  /** Sends `signal` and waits until nothing is left. */
  async stop(signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<void> {
    const pid = this.pid();
    process.kill(pid, signal);
    await this.gone(pid);
  }

  /** Waits until the process `pid`, its link and its socket are gone. */
  async gone(pid: number, timeoutMs?: number): Promise<void> {
    await eventually(`process ${pid} of ${this.link} ends`, () => !isRunning(pid), timeoutMs);
    await eventually(`the link ${this.link} vanishes`, () => !this.linkExists(), timeoutMs);
    await eventually(`${this.socketPath} is removed`, () => !existsSync(this.socketPath), timeoutMs);
  }
}

export interface ProgramResult {
  readonly status: number | null;
  /** Standard output and error. */
  readonly output: string;
}

/** Runs the program with any arguments to its end. */
export function runProgram(
  implementation: Implementation,
  namespace: Namespace,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ProgramResult {
  const log = openLog();
  // Files and not pipes: spawnSync would wait for a daemon that inherited a pipe.
  const result = spawnSync('ip', ['netns', 'exec', namespace.name, implementation.path, ...args], {
    stdio: ['ignore', log.fd, log.fd],
    timeout: 30_000,
    env: { ...process.env, ...env },
  });
  closeSync(log.fd);
  if (result.error) throw result.error;
  return { status: result.status, output: readFileSync(log.path, 'utf8') };
}

export function socketPath(link: string): string {
  return `/var/run/wireguard/${link}.sock`;
}

/** A zombie has ended: whether it was reaped is up to its parent. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function removeSocketWith(namespace: Namespace, link: string): void {
  namespace.defer(() => rmSync(socketPath(link), { force: true }));
}

let logFolder: string | undefined;
let logCount = 0;

/** One log per start. Env CULVERT_TEST_LOGS names a folder to keep them in; try it with LOG_LEVEL=verbose. */
function openLog(): { readonly fd: number; readonly path: string } {
  if (logFolder === undefined) {
    const kept = process.env['CULVERT_TEST_LOGS'];
    if (kept) mkdirSync(kept, { recursive: true });
    const folder = kept ?? mkdtempSync(join(tmpdir(), 'culvert-test-'));
    if (!kept) process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    logFolder = folder;
  }
  const path = join(logFolder, `${LINK_PREFIX}-${++logCount}.log`);
  return { fd: openSync(path, 'w'), path };
}
