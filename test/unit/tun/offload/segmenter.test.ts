/** Reads of a TUN as virtio headers and packets; the named cases are those of wireguard-go's Test_handleVirtioRead. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SegmenterBench } from '../../../kit/offload.ts';
import {
  ACK,
  CWR,
  FIN,
  PSH,
  checksumsHold,
  layoutOf,
  payloadOf,
  pseudoSum,
  read16,
  read32,
  tcp,
  udp,
  write16,
} from '../../../reference/tun/ip-packet.ts';
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  NEEDS_CSUM,
  PLAIN,
  type VirtioHeader,
} from '../../../reference/tun/virtio.ts';

const bench = new SegmenterBench();

/** As the kernel hands it over: the virtio header fits, the checksum field has the sum of the pseudo header. */
function superPacket(packet: Uint8Array, gsoSize: number): { header: VirtioHeader; packet: Uint8Array } {
  const layout = layoutOf(packet);
  assert.ok(layout);
  const partial = packet.slice();
  write16(partial, layout.transportChecksum, pseudoSum(packet, layout));
  const tcpType = layout.version === 4 ? GSO_TCPV4 : GSO_TCPV6;
  const header = {
    flags: NEEDS_CSUM,
    gsoType: layout.protocol === 17 ? GSO_UDP_L4 : tcpType,
    headerLength: layout.payload,
    gsoSize,
    checksumStart: layout.transport,
    checksumOffset: layout.transportChecksum - layout.transport,
  };
  return { header, packet: partial };
}

function split(packet: Uint8Array, gsoSize: number): readonly Uint8Array[] {
  const read = superPacket(packet, gsoSize);
  const packets = bench.split(read.header, read.packet);
  assert.ok(packets, 'the read is taken');
  for (const [i, part] of packets.entries()) assert.ok(checksumsHold(part), `checksums of segment ${i}`);
  return packets;
}

function tcpOf(packet: Uint8Array): { sequence: number; flags: number; payload: Uint8Array } {
  const layout = layoutOf(packet);
  assert.ok(layout);
  return {
    sequence: read32(packet, layout.transport + 4),
    flags: packet[layout.transport + 13] as number,
    payload: packet.slice(layout.payload),
  };
}

/** What it takes to come out as it went in: a packet that is whole. */
const whole = tcp(200);
const odd = tcp(201);

describe('a read becomes segments (handleVirtioRead)', () => {
  for (const [name, packet, gsoSize, lengths] of [
    ['tcp4', tcp(200, { flags: ACK | PSH }), 100, [140, 140]],
    ['tcp6', tcp(200, { version: 6, flags: ACK | PSH }), 100, [160, 160]],
    ['udp4', udp(200), 100, [128, 128]],
    ['udp6', udp(200, { version: 6 }), 100, [148, 148]],
    ['tcp4 with a short last segment', tcp(201), 100, [140, 140, 41]],
    ['tcp4 with one segment', tcp(100), 100, [140]],
    ['tcp4 with less than one segment', tcp(7), 100, [47]],
    ['tcp4 without payload', tcp(0), 100, [40]],
    ['udp6 with a short last datagram', udp(199, { version: 6 }), 100, [148, 147]],
    ['udp4 without payload', udp(0), 100, [28]],
  ] as const) {
    test(name, () => {
      const packets = split(packet, gsoSize);
      assert.deepEqual(
        packets.map((part) => part.length),
        lengths,
      );
      const parts = packets.map((part) => part.slice(layoutOf(part)?.payload));
      assert.deepEqual(
        new Uint8Array(Buffer.concat(parts)),
        packet.slice(layoutOf(packet)?.payload),
        'the payload is all there',
      );
    });
  }

  test('a read without segmentation is copied as it is', () => {
    for (const packet of [whole, udp(31, { version: 6 }), Uint8Array.of(0x45), Uint8Array.of(1, 2, 3)])
      assert.deepEqual(bench.split(PLAIN, packet), [packet]);
  });

  test('a read that only wants its checksum gets it, for every transport and odd lengths', () => {
    for (const packet of [whole, tcp(199, { version: 6 }), udp(31), udp(0, { version: 6 }), udp(1)]) {
      const { header, packet: partial } = superPacket(packet, 0);
      assert.deepEqual(bench.split({ ...header, gsoType: GSO_NONE }, partial), [packet]);
    }
  });
});

describe('segments of TCP', () => {
  const packet = tcp(1000, {
    flags: ACK | PSH | FIN | CWR,
    sequence: 0xffff_ff00,
    identification: 0xfffe,
    options: Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8),
    tos: 0x2e,
    ttl: 9,
  });

  test('count sequence numbers and identifications on, across their wrap', () => {
    const packets = split(packet, 300);
    assert.deepEqual(
      packets.map((part) => tcpOf(part).sequence),
      [0xffff_ff00, 0x2c, 0x158, 0x284],
    );
    assert.deepEqual(
      packets.map((part) => read16(part, 4)),
      [0xfffe, 0xffff, 0, 1],
    );
  });

  test('have FIN and PSH on the last one only, CWR on the first one only', () => {
    for (const version of [4, 6] as const) {
      const packets = split(tcp(1000, { version, flags: ACK | PSH | FIN | CWR }), 300);
      assert.deepEqual(
        packets.map((part) => tcpOf(part).flags),
        [ACK | CWR, ACK, ACK, ACK | PSH | FIN],
      );
      const [only] = split(tcp(100, { version, flags: ACK | PSH | FIN | CWR }), 300);
      assert.ok(only);
      assert.equal(tcpOf(only).flags, ACK | PSH | FIN | CWR);
    }
  });

  test('keep options, TOS, TTL and everything else', () => {
    for (const part of split(packet, 300)) {
      assert.deepEqual(part.slice(0, 2), packet.slice(0, 2));
      assert.deepEqual(part.slice(6, 10), packet.slice(6, 10));
      assert.deepEqual(part.slice(12, 24), packet.slice(12, 24));
      assert.deepEqual(part.slice(28, 33), packet.slice(28, 33));
      assert.deepEqual(part.slice(34, 36), packet.slice(34, 36));
      assert.deepEqual(part.slice(40, 52), packet.slice(40, 52));
    }
  });

  test('are the same with the ECN bit in the type', () => {
    const read = superPacket(packet, 300);
    const marked = { ...read.header, gsoType: read.header.gsoType | GSO_ECN };
    assert.deepEqual(bench.split(marked, read.packet), split(packet, 300));
  });
});

describe('segments of UDP', () => {
  test('count identifications on in IPv4', () => {
    assert.deepEqual(
      split(udp(250, { identification: 7 }), 100).map((part) => read16(part, 4)),
      [7, 8, 9],
    );
  });

  test('write a checksum that comes out as 0 as 0xffff, which alone means that there is one', () => {
    for (const version of [4, 6] as const) {
      // The first word of the payload takes the checksum's place, and so makes the sum all ones.
      const payload = payloadOf(100);
      write16(payload, 0, 0);
      const probe = udp(payload, { version });
      write16(payload, 0, read16(probe, layoutOf(probe)?.transportChecksum as number));
      const made = udp(payload, { version });
      const at = layoutOf(made)?.transportChecksum as number;
      assert.equal(read16(made, at), 0xffff, 'the case is there');
      assert.deepEqual(split(made, 100), [made]);
      const { header, packet } = superPacket(made, 0);
      assert.deepEqual(bench.split({ ...header, gsoType: GSO_NONE }, packet), [made]);
    }
  });
});

describe('headers of unusual size', () => {
  test('IPv4 options are kept in all segments', () => {
    const options = Uint8Array.of(148, 4, 0, 0, 1, 1, 1, 0);
    for (const part of [
      ...split(tcp(500, { ipOptions: options }), 200),
      ...split(udp(500, { ipOptions: options }), 200),
    ])
      assert.deepEqual(part.slice(20, 28), options);
  });

  test('IPv6 hop-by-hop and destination options are kept in all segments', () => {
    const extension = (next: number, size: number) => [next, size, ...Array<number>(6 + 8 * size).fill(0)];
    const plain = tcp(500, { version: 6 });
    const packet = Uint8Array.from([
      ...plain.slice(0, 40),
      ...extension(60, 0),
      ...extension(6, 2),
      ...plain.slice(40),
    ]);
    packet[6] = 0;
    write16(packet, 4, packet.length - 40);
    assert.equal(layoutOf(packet)?.transport, 72);
    const packets = split(packet, 200);
    assert.deepEqual(
      packets.map((part) => part.length),
      [292, 292, 192],
    );
    for (const part of packets) assert.deepEqual(part.slice(40, 72), packet.slice(40, 72));
  });

  test('the header length that the virtio header states is not used', () => {
    const read = superPacket(whole, 60);
    for (const headerLength of [0, 1, 41, 65_535])
      assert.deepEqual(bench.split({ ...read.header, headerLength }, read.packet), split(whole, 60));
  });
});

test('there is no number of segments that is too large', () => {
  const packets = split(tcp(65_495), 1);
  assert.equal(packets.length, 65_495);
  assert.equal(tcpOf(packets.at(-1) as Uint8Array).sequence, 65_495);
});

test('the longest read is taken', () => {
  assert.equal(split(tcp(65_495), 1448).length, 46);
  assert.equal(split(udp(65_487, { version: 6 }), 1372).length, 48);
});

test('a new read may come before the last one is handed out, which is forgotten', () => {
  const read = superPacket(whole, 60);
  assert.ok(bench.start(read.header, read.packet));
  assert.deepEqual(bench.next(), split(whole, 60)[0]);
  assert.ok(bench.start(read.header, read.packet));
  bench.next();
  assert.deepEqual(bench.split(PLAIN, whole), [whole]);
  assert.ok(bench.start(read.header, read.packet));
  assert.equal(bench.split(PLAIN, new Uint8Array(0)), undefined);
});

describe('a read is refused when', () => {
  const read4 = superPacket(tcp(500), 100);
  const read6 = superPacket(tcp(500, { version: 6 }), 100);
  const readUdp = superPacket(udp(500), 100);

  function change(packet: Uint8Array, at: number, value: number): Uint8Array {
    const changed = packet.slice();
    changed[at] = value;
    return changed;
  }

  const cases: readonly (readonly [string, VirtioHeader, Uint8Array])[] = [
    ['there is nothing', PLAIN, new Uint8Array(0)],
    ['the packet is longer than any', PLAIN, new Uint8Array(65_536)],
    ['the IPv4 header is cut', read4.header, read4.packet.slice(0, 19)],
    ['the IPv4 header says less than 20 bytes', read4.header, change(read4.packet, 0, 0x44)],
    [
      'the IPv4 header says less than 20 bytes, and so does the virtio header',
      { ...read4.header, checksumStart: 16 },
      change(change(read4.packet, 0, 0x44), 28, 0x50),
    ],
    ['the IPv4 header says more than there is', read4.header, change(read4.packet.slice(0, 40), 0, 0x4f)],
    ['the IPv6 header is cut', read6.header, read6.packet.slice(0, 39)],
    ['the TCP header is cut', read4.header, read4.packet.slice(0, 39)],
    ['the TCP header says less than 20 bytes', read4.header, change(read4.packet, 32, 0x40)],
    ['the TCP header says more than there is', read4.header, change(read4.packet.slice(0, 70), 32, 0xf0)],
    ['the UDP header is cut', readUdp.header, readUdp.packet.slice(0, 27)],
    ['the type is of the other IP version', { ...read4.header, gsoType: GSO_TCPV6 }, read4.packet],
    ['the type is of the other IP version', { ...read6.header, gsoType: GSO_TCPV4 }, read6.packet],
    ['the type is of the other transport', { ...read4.header, gsoType: GSO_UDP_L4 }, read4.packet],
    ['the type is of the other transport', { ...readUdp.header, gsoType: GSO_TCPV4 }, readUdp.packet],
    [
      'the type is UDP fragmentation, which nobody offered',
      { ...readUdp.header, gsoType: 3 },
      readUdp.packet,
    ],
    ['the type is unknown', { ...read4.header, gsoType: 0x7f }, read4.packet],
    ['only the ECN bit is set', { ...read4.header, gsoType: GSO_ECN }, read4.packet],
    ['the ECN bit is set for UDP', { ...readUdp.header, gsoType: GSO_UDP_L4 | GSO_ECN }, readUdp.packet],
    ['segments are empty', { ...read4.header, gsoSize: 0 }, read4.packet],
    ['the super-packet claims a whole checksum', { ...read4.header, flags: 0 }, read4.packet],
    ['the checksum starts elsewhere', { ...read4.header, checksumStart: 24 }, read4.packet],
    ['the checksum lies elsewhere', { ...read4.header, checksumOffset: 6 }, read4.packet],
    ['the packet is a fragment', read4.header, change(read4.packet, 6, 0x20)],
    ['the packet is a later fragment', read4.header, change(read4.packet, 7, 1)],
    ['the protocol is another', read4.header, change(read4.packet, 9, 47)],
    ['an IPv6 routing header comes first', read6.header, change(read6.packet, 6, 43)],
    ['an IPv6 fragment header comes first', read6.header, change(read6.packet, 6, 44)],
    [
      'an IPv6 option header leads out of the packet',
      read6.header,
      change(change(read6.packet, 6, 0), 41, 255),
    ],
    ['it is no IP packet', read4.header, change(read4.packet, 0, 0x55)],
    [
      'the checksum lies across the end',
      { ...PLAIN, flags: NEEDS_CSUM, checksumStart: 20, checksumOffset: odd.length - 21 },
      odd,
    ],
    [
      'the checksum starts behind the end',
      { ...PLAIN, flags: NEEDS_CSUM, checksumStart: 65_535, checksumOffset: 65_535 },
      whole,
    ],
    [
      'the checksum lies across two words',
      { ...PLAIN, flags: NEEDS_CSUM, checksumStart: 20, checksumOffset: 7 },
      whole,
    ],
  ];
  for (const [name, header, packet] of cases) {
    test(name, () => {
      assert.equal(bench.split(header, packet), undefined);
      assert.deepEqual(bench.split(PLAIN, whole), [whole], 'the next read is taken');
    });
  }
});
