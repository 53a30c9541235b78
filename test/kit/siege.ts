/** A device that somebody puts under stress while a friend goes on pinging through it. */
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { aim, type Side, startPair } from '../interop/sides.ts';
import type { Flood, FloodKind, FloodReport } from './flooder.ts';
import { joinByVeth, Namespace } from './netns.ts';
import { CULVERT_GO } from './programs.ts';
import { ping } from './traffic.ts';
import { newKeyPair } from './wg.ts';

const FLOODER = fileURLToPath(new URL('./flooder.js', import.meta.url));
const PER_SECOND = 100_000;

/** Victim, friend and attacker, each in a namespace of its own; the two others are the victim's neighbours. */
export class Siege {
  readonly victimSpace: Namespace = Namespace.create();
  readonly friendSpace: Namespace = Namespace.create();
  readonly attackerSpace: Namespace = Namespace.create();
  readonly attackerKeys = newKeyPair();
  #pair: { readonly one: Side; readonly two: Side } | undefined;

  get victim(): Side {
    return (this.#pair as { one: Side }).one;
  }
  get friend(): Side {
    return (this.#pair as { two: Side }).two;
  }

  async begin(env: Readonly<Record<string, string>> = {}): Promise<number> {
    joinByVeth(
      { namespace: this.victimSpace, link: 'friend', addresses: ['10.0.0.1/24'] },
      { namespace: this.friendSpace, link: 'veth', addresses: ['10.0.0.2/24'] },
    );
    joinByVeth(
      { namespace: this.victimSpace, link: 'attacker', addresses: ['10.0.1.1/24'] },
      { namespace: this.attackerSpace, link: 'veth', addresses: ['10.0.1.2/24'] },
    );
    this.victimSpace.ip('link set attacker mtu 65535');
    this.attackerSpace.ip('link set veth mtu 65535');
    // Every address of 10.9.0.0/16 is the attacker's.
    this.attackerSpace.ip('route add local 10.9.0.0/16 dev lo');
    this.victimSpace.ip('route add 10.9.0.0/16 via 10.0.1.2');
    this.#pair = await startPair(
      { implementation: CULVERT_GO, namespace: this.victimSpace, env },
      { implementation: CULVERT_GO, namespace: this.friendSpace },
    );
    this.victim.process.wg.set(`peer ${this.attackerKeys.publicKey} allowed-ips 192.168.241.99/32`);
    aim(this.friend, this.victim, '10.0.0.1');
    await ping(this.friendSpace, this.victim.inner4, { count: 20, flood: true });
    return this.victim.process.pid();
  }

  /** Resolves when all is sent. */
  async flood(kind: FloodKind, count: number): Promise<FloodReport> {
    const order: Flood = {
      kind,
      address: '10.0.1.1',
      port: this.victim.port,
      publicKey: this.victim.keys.publicKey,
      privateKey: this.attackerKeys.privateKey,
      sources: [10, 9],
      count,
      perSecond: PER_SECOND,
    };
    const text = await this.attackerSpace.run(process.execPath, [FLOODER, JSON.stringify(order)], {
      timeoutMs: 120_000,
    });
    return JSON.parse(text) as FloodReport;
  }

  residentMib(): number {
    const status = readFileSync(`/proc/${this.victim.process.pid()}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.victimSpace, this.friendSpace, this.attackerSpace].map((space) => space.close()));
  }
}

export interface Watch {
  stop(): { readonly sent: number; readonly answered: number; readonly peakMib: number };
}

/** Echoes of the friend and the victim's memory for as long as the flood lasts. */
export function watch(siege: Siege): Watch {
  let output = '';
  let peakMib = 0;
  const child = siege.friendSpace.spawn('ping', ['-n', '-O', '-i', '0.05', siege.victim.inner4], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const sampler = setInterval(() => (peakMib = Math.max(peakMib, siege.residentMib())), 100);
  return {
    stop: () => {
      clearInterval(sampler);
      child.kill();
      const answered = [...output.matchAll(/bytes from .* icmp_seq=(\d+)/g)].map(([, sequence]) =>
        Number(sequence),
      );
      return { sent: Math.max(0, ...answered), answered: answered.length, peakMib };
    },
  };
}

/** Prints figures, rounded. */
export function tell(t: TestContext, figures: object): void {
  t.diagnostic(
    JSON.stringify(figures, (_, value: unknown) =>
      typeof value === 'number' ? Math.round(value * 100) / 100 : value,
    ),
  );
}
