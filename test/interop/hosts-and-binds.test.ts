/** The same traffic and the same disturbances for every way of hosting lanes and moving datagrams. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { CULVERT_GO, requireInterop } from '../kit/programs.ts';
import { answers } from '../kit/traffic.ts';
import {
  aim,
  exchangeTraffic,
  introduce,
  OUTER,
  type Pair,
  pingPeer,
  startPair,
  TEST_TIMEOUT_MS,
} from './sides.ts';

const skip = requireInterop([CULVERT_GO], { programs: ['ping', 'iperf3'] });

const TRAFFIC_BYTES = 2 << 20;

/** node:dgram lives on the control thread, so a lane in a worker has the sockets of Linux only. */
const WAYS = [
  { CULVERT_LANES: '1', CULVERT_BIND: 'linux' },
  { CULVERT_LANES: '2', CULVERT_BIND: 'linux' },
  { CULVERT_LANES: 'inline', CULVERT_BIND: 'linux' },
  { CULVERT_LANES: 'inline', CULVERT_BIND: 'dgram' },
];

for (const way of WAYS) {
  for (const offload of ['on', 'off']) {
    const env = { ...way, CULVERT_TUN_OFFLOAD: offload, CULVERT_GSO: offload, CULVERT_GRO: offload };
    test(
      `lanes ${way.CULVERT_LANES}, bind ${way.CULVERT_BIND}, offloads ${offload}: traffic and disturbances`,
      { skip, timeout: TEST_TIMEOUT_MS },
      async () => {
        await using left = Namespace.create();
        await using right = Namespace.create();
        joinByVeth(
          { namespace: left, link: 'veth', addresses: ['10.0.0.1/24'] },
          { namespace: right, link: 'veth', addresses: ['10.0.0.2/24'] },
        );
        const pair = await startPair(
          { implementation: CULVERT_GO, namespace: left, env },
          { implementation: CULVERT_GO, namespace: right, env },
        );
        const pids = [pair.one.process.pid(), pair.two.process.pid()];
        aim(pair.one, pair.two, OUTER.two[4]);
        await pingPeer(pair.one, pair.two);
        await exchangeTraffic(pair, TRAFFIC_BYTES);
        await moveUnderLoad(pair);
        await removeUnderLoad(pair);
        await goDownUnderLoad(pair);
        await exchangeTraffic(pair, TRAFFIC_BYTES);
        assert.deepEqual([pair.one.process.pid(), pair.two.process.pid()], pids, 'nobody has died');
        await Promise.all([pair.one.process.stop(), pair.two.process.stop()]);
      },
    );
  }
}

/** Runs `disturb` while echoes cross in both directions as fast as they can. */
async function underLoad({ one, two }: Pair, disturb: () => unknown): Promise<void> {
  const flood = { count: 100_000, flood: true, waitSeconds: 2 };
  const load = [
    answers(one.process.linkNamespace, two.inner4, flood),
    answers(two.process.linkNamespace, one.inner6, flood),
  ];
  await eventually('the load is there', () => one.process.wg.peer().rxBytes > 0);
  disturb();
  await Promise.all(load);
}

/** The other side sends from a new port; this one follows. */
async function moveUnderLoad(pair: Pair): Promise<void> {
  const { one, two } = pair;
  await underLoad(pair, () => two.process.wg.set('listen-port 20777'));
  await pingPeer(two, one);
  await pingPeer(one, two);
  assert.equal(one.process.wg.peer().endpoint, '10.0.0.2:20777');
}

async function removeUnderLoad(pair: Pair): Promise<void> {
  const { one, two } = pair;
  await underLoad(pair, () => two.process.wg.set(`peer ${one.keys.publicKey} remove`));
  introduce({ ...two, port: 20_777 }, one);
  aim(two, one, OUTER.one[4]);
  await pingPeer(two, one);
  await pingPeer(one, two);
}

async function goDownUnderLoad(pair: Pair): Promise<void> {
  const { one, two } = pair;
  const { link, linkNamespace } = two.process;
  await underLoad(pair, () => linkNamespace.ip(`link set ${link} down`));
  linkNamespace.ip(`link set ${link} up`);
  // It went with the interface.
  linkNamespace.ip(`address replace ${two.inner6}/64 dev ${link} nodad`);
  await two.process.listening(20_777);
  await pingPeer(two, one);
  await pingPeer(one, two, 6);
}
