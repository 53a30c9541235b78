/** Steps 7 to 9 of wireguard-go's tests/netns.sh: links between namespaces, NAT and changing addresses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { implementationUnderTest, knownFlaw, requireInterop } from '../kit/programs.ts';
import { aim, OUTER, pingPeer, startLinkedPair, startPair, TEST_TIMEOUT_MS } from './sides.ts';

const implementation = implementationUnderTest();
const KEEPALIVE_SIZE = 32;

test(
  `netns.sh behind NAT: ${implementation.name}`,
  {
    skip: requireInterop([implementation], { programs: ['ping', 'iptables', 'sysctl'] }),
    timeout: TEST_TIMEOUT_MS,
  },
  async () => {
    await using router = Namespace.create();
    await using inside = Namespace.create();
    await using outside = Namespace.create();
    const { one, two } = await startPair(
      { implementation, namespace: inside },
      { implementation, namespace: outside },
    );
    joinByVeth(
      { namespace: router, link: 'vethrc', addresses: ['192.168.1.1/24'] },
      { namespace: inside, link: 'vethc', addresses: ['192.168.1.100/24'] },
    );
    joinByVeth(
      { namespace: router, link: 'vethrs', addresses: ['10.0.0.1/24'] },
      { namespace: outside, link: 'veths', addresses: ['10.0.0.100/24'] },
    );
    inside.ip('route add default via 192.168.1.1');
    router.exec(
      'iptables',
      words('-t nat -A POSTROUTING -s 192.168.1.0/24 -d 10.0.0.0/24 -j SNAT --to 10.0.0.1'),
    );
    for (const setting of [
      'net.ipv4.ip_forward=1',
      'net.netfilter.nf_conntrack_udp_timeout=2',
      'net.netfilter.nf_conntrack_udp_timeout_stream=2',
    ]) {
      router.exec('sysctl', ['-q', '-w', setting]);
    }

    one.process.wg.set(`peer ${two.keys.publicKey} endpoint 10.0.0.100:${two.port} persistent-keepalive 1`);
    await pingPeer(one, two);
    await pingPeer(two, one);
    assert.equal(two.process.wg.peer().endpoint, `10.0.0.1:${one.port}`);

    // Three keepalives take longer than the mapping lives, so that it is they who keep it.
    const before = one.process.wg.peer().txBytes;
    await eventually(
      'three keepalives are sent',
      () => one.process.wg.peer().txBytes >= before + 3 * KEEPALIVE_SIZE,
    );
    await pingPeer(two, one);
  },
);

test(
  `netns.sh with changing addresses: ${implementation.name}`,
  { skip: requireInterop([implementation], { programs: ['ping', 'sysctl'] }), timeout: TEST_TIMEOUT_MS },
  async (t) => {
    await using pair = await startLinkedPair(implementation, implementation);
    const { one, two } = pair;
    const [left, right] = [one.process.namespace, two.process.namespace];
    left.exec('sysctl', ['-q', '-w', 'net.ipv4.conf.veth.promote_secondaries=1']);

    await t.test(
      'IPv4: a source address that was removed is given up at once',
      {
        todo: knownFlaw(implementation, {
          'wireguard-go':
            '0.0.20220316 keeps sending from the removed address until the next handshake attempt',
        }),
      },
      async () => {
        aim(one, two, OUTER.two[4]);
        await pingPeer(one, two);
        left.ip('address add 10.0.0.10/24 dev veth');
        left.ip('address del 10.0.0.1/24 dev veth');
        await pingPeer(one, two);
      },
    );
    await t.test('IPv6: a source address that was removed is given up at once', async () => {
      aim(one, two, OUTER.two[6]);
      await pingPeer(one, two);
      left.ip('address add fd00:aa::10/96 dev veth nodad');
      left.ip('address del fd00:aa::1/96 dev veth');
      await pingPeer(one, two);
    });

    readdress(left, 'veth', ['10.0.0.1/24', '10.0.0.2/24', 'fd00:aa::1/96', 'fd00:aa::2/96']);
    readdress(right, 'veth', ['10.0.0.3/24', 'fd00:aa::3/96']);
    for (const address of ['10.0.0.1', '[fd00:aa::1]', '10.0.0.2', '[fd00:aa::2]']) {
      await t.test(`an answer leaves from the address that was spoken to: ${address}`, async () => {
        aim(two, one, address);
        await pingPeer(two, one);
        assert.equal(two.process.wg.peer().endpoint, `${address}:${one.port}`);
      });
    }
  },
);

function words(text: string): string[] {
  return text.split(' ');
}

function readdress(namespace: Namespace, link: string, addresses: readonly string[]): void {
  namespace.ip(`address flush dev ${link}`);
  for (const address of addresses) namespace.ip(`address add ${address} dev ${link} nodad`);
}
