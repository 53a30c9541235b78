import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAddress } from '../../../src/core/ip.ts';
import { internetChecksum, ipv4Packet, ipv6Packet, withTrafficClass } from '../../kit/packets.ts';
import { connectedPair, pair, prefix, type End } from '../../kit/pair.ts';
import { Stranger } from '../../kit/stranger.ts';
import { CE, ECN_DROP, ECN_FIGURE_4, ECN_NAMES, ECT0, ECT1, NOT_ECT } from '../../reference/ecn.ts';

for (const version of [4, 6]) {
  test(`ECN: inner and outer IPv${version} field combine as in RFC 6040, the DSCP stays, checksums are right`, async () => {
    const { alice, bob, wire } = await connectedPair();
    for (const [inner, outer, forwarded] of ECN_FIGURE_4) {
      const plain =
        version === 4 ? ipv4Packet('10.0.0.1', '10.0.0.2', 60) : ipv6Packet('fd00::1', 'fd00::2', 60);
      const packet = withTrafficClass(plain, 0xb8 | inner);
      wire.mend();
      // Routers on the way may mark, and may use the DSCP for their own purposes.
      wire.bend((datagram) => [{ ...datagram, tos: 0x20 | outer }]);
      alice.send(packet);
      const expected = forwarded === ECN_DROP ? [] : [withTrafficClass(plain, 0xb8 | forwarded)];
      assert.deepEqual(bob.received(), expected, `${ECN_NAMES[inner]} in ${ECN_NAMES[outer]}`);
    }
    assert.deepEqual(bob.drops(), { ecn_mismatch: 1 });
  });

  test(`ECN: the outer header takes the field of the inner IPv${version} packet, and DSCP 0`, async () => {
    const { alice, wire } = await connectedPair();
    for (const ecn of [NOT_ECT, ECT0, ECT1, CE]) {
      const plain =
        version === 4 ? ipv4Packet('10.0.0.1', '10.0.0.2', 60) : ipv6Packet('fd00::1', 'fd00::2', 60);
      alice.send(withTrafficClass(plain, 0xb8 | ecn));
      assert.equal(wire.sent.at(-1)?.tos, ecn);
    }
  });
}

test('DSCP: handshake messages travel as AF41, keepalives as best effort', async () => {
  const { alice, bob, wire, world } = await pair();
  const stranger = new Stranger(world, bob, { privateKey: alice.privateKey });
  wire.inject(...Array.from({ length: 200 }, () => stranger.datagram(new Uint8Array(148).fill(1, 0, 1))));
  stranger.send(stranger.initiation());
  world.advance(5000);
  await alice.configure({ publicKey: bob.publicKey, persistentKeepalive: 25 });
  assert.deepEqual(
    wire.sent.map(({ bytes, tos }) => [bytes[0], tos]),
    [
      [3, 0x88],
      [1, 0x88],
      [2, 0x88],
      [4, 0],
    ],
  );
});

/** What an ICMP error says, read by the RFCs and not by the code under test. */
function readIcmp(packet: Uint8Array) {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if ((packet[0] as number) >> 4 === 4) {
    assert.equal(packet[0], 0x45);
    assert.equal(view.getUint16(2), packet.length);
    assert.equal(packet[9], 1);
    assert.equal(internetChecksum(packet.subarray(0, 20)), 0);
    assert.equal(internetChecksum(packet.subarray(20)), 0);
    return {
      from: formatAddress(packet.slice(12, 16)),
      to: formatAddress(packet.slice(16, 20)),
      type: packet[20],
      code: packet[21],
      unused: view.getUint32(24),
      quoted: packet.subarray(28),
    };
  }
  assert.equal((packet[0] as number) >> 4, 6);
  assert.equal(view.getUint16(4), packet.length - 40);
  assert.equal(packet[6], 58);
  const pseudo = new Uint8Array(40 + packet.length - 40);
  pseudo.set(packet.subarray(8, 40));
  new DataView(pseudo.buffer).setUint32(32, packet.length - 40);
  pseudo[39] = 58;
  pseudo.set(packet.subarray(40), 40);
  assert.equal(internetChecksum(pseudo), 0);
  return {
    from: formatAddress(packet.slice(8, 24)),
    to: formatAddress(packet.slice(24, 40)),
    type: packet[40],
    code: packet[41],
    unused: view.getUint32(44),
    quoted: packet.subarray(48),
  };
}

/** Bob gets a peer without endpoint for these inner addresses. */
async function withoutEndpoint(end: End, world: ConstructorParameters<typeof Stranger>[0]): Promise<void> {
  const { publicKey } = new Stranger(world, end);
  const allowedIps = ['10.0.0.9/32', 'fd00::9/128'].map((text) => ({ prefix: prefix(text), remove: false }));
  await end.configure({ publicKey, allowedIps });
}

for (const cause of ['no peer', 'no endpoint']) {
  test(`ICMP: a packet with ${cause} is answered by unreachable, of the right family, quoting it`, async () => {
    const { alice, world } = await pair();
    if (cause === 'no endpoint') await withoutEndpoint(alice, world);
    const four = ipv4Packet('10.0.0.1', '10.0.0.9', 100);
    const six = ipv6Packet('fd00::1', 'fd00::9', 100);
    alice.send(four, six);
    const [answer4, answer6] = alice.received().map(readIcmp);
    // RFC 792: type 3 code 1, host unreachable. RFC 4443: type 1 code 3, address unreachable.
    assert.deepEqual(answer4, {
      from: '10.0.0.9',
      to: '10.0.0.1',
      type: 3,
      code: 1,
      unused: 0,
      quoted: four,
    });
    assert.deepEqual(answer6, { from: 'fd00::9', to: 'fd00::1', type: 1, code: 3, unused: 0, quoted: six });
  });
}

test('ICMP: errors have at most 576 and 1280 bytes', async () => {
  const { alice } = await pair();
  alice.send(ipv4Packet('10.0.0.1', '10.0.0.9', 1400), ipv6Packet('fd00::1', 'fd00::9', 1400));
  assert.deepEqual(
    alice.received().map((packet) => [packet.length, readIcmp(packet).type]),
    [
      [576, 3],
      [1280, 1],
    ],
  );
});

test('ICMP: 20 errors in 100 ms, then silence until the window is over; the packets are counted all the same', async () => {
  const { alice, world } = await pair();
  const packets = (count: number) =>
    Array.from({ length: count }, () => ipv4Packet('10.0.0.1', '10.0.0.9', 60));
  alice.send(...packets(20));
  assert.equal(alice.received().length, 20);
  world.advance(99);
  alice.send(...packets(20));
  assert.equal(alice.received().length, 0);
  world.advance(1);
  alice.send(...packets(40));
  assert.equal(alice.received().length, 20);
  assert.deepEqual(alice.drops(), { no_route: 80 });
});

test('ICMP: nothing is said about errors, fragments, multicast, broadcast or packets of nobody', async () => {
  const { alice } = await pair();
  const change = (packet: Uint8Array, bytes: Readonly<Record<number, number>>) => {
    const changed = packet.slice();
    for (const [at, byte] of Object.entries(bytes)) changed[Number(at)] = byte;
    return withTrafficClass(changed, 0);
  };
  const four = ipv4Packet('10.0.0.1', '10.0.0.9', 60);
  const six = ipv6Packet('fd00::1', 'fd00::9', 60);
  const silent = [
    change(four, { 9: 1, 20: 3 }),
    change(four, { 9: 1, 20: 11 }),
    change(four, { 6: 0x00, 7: 0x01 }),
    ipv4Packet('10.0.0.1', '224.0.0.1', 60),
    ipv4Packet('10.0.0.1', '255.255.255.255', 60),
    ipv4Packet('224.0.0.1', '10.0.0.9', 60),
    ipv4Packet('0.0.0.0', '10.0.0.9', 60),
    change(six, { 6: 58, 40: 1 }),
    change(six, { 6: 58, 40: 127 }),
    ipv6Packet('fd00::1', 'ff02::1', 60),
    ipv6Packet('ff02::1', 'fd00::9', 60),
    ipv6Packet('::', 'fd00::9', 60),
  ];
  for (const [i, packet] of silent.entries()) {
    alice.send(packet);
    assert.deepEqual(alice.received(), [], `packet ${i}`);
  }
  assert.deepEqual(alice.drops(), { no_route: silent.length });
  // A ping and a first fragment may be answered.
  alice.send(change(four, { 9: 1, 20: 8 }), change(four, { 6: 0x20 }), change(six, { 6: 58, 40: 128 }));
  assert.equal(alice.received().length, 3);
});
