/**
 * A device under attack by a neighbour who knows its public key: up to 100,000 datagrams a second while another peer
 * goes on pinging. What is demanded holds on a busy machine of two cores; the figures are printed.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { eventually } from '../kit/eventually.ts';
import type { Flood, FloodKind, FloodReport } from '../kit/flooder.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { CULVERT_GO, requireInterop } from '../kit/programs.ts';
import { ping } from '../kit/traffic.ts';
import { newKeyPair } from '../kit/wg.ts';
import { aim, introduce, bringUp, type Side, startPair, startSide } from '../interop/sides.ts';

const FLOODER = fileURLToPath(new URL('../kit/flooder.js', import.meta.url));
const PER_SECOND = 100_000;
/** Besides what an idle device takes: socket queues are the kernel's, everything here is bounded (docs/LIMITS.md). */
const MAX_GROWTH_MIB = 96;
const COOKIE_REPLY_UDP_LENGTH = 64 + 8;
const skip = requireInterop([CULVERT_GO], { programs: ['ping', 'nft'] });
const options = { skip, timeout: 180_000 };

/** Victim, friend and attacker, each in a namespace of its own; the two others are the victim's neighbours. */
class Siege {
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

interface Watch {
  stop(): { readonly sent: number; readonly answered: number; readonly peakMib: number };
}

/** Echoes of the friend and the victim's memory for as long as the flood lasts. */
function watch(siege: Siege): Watch {
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

interface Scene {
  readonly kind: FloodKind;
  readonly count: number;
  readonly what: string;
  /** Where the victim moves packets. */
  readonly lanes?: 'inline';
}

const SCENES: readonly Scene[] = [
  { kind: 'random', count: 400_000, what: 'random bytes' },
  { kind: 'initiations', count: 400_000, what: 'initiations with a right mac1 from one address' },
  { kind: 'initiations', count: 200_000, what: 'the same, without a lane thread,', lanes: 'inline' },
  {
    kind: 'spoofed-initiations',
    count: 400_000,
    what: 'initiations with a right mac1 from 16,384 addresses',
  },
  { kind: 'replay', count: 400_000, what: 'one packet of a real session, replayed,' },
  { kind: 'oversized', count: 100_000, what: 'datagrams of 65,507 bytes of each type' },
];

for (const { kind, count, what, lanes } of SCENES) {
  test(
    `a flood of ${what} stops nobody else, costs little memory, and is over when it is over`,
    options,
    async (t) => {
      await using siege = new Siege();
      const pid = await siege.begin(lanes === undefined ? {} : { CULVERT_LANES: lanes });
      const idleMib = siege.residentMib();
      const seen = watch(siege);
      const flood = siege.flood(kind, count);
      await pause(1_000);
      // Whoever administers the device is served meanwhile.
      assert.equal(siege.victim.process.wg.state().peers.length, 2);
      const report = await flood;
      const { sent, answered, peakMib } = seen.stop();
      tell(t, { kind, lanes, ...report, pingsSent: sent, pingsAnswered: answered, idleMib, peakMib });
      assert.ok(report.sent > count / 2, 'the attacker has sent what it should');
      assert.ok(
        sent > 0 && answered >= sent / 4,
        `${answered} of ${sent} echoes were answered during the flood`,
      );
      assert.ok(peakMib - idleMib < MAX_GROWTH_MIB, `grew from ${idleMib} to ${peakMib} MiB`);
      // At once: the first echo behind the flood is answered, and those that follow.
      await ping(siege.friendSpace, siege.victim.inner4, { count: 50, flood: true });
      assert.equal(siege.victim.process.pid(), pid, 'the process is the same');
    },
  );
}

test(
  'under a flood of initiations cookies are demanded, and with one a handshake succeeds',
  options,
  async (t) => {
    await using siege = new Siege();
    await siege.begin();
    await using lateSpace = Namespace.create();
    joinByVeth(
      { namespace: siege.victimSpace, link: 'late', addresses: ['10.0.2.1/24'] },
      { namespace: lateSpace, link: 'veth', addresses: ['10.0.2.2/24'] },
    );
    const late: Side = {
      ...startSide(2, { implementation: CULVERT_GO, namespace: lateSpace }),
      inner4: '192.168.241.3',
    };
    introduce(late, siege.victim);
    await bringUp(late);
    lateSpace.exec('nft', ['add table inet watch']);
    lateSpace.exec('nft', ['add chain inet watch input { type filter hook input priority 0; }']);
    lateSpace.exec('nft', [`add rule inet watch input udp length ${COOKIE_REPLY_UDP_LENGTH} counter`]);
    siege.victim.process.wg.set(`peer ${late.keys.publicKey} allowed-ips ${late.inner4}/32`);

    let isOver = false;
    const flood = siege.flood('initiations', 2_500_000).finally(() => (isOver = true));
    // It takes a moment until the attacker sends.
    await eventually(
      'the victim gets initiations',
      () => siege.victim.process.namespace.exec('ss', ['-lunm']).length > 0,
    );
    await eventually('the queue is full', () => counterOf(siege) > 100_000, 30_000);
    aim(late, siege.victim, '10.0.2.1');
    lateSpace.try('ping', ['-n', '-c', '1', '-W', '1', siege.victim.inner4]);
    await eventually('the handshake succeeds', () => late.process.wg.peer().latestHandshake > 0, 30_000);
    assert.equal(isOver, false, 'it succeeded while the flood went on');
    const [, cookies] = /counter packets (\d+)/.exec(lateSpace.exec('nft', ['list', 'ruleset'])) ?? [];
    assert.ok(Number(cookies) >= 1, 'a cookie was demanded');
    tell(t, { cookies: Number(cookies), ...(await flood) });
  },
);

/** UDP datagrams that the victim's namespace has received. */
function counterOf({ victimSpace }: Siege): number {
  const [names = '', numbers = ''] = victimSpace
    .exec('cat', ['/proc/net/snmp'])
    .split('\n')
    .filter((line) => line.startsWith('Udp:'));
  return Number(numbers.split(' ')[names.split(' ').indexOf('InDatagrams')]);
}

function tell(t: TestContext, figures: object): void {
  t.diagnostic(
    JSON.stringify(figures, (_, value: unknown) =>
      typeof value === 'number' ? Math.round(value * 100) / 100 : value,
    ),
  );
}
