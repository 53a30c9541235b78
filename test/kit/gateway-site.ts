/** A gateway (`culvert serve`) and machines (`culvert join`) as processes in namespaces of their own. */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { statusPath } from '../../src/app/agent/status-socket.ts';
import type { MachineStatus } from '../../src/app/agent/status.ts';
import { eventually } from './eventually.ts';
import { joinByVeth, Namespace } from './netns.ts';
import { newLinkName, socketPath } from './programs.ts';

export const CULVERT: string = fileURLToPath(new URL('../../../bin/culvert', import.meta.url));
export const SERVER_ADDRESS = 'fdae:41e4:649b:9303::1';
export const JOIN_TOKEN = 'atokenfortests';
const API_PORT = 4000;
const WIREGUARD_PORT = 50180;

export class GatewaySite implements AsyncDisposable {
  readonly gateway: Namespace = Namespace.create();
  readonly directory: string = mkdtempSync(join(tmpdir(), 'culvert-site-'));
  readonly link: string = newLinkName();
  readonly #namespaces: Namespace[] = [this.gateway];
  readonly #links: string[] = [this.link];
  #serving: ChildProcess | undefined;
  #flags: readonly string[] = [];

  /** Starts `culvert serve` with these flags, and one machine's namespace to join from. */
  static async open(...flags: readonly string[]): Promise<{ site: GatewaySite; machine: MachineSite }> {
    const site = new GatewaySite();
    try {
      const machine = site.addMachine();
      await site.serve(...flags);
      return { site, machine };
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A namespace with a wire of its own to the gateway. */
  addMachine(): MachineSite {
    const number = this.#namespaces.length;
    const namespace = Namespace.create();
    this.#namespaces.push(namespace);
    joinByVeth(
      { namespace: this.gateway, link: `veth${number}`, addresses: [`10.9.${number}.1/24`] },
      { namespace, link: 'veth', addresses: [`10.9.${number}.2/24`] },
    );
    // Machines reach the gateway under its first address, whatever their wire.
    namespace.ip(`route add default via 10.9.${number}.1`);
    const machine = new MachineSite(this, namespace, number);
    this.#links.push(machine.link);
    return machine;
  }

  async serve(...flags: readonly string[]): Promise<void> {
    this.#flags = flags;
    this.#serving = this.gateway.spawn(
      CULVERT,
      [
        'serve',
        ...['--state', join(this.directory, 'gateway'), '--interface', this.link],
        ...['--advertise', `grpc://10.9.1.1:${API_PORT}`, '--metrics-listen', 'none'],
        ...flags,
      ],
      { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, CULVERT_JOIN_TOKEN: JOIN_TOKEN } },
    );
    await eventually('the gateway listens', () => this.#listens(), 60_000);
  }

  #listens(): boolean {
    return this.gateway.exec('ss', ['-tlnH']).includes(`:${API_PORT} `);
  }

  /** Ends the gateway without a warning and starts it again as it was. */
  async restart(): Promise<void> {
    this.#serving?.kill('SIGKILL');
    await eventually('the gateway is gone', () => !this.#listens());
    await this.serve(...this.#flags);
  }

  /** Drops what arrives over UDP, on the machine's wire, in both directions. */
  blockUdp(): void {
    this.gateway.exec('nft', ['-f', '-'], {
      input: `table inet block {
        chain in { type filter hook input priority -10; udp dport ${WIREGUARD_PORT} drop; }
        chain out { type filter hook output priority -10; udp sport ${WIREGUARD_PORT} drop; }
      }`,
    });
  }

  openUdp(): void {
    this.gateway.exec('nft', ['delete', 'table', 'inet', 'block']);
  }

  /** Runs `culvert machines …` against the running gateway. */
  machines(...args: readonly string[]): string {
    return this.gateway.exec(CULVERT, ['machines', ...args, '--state', join(this.directory, 'gateway')]);
  }

  /** Starts a server that ends with the site. */
  spawn(command: string, args: readonly string[]): ChildProcess {
    return this.gateway.spawn(command, args, { stdio: 'ignore' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#namespaces.map((namespace) => namespace.close()));
    rmSync(this.directory, { recursive: true, force: true });
    // Killed processes leave their sockets behind.
    for (const link of this.#links) {
      rmSync(statusPath(link), { force: true });
      rmSync(socketPath(link), { force: true });
    }
  }
}

export class MachineSite {
  readonly #site: GatewaySite;
  readonly namespace: Namespace;
  readonly link: string = newLinkName();
  readonly state: string;
  readonly logFile: string;

  constructor(site: GatewaySite, namespace: Namespace, number: number) {
    this.#site = site;
    this.namespace = namespace;
    this.state = join(site.directory, `machine${number}`);
    this.logFile = join(site.directory, `machine${number}.log`);
  }

  url(more = '', authority = `10.9.1.1:${API_PORT}`, scheme = 'grpc'): string {
    return `${scheme}://${authority}/?jointoken=${JOIN_TOKEN}${more}`;
  }

  /** Starts `culvert join` with this URL and these flags; does not wait. */
  join(url: string, flags: readonly string[] = [], env: Readonly<Record<string, string>> = {}): ChildProcess {
    return this.namespace.spawn(CULVERT, this.arguments(url, flags), {
      stdio: 'ignore',
      env: { ...process.env, WG_LOG_FILE: this.logFile, ...env },
    });
  }

  arguments(url: string, flags: readonly string[] = []): string[] {
    return ['join', url, '--interface', this.link, '--state', this.state, '--log-level', 'debug', ...flags];
  }

  /** Undefined while nobody answers. */
  status(): MachineStatus | undefined {
    const { stdout } = this.namespace.try(CULVERT, ['status', this.link, '--json']);
    return stdout === '' ? undefined : (JSON.parse(stdout) as MachineStatus);
  }

  /** Resolves with the status that `isSo`; the log is in the error when that takes too long. */
  async until(
    what: string,
    isSo: (status: MachineStatus) => boolean,
    timeoutMs = 60_000,
  ): Promise<MachineStatus> {
    try {
      return await eventually(
        what,
        () => {
          const status = this.status();
          return status && isSo(status) ? status : undefined;
        },
        timeoutMs,
      );
    } catch (error) {
      throw new Error(`${String(error)}\n${JSON.stringify(this.status())}\n${this.log()}`, { cause: error });
    }
  }

  connected(over: 'udp' | 'grpc', timeoutMs?: number): Promise<MachineStatus> {
    return this.until(
      `connected over ${over}`,
      ({ isConnected, transport, state }) => isConnected && transport === over && state === 'up',
      timeoutMs,
    );
  }

  log(): string {
    try {
      return readFileSync(this.logFile, 'utf8');
    } catch {
      return '';
    }
  }

  get site(): GatewaySite {
    return this.#site;
  }
}
