/** The implementation under test against wireguard-go: every combination of roles, families and pre-shared key. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import type { Namespace } from '../kit/netns.ts';
import { implementationUnderTest, requireInterop, WIREGUARD_GO } from '../kit/programs.ts';
import { answers, iperf } from '../kit/traffic.ts';
import { newPresharedKey } from '../kit/wg.ts';
import {
  aim,
  exchangeTraffic,
  type LinkedPair,
  OUTER,
  pingPeer,
  type Side,
  startAgain,
  startLinkedPair,
  TEST_TIMEOUT_MS,
} from './sides.ts';

const ours = implementationUnderTest();
const theirs = WIREGUARD_GO;
const options = {
  skip: requireInterop([ours, theirs], { programs: ['ping', 'iperf3', 'nft'] }),
  timeout: TEST_TIMEOUT_MS,
};

/** New-handshake timer (15 s) and a lost handshake or two (5 s each). */
const RECOVERY_MS = 30_000;

for (const [initiator, responder] of [
  [ours, theirs],
  [theirs, ours],
] as const) {
  const who = `${initiator.name} to ${responder.name}`;

  for (const family of [4, 6] as const) {
    for (const presharedKey of [undefined, 'with']) {
      const how = `over IPv${family} ${presharedKey ?? 'without'} pre-shared key`;
      test(`${who} ${how}: echoes, TCP and UDP`, options, async () => {
        await using pair = await startLinkedPair(
          initiator,
          responder,
          presharedKey === undefined ? undefined : newPresharedKey(),
        );
        const { one, two } = pair;
        aim(one, two, OUTER.two[family]);
        await pingPeer(one, two);
        await exchangeTraffic(pair, 8 << 20);
        assert.equal(two.process.wg.peer().endpoint, `${OUTER.one[family]}:${one.port}`);
        assert.ok(two.process.wg.peer().latestHandshake > 0 && one.process.wg.peer().latestHandshake > 0);
      });
    }
  }

  test(`${who}: different pre-shared keys never become a session`, options, async () => {
    await using pair = await startLinkedPair(initiator, responder, newPresharedKey());
    const { one, two } = pair;
    one.process.wg.set(`peer ${two.keys.publicKey} preshared-key ${newPresharedKey()}`);
    aim(one, two, OUTER.two[4]);
    assert.equal(await answers(one.process.namespace, two.inner4), false);
    assert.ok(two.process.wg.peer().txBytes > 0, 'the responder has answered the initiation');
    assert.equal(one.process.wg.peer().latestHandshake, 0);
  });

  test(`${who}: a peer that moves is followed`, options, async () => {
    await using pair = await startLinkedPair(initiator, responder);
    const { one, two } = pair;
    aim(one, two, OUTER.two[4]);
    await pingPeer(one, two);
    one.process.wg.set('listen-port 10001');
    await pingPeer(one, two);
    assert.equal(two.process.wg.peer().endpoint, `${OUTER.one[4]}:10001`);
    aim(one, two, OUTER.two[6]);
    await pingPeer(one, two);
    assert.equal(two.process.wg.peer().endpoint, `${OUTER.one[6]}:10001`);
    await pingPeer(two, one, 6);
  });

  test(`${who}: who is restarted and speaks first is answered at once`, options, async () => {
    await using pair = await startLinkedPair(initiator, responder, newPresharedKey());
    const { two } = pair;
    aim(pair.one, two, OUTER.two[4]);
    await pingPeer(pair.one, two);
    const config = pair.one.process.wg.showconf();
    await pair.one.process.stop();
    const one = await startAgain(pair.one, config);
    await pingPeer(one, two);
    await pingPeer(two, one, 6);
  });

  for (const percent of [1, 5]) {
    test(`${who}: ${percent} % of the datagrams are lost`, options, async () => {
      await using pair = await startLinkedPair(initiator, responder);
      const { one, two } = pair;
      for (const side of [one, two]) loseArriving(side.process.namespace, percent);
      aim(one, two, OUTER.two[4]);
      const first = one.process.namespace;
      const second = two.process.namespace;
      await eventually('an echo is answered', () => answers(first, two.inner4), RECOVERY_MS);
      for (const [from, to, size] of [
        [first, two.inner4, '56'],
        [second, one.inner6, '1300'],
      ] as const) {
        const echoes = from.try('ping', ['-q', '-c', '200', '-f', '-W', '1', '-s', size, to]).stdout;
        assert.ok(Number(/(\d+) received/.exec(echoes)?.[1]) >= 140, echoes);
      }
      await iperf({ server: second, client: first, address: two.inner6, protocol: 'tcp', bytes: 2 << 20 });
    });
  }
}

test(`${ours.name}, ${theirs.name}: both speak first at the same moment`, options, async () => {
  await using pair = await startLinkedPair(ours, theirs);
  const { one, two } = pair;
  aim(one, two, OUTER.two[4]);
  aim(two, one, OUTER.one[4]);
  // Initiations that cross make responders of both; then their next attempts, five seconds and a random bit later, decide.
  const reached = (from: Side, to: string): Promise<true> =>
    eventually(`${to} answers`, () => answers(from.process.namespace, to), RECOVERY_MS);
  await Promise.all([reached(one, two.inner4), reached(two, one.inner6)]);
});

test(`${ours.name} survives a firewall that forbids it to send`, options, async () => {
  await using pair = await startLinkedPair(ours, theirs);
  const { one, two } = pair;
  const { namespace } = one.process;
  aim(one, two, OUTER.two[4]);
  await pingPeer(one, two);
  nft(namespace, 'add table inet deaf');
  nft(namespace, 'add chain inet deaf output { type filter hook output priority 0; }');
  nft(namespace, `add rule inet deaf output udp dport ${two.port} drop`);
  assert.equal(await answers(namespace, two.inner4), false);
  nft(namespace, 'delete table inet deaf');
  await pingPeer(one, two);
});

test(
  `${ours.name}, ${theirs.name}: a peer that was killed and comes back silently is found again`,
  options,
  async () => {
    // Both take the 15 s of the new-handshake timer, so they wait side by side.
    await using oursSurvives = await startLinkedPair(ours, theirs);
    await using theirsSurvives = await startLinkedPair(theirs, ours);
    await Promise.all([oursSurvives, theirsSurvives].map(surviveCrashOfPeer));
  },
);

async function surviveCrashOfPeer({ one, two }: LinkedPair): Promise<void> {
  aim(one, two, OUTER.two[4]);
  await pingPeer(one, two);
  // Without the endpoint that it has learned: it must wait to be spoken to.
  const config = two.process.wg.showconf().replaceAll(/^Endpoint.*$/gm, '');
  process.kill(two.process.pid(), 'SIGKILL');
  await eventually('the killed link vanishes', () => !two.process.linkExists());
  await startAgain(two, config);
  await eventually(
    'an echo is answered again',
    () => answers(one.process.namespace, two.inner4),
    RECOVERY_MS,
  );
}

/** Loss on arrival, since dropping what a process sends would be reported to it as EPERM. */
function loseArriving(namespace: Namespace, percent: number): void {
  nft(namespace, 'add table inet loss');
  nft(namespace, 'add chain inet loss arriving { type filter hook prerouting priority -300; }');
  nft(
    namespace,
    `add rule inet loss arriving iifname veth meta l4proto udp numgen random mod 100 < ${percent} drop`,
  );
}

function nft(namespace: Namespace, command: string): void {
  namespace.exec('nft', [command]);
}
