/** `culvert serve` as a program in a namespace, driven by its admin socket, and machines that join it. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { AdminClient } from '../../src/app/gateway/admin-client.ts';
import type { JoinView, MachineView } from '../../src/app/gateway/admin-views.ts';
import { statusPath } from '../../src/app/agent/status-socket.ts';
import { uapiPath } from '../../src/tunnel/uapi-socket.ts';
import { eventually } from './eventually.ts';
import { joinByVeth, Namespace } from './netns.ts';
import { newLinkName } from './programs.ts';

export const CULVERT: string = fileURLToPath(new URL('../../../bin/culvert', import.meta.url));
const SWARM_PROCESS = fileURLToPath(new URL('./swarm-process.js', import.meta.url));

/** Where machines find the gateway; on its loopback interface, so that it is the same from every side. */
export const GATEWAY_ADDRESS = '10.88.0.1';

export interface Site {
  readonly gateway: Namespace;
  readonly machines: readonly Namespace[];
  close(): Promise<void>;
}

/** A namespace for the gateway, and one for each machine with a way to it and to nobody else. */
export function createSite(machineCount: number): Site {
  const gateway = Namespace.create();
  gateway.ip(`address add ${GATEWAY_ADDRESS}/32 dev lo`);
  const machines = Array.from({ length: machineCount }, (_, i) => {
    const machine = Namespace.create();
    joinByVeth(
      { namespace: gateway, link: `m${i}`, addresses: [`10.88.${i + 1}.1/24`] },
      { namespace: machine, link: 'eth0', addresses: [`10.88.${i + 1}.2/24`] },
    );
    machine.ip(`route add default via 10.88.${i + 1}.1`);
    return machine;
  });
  return {
    gateway,
    machines,
    close: async () => {
      await Promise.all([gateway, ...machines].map((namespace) => namespace.close()));
    },
  };
}

export class GatewayProgram {
  readonly directory: string;
  readonly admin: AdminClient;
  readonly #namespace: Namespace;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  output = '';

  constructor(namespace: Namespace, args: readonly string[] = []) {
    this.#namespace = namespace;
    this.#args = args;
    this.directory = mkdtempSync(join(tmpdir(), 'culvert-serve-'));
    namespace.defer(() => rmSync(this.directory, { recursive: true, force: true }));
    this.admin = new AdminClient(this.directory);
  }

  /** Resolves when it serves. Rejects with what it said when it does not. */
  async start(): Promise<void> {
    this.output = '';
    const child = this.#namespace.spawn(
      CULVERT,
      ['serve', '--state', this.directory, '--advertise', `grpc://${GATEWAY_ADDRESS}:4000`, ...this.#args],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1' } },
    );
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    let hasEnded = false;
    child.once('close', () => (hasEnded = true));
    await eventually(
      'the gateway serves',
      () => hasEnded || /machines ls .*who has joined/.test(this.output),
      30_000,
    );
    if (hasEnded) throw new Error(`culvert serve has ended: ${this.output}`);
  }

  /** Ends it and resolves to its exit code, or the signal. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const child = this.#child as ChildProcess;
    const closed = once(child, 'close');
    child.kill(signal);
    const [code, by] = (await closed) as [number | null, NodeJS.Signals | null];
    return code ?? by;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  join(name?: string): Promise<JoinView> {
    return this.admin.call('tokens.join', name === undefined ? {} : { name });
  }

  async machines(): Promise<MachineView[]> {
    return (await this.admin.call('machines.list', {})).machines;
  }

  /** The machine once it is connected. */
  connected(uuid: string, transport?: string): Promise<MachineView> {
    return eventually(
      `${uuid} is connected ${transport ?? ''}\n${this.output}`,
      async () => {
        const machine = (await this.machines()).find(({ id }) => id === uuid);
        const isIt = machine?.state === 'connected' && (transport ?? machine.transport) === machine.transport;
        return isIt && machine;
      },
      60_000,
    );
  }

  /** Value of a sample of /metrics. */
  metric(sample: string): number {
    const page = this.#namespace.exec('curl', ['-sS', 'http://127.0.0.1:9586/metrics']);
    const line = page.split('\n').find((each) => each.startsWith(`${sample} `));
    return Number(line?.slice(sample.length + 1));
  }
}

/** Many machines in one process. */
export class Swarm {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(
    namespace: Namespace,
    order: { joinToken: string; provisioned: number; udp: number; grpc: number },
  ) {
    this.#child = namespace.spawn(
      process.execPath,
      [
        '--enable-source-maps',
        SWARM_PROCESS,
        JSON.stringify({ host: GATEWAY_ADDRESS, port: 4000, ...order }),
      ],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[
      Symbol.asyncIterator
    ]();
  }

  async ready(): Promise<{ provisionMs: number }> {
    return (await this.#next()) as { provisionMs: number };
  }

  /** How many machines got an answer to a ping sent now, and how many relays are over for good. */
  async ping(): Promise<{ answered: number; ended: number }> {
    this.#child.stdin?.write('ping\n');
    return (await this.#next()) as { answered: number; ended: number };
  }

  async #next(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the swarm has ended: ${this.#errors}`);
    return JSON.parse(value);
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

export interface JoinOptions {
  readonly url: string;
  readonly uuid: string;
  readonly transport: 'auto' | 'udp' | 'grpc';
  readonly args?: readonly string[];
}

/** `culvert join` as a program. */
export class JoinProgram {
  readonly interfaceName: string = newLinkName();
  readonly namespace: Namespace;
  readonly uuid: string;
  readonly #child: ChildProcess;
  output = '';

  constructor(namespace: Namespace, { url, uuid, transport, args = [] }: JoinOptions) {
    this.namespace = namespace;
    this.uuid = uuid;
    const directory = mkdtempSync(join(tmpdir(), 'culvert-join-'));
    namespace.defer(() => {
      rmSync(directory, { recursive: true, force: true });
      // Left behind when it is killed with its namespace.
      rmSync(statusPath(this.interfaceName), { force: true });
      rmSync(uapiPath(this.interfaceName), { force: true });
    });
    const flags = ['--transport', transport, '--interface', this.interfaceName, '--state', directory];
    this.#child = namespace.spawn(CULVERT, ['join', url, '--uuid', uuid, ...flags, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    await closed;
  }
}

export function uuid(number: number): string {
  return `${String(number).padStart(8, '0')}-aaaa-4bbb-8ccc-dddddddddddd`;
}
