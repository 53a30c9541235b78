/**
 * A device under attack by a neighbour who knows its public key: up to 100,000 datagrams a second while another peer
 * goes on pinging. What is demanded holds on a busy machine of two cores; the figures are printed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { eventually } from '../kit/eventually.ts';
import type { FloodKind } from '../kit/flooder.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { CULVERT_GO, requireInterop } from '../kit/programs.ts';
import { Siege, tell, watch } from '../kit/siege.ts';
import { ping } from '../kit/traffic.ts';
import { aim, introduce, bringUp, type Side, startSide } from '../interop/sides.ts';

/** Besides what an idle device takes: socket queues are the kernel's, everything here is bounded (docs/LIMITS.md). */
const MAX_GROWTH_MIB = 96;
const COOKIE_REPLY_UDP_LENGTH = 64 + 8;
const skip = requireInterop([CULVERT_GO], { programs: ['ping', 'nft'] });
const options = { skip, timeout: 180_000 };

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
