/**
 * Steps 1 to 6 of wireguard-go's tests/netns.sh: three namespaces, the links moved to the outer two while the
 * processes stay in the middle one and talk over its `lo`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { Namespace } from '../kit/netns.ts';
import { implementationUnderTest, requireInterop } from '../kit/programs.ts';
import { ping } from '../kit/traffic.ts';
import { newKeyPair, newPresharedKey } from '../kit/wg.ts';
import { aim, exchangeTraffic, type Pair, pingPeer, type Side, startPair, TEST_TIMEOUT_MS } from './sides.ts';

const implementation = implementationUnderTest();

/** As large as the largest loopback packet, less what an Ethernet would leave: wireguard-go's choice. */
const EXTRA_MTU = 34_816 - 1_500;

test(
  `netns.sh over loopback: ${implementation.name}`,
  {
    skip: requireInterop([implementation], { programs: ['ping', 'iperf3', 'ncat'] }),
    timeout: TEST_TIMEOUT_MS,
  },
  async (t) => {
    await using middle = Namespace.create();
    await using left = Namespace.create();
    await using right = Namespace.create();
    const presharedKey = newPresharedKey();
    const pair = await startPair(
      { implementation, namespace: middle, linkNamespace: left },
      { implementation, namespace: middle, linkNamespace: right },
      presharedKey,
    );
    const { one, two } = pair;

    await t.test('links moved to other namespaces go up, and showconf prints what was set', () => {
      assert.equal(one.process.wg.showconf(), configOf(one, two, presharedKey));
      assert.equal(two.process.wg.showconf(), configOf(two, one, presharedKey));
    });

    await t.test('IPv4 outside: the counters of the link are those of ten echoes', async () => {
      aimBoth(pair, '127.0.0.1');
      await ping(right, one.inner4, { count: 10, flood: true });
      const { rx, tx } = linkBytes(two);
      assert.ok(rx >= 840 && tx >= 840 && rx < 2500 && tx < 2500, `rx ${rx}, tx ${tx}`);
    });
    await t.test('IPv4 outside: echoes, TCP and UDP', () => exchangeTraffic(pair));
    await t.test('IPv4 outside: the same with jumbo packets', () => withJumboMtu(pair));

    await t.test('IPv6 outside: echoes, TCP and UDP', async () => {
      aimBoth(pair, '[::1]');
      await exchangeTraffic(pair);
    });
    await t.test('IPv6 outside: the same with jumbo packets', () => withJumboMtu(pair));

    await t.test('the endpoint follows a peer to another IPv4 address and port', async () => {
      middle.ip('-4 address del 127.0.0.1/8 dev lo');
      middle.ip('-4 address add 127.212.121.99/8 dev lo');
      one.process.wg.set('listen-port 9999');
      aim(one, two, '127.0.0.1');
      await pingPeer(one, two, 6);
      assert.equal(two.process.wg.peer().endpoint, '127.212.121.99:9999');
    });
    await t.test('the endpoint follows a peer to IPv6', async () => {
      one.process.wg.set('listen-port 9998');
      aim(one, two, '[::1]');
      await pingPeer(one, two);
      assert.equal(two.process.wg.peer().endpoint, '[::1]:9998');
    });

    await t.test(
      'an inner source that a more specific peer owns is refused, yet moves the endpoint',
      async () => {
        one.process.wg.set(`peer ${two.keys.publicKey} allowed-ips 192.168.241.0/24,fd00::2/128`);
        const allowed = await listenForDatagram(left);
        sendDatagram(right, one.inner4);
        await eventually('the datagram arrives', () => allowed.received() === 'X');

        const thief = newKeyPair().publicKey;
        one.process.wg.set(`peer ${thief} allowed-ips ${two.inner4}/32`);
        two.process.wg.set('listen-port 9997');
        const refused = await listenForDatagram(left);
        sendDatagram(right, one.inner4);
        await eventually(
          'the refused packet moves the endpoint',
          () => one.process.wg.peer(two.keys.publicKey).endpoint === '[::1]:9997',
        );
        // Packets of one session stay in order, so this answer proves that the datagram had its chance.
        await pingPeer(two, one, 6);
        assert.equal(refused.received(), '');
        refused.close();
        one.process.wg.set(`peer ${thief} remove`);
      },
    );

    await t.test('a deleted link ends the process and leaves no socket', async () => {
      for (const { process } of [one, two]) {
        const pid = process.pid();
        process.linkNamespace.ip(`link del ${process.link}`);
        await process.gone(pid);
      }
    });
  },
);

function configOf(side: Side, peer: Side, presharedKey: string): string {
  return [
    '[Interface]',
    `ListenPort = ${side.port}`,
    `PrivateKey = ${side.keys.privateKey}`,
    '',
    '[Peer]',
    `PublicKey = ${peer.keys.publicKey}`,
    `PresharedKey = ${presharedKey}`,
    `AllowedIPs = ${peer.inner4}/32, ${peer.inner6}/128`,
    '',
  ].join('\n');
}

function aimBoth({ one, two }: Pair, address: string): void {
  aim(one, two, address);
  aim(two, one, address);
}

async function withJumboMtu(pair: Pair): Promise<void> {
  const sides = [pair.one.process, pair.two.process];
  const usual = sides.map((side) => mtu(side.linkNamespace, side.link));
  const setMtu = (i: number, value: number): void => {
    const side = sides[i];
    side?.linkNamespace.ip(`link set ${side.link} mtu ${value}`);
  };
  for (const [i, value] of usual.entries()) setMtu(i, value + EXTRA_MTU);
  try {
    await exchangeTraffic(pair);
  } finally {
    for (const [i, value] of usual.entries()) setMtu(i, value);
  }
}

function mtu(namespace: Namespace, link: string): number {
  return (JSON.parse(namespace.ip(`-j link show dev ${link}`)) as [{ mtu: number }])[0].mtu;
}

function linkBytes({ process }: Side): { readonly rx: number; readonly tx: number } {
  const shown = process.linkNamespace.ip(`-j -s link show dev ${process.link}`);
  const [{ stats64 }] = JSON.parse(shown) as [{ stats64: { rx: { bytes: number }; tx: { bytes: number } } }];
  return { rx: stats64.rx.bytes, tx: stats64.tx.bytes };
}

const UDP_PORT = 1111;

interface Listener {
  /** What has arrived so far. */
  received(): string;
  close(): void;
}

async function listenForDatagram(namespace: Namespace): Promise<Listener> {
  const child = namespace.spawn('ncat', ['-4', '-l', '-u', '-p', `${UDP_PORT}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout?.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
  await eventually('ncat listens', () =>
    namespace.exec('ss', ['-ulpnH', 'sport', '=', `:${UDP_PORT}`]).includes(`pid=${child.pid},`),
  );
  return { received: () => text, close: () => child.kill() };
}

function sendDatagram(from: Namespace, address: string): void {
  from.exec('ncat', ['-u', '--send-only', address, `${UDP_PORT}`], { input: 'X' });
}
