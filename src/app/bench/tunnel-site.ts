/**
 * Two devices of one implementation, each with its TUN in a namespace of its own and its sockets in a third one, so that
 * nothing of the machine's own network is touched or measured.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../../core/errors.ts';
import { type Address, formatSocketAddress } from '../../core/ip.ts';
import { systemRandom } from '../../core/random.ts';
import { PrivateKey, type PublicKey } from '../../noise/keys.ts';
import { NetworkNamespace } from '../../sys/namespace.ts';
import { printChange } from '../../tunnel/uapi-change.ts';
import { uapiPath } from '../../tunnel/uapi-socket.ts';
import { publicKeyOf } from '../public-key.ts';
import { linkIndex, setLoopbackUp, withRoutes } from '../routes.ts';
import { isAlive, setDevice } from '../uapi-client.ts';
import { processCpuSeconds } from './processes.ts';

export interface Implementation {
  readonly name: string;
  /** Program and arguments in front of `-f INTERFACE`, as wireguard-go has it. */
  readonly command: readonly [string, ...string[]];
  /** Beside what is in the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export const ADDRESSES: readonly [Address, Address] = [
  Uint8Array.of(10, 7, 0, 1),
  Uint8Array.of(10, 7, 0, 2),
];
const PREFIX_LENGTH = 24;
const LOOPBACK: Address = Uint8Array.of(127, 0, 0, 1);
const PORTS = [51_821, 51_822] as const;
const START_TIMEOUT_MS = 10_000;

export class TunnelSite {
  /** Where the applications are: first and second side. */
  readonly inner: readonly [NetworkNamespace, NetworkNamespace];
  readonly #wire = NetworkNamespace.create();
  readonly #children: ChildProcess[] = [];
  readonly #sockets: string[] = [];

  private constructor() {
    this.inner = [NetworkNamespace.create(), NetworkNamespace.create()];
  }

  /** Throws AppError when rights are missing or a device does not start. */
  static async open(implementation: Implementation): Promise<TunnelSite> {
    const site = new TunnelSite();
    try {
      site.#wire.run(setLoopbackUp);
      const keys = ADDRESSES.map(() => PrivateKey.generate(systemRandom)) as [PrivateKey, PrivateKey];
      const publicKeys = keys.map(publicKeyOf) as [PublicKey, PublicKey];
      await site.#addSide(implementation, 0, keys[0], publicKeys[1]);
      await site.#addSide(implementation, 1, keys[1], publicKeys[0]);
      for (const key of keys) key.zero();
    } catch (error) {
      await site.close();
      throw error;
    }
    return site;
  }

  /** User and system time of both devices so far. */
  cpuSeconds(): number {
    return this.#children.reduce((sum, { pid = 0 }) => sum + processCpuSeconds(pid), 0);
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const deadline = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
      await ended;
      clearTimeout(deadline);
    }
    for (const path of this.#sockets) rmSync(path, { force: true });
    for (const namespace of [this.#wire, ...this.inner]) namespace.close();
  }

  async #addSide(
    { name, command: [program, ...args], env: own }: Implementation,
    side: 0 | 1,
    privateKey: PrivateKey,
    peer: PublicKey,
  ): Promise<void> {
    // /var/run/wireguard is shared by all namespaces.
    const link = `cvb${process.pid.toString(36)}${side}`;
    const path = uapiPath(link);
    this.#sockets.push(path);
    const env = { ...process.env, ...own, LOG_LEVEL: 'error' };
    const child = this.#wire.run(() => spawn(program, [...args, '-f', link], { stdio: 'ignore', env }));
    this.#children.push(child);
    const failed = once(child, 'exit').then(([code, signal]) => {
      throw new AppError('unavailable', `${name} ended with ${String(signal ?? `exit code ${code}`)}`);
    });
    await Promise.race([
      untilAlive(name, path),
      failed,
      once(child, 'error').then(([cause]) => fail(name, cause)),
    ]);
    failed.catch(() => {});
    const endpoint = { address: LOOPBACK, port: PORTS[1 - side] as number, scope: 0, carrier: 0 };
    const allowedIps = [{ prefix: { address: ADDRESSES[1 - side] as Address, length: 32 }, remove: false }];
    const change = {
      privateKey,
      listenPort: PORTS[side],
      peers: [{ publicKey: peer, endpoint, allowedIps }],
    };
    await setDevice(link, `${printChange(change, formatSocketAddress)}\n`);
    this.#moveLink(link, side);
  }

  #moveLink(name: string, side: 0 | 1): void {
    const inner = this.inner[side];
    this.#wire.run(() => withRoutes((routes) => routes.moveLink(linkIndex(routes, name), inner.fd)));
    inner.run(() =>
      withRoutes((routes) => {
        const index = linkIndex(routes, name);
        routes.addAddress(index, ADDRESSES[side], PREFIX_LENGTH);
        routes.setLinkUp(index, true);
      }),
    );
  }
}

async function untilAlive(name: string, path: string): Promise<void> {
  for (let waited = 0; !(await isAlive(path)); waited += 20) {
    if (waited > START_TIMEOUT_MS) throw new AppError('unavailable', `${name} did not open its UAPI socket`);
    await pause(20);
  }
}

function fail(name: string, cause: unknown): never {
  throw new AppError('unavailable', `${name} cannot be started: ${(cause as Error).message}`, { cause });
}
