/** Batches of packets and what is written for them; the named cases are those of wireguard-go's Test_handleGRO. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_OPEN_PACKETS } from '../../../../src/tun/offload/coalescer.ts';
import { SINK_REFUSED_SUPER } from '../../../../src/tun/offload/sink.ts';
import { PORT_GONE, PORT_REFUSED } from '../../../../src/tun/tun.ts';
import { CoalescerBench, type Write } from '../../../kit/offload.ts';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  PSH,
  RST,
  SYN,
  type TcpFields,
  URG,
  checksumsHold,
  fixChecksums,
  layoutOf,
  onesSum,
  payloadOf,
  pseudoSum,
  read16,
  tcp,
  udp,
  write16,
} from '../../../reference/tun/ip-packet.ts';
import { segment } from '../../../reference/tun/segmenter.ts';
import {
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  NEEDS_CSUM,
  PLAIN,
} from '../../../reference/tun/virtio.ts';

const bench = new CoalescerBench();

/** Total packet lengths, in the order of writing. */
function lengths(writes: readonly Write[]): number[] {
  return writes.map(({ packet }) => packet.length);
}

function assertAlone(writes: readonly Write[], packets: readonly Uint8Array[]): void {
  assert.deepEqual(
    writes,
    packets.map((packet) => ({ header: PLAIN, packet })),
  );
}

/** Segments of 100 bytes that follow each other. */
function segments(
  count: number,
  fields: Partial<Omit<TcpFields, 'payload' | 'protocol'>> = {},
): Uint8Array[] {
  const { sequence = 1, identification = 0 } = fields;
  return Array.from({ length: count }, (_, i) =>
    tcp(payloadOf(100, i * 100), {
      ...fields,
      sequence: (sequence + i * 100) >>> 0,
      identification: (identification + i) & 0xffff,
    }),
  );
}

function changed(packet: Uint8Array, at: number, bits: number): Uint8Array {
  const copy = packet.slice();
  copy[at] = (copy[at] as number) ^ bits;
  return copy;
}

describe('packets of one flow are joined (handleGRO)', () => {
  for (const [name, version, make, gsoType, headerLength] of [
    ['tcp4', 4, tcp, GSO_TCPV4, 40],
    ['tcp6', 6, tcp, GSO_TCPV6, 60],
    ['udp4', 4, udp, GSO_UDP_L4, 28],
    ['udp6', 6, udp, GSO_UDP_L4, 48],
  ] as const) {
    test(`${name}: the joined packet and its virtio header`, () => {
      const packets = [0, 1, 2].map((i) =>
        make(payloadOf(100, i), { version, sequence: 1 + i * 100, identification: i }),
      );
      const [write, ...rest] = bench.batch(packets);
      assert.ok(write);
      assert.deepEqual(rest, []);
      const { header, packet } = write;
      const transport = version === 4 ? 20 : 40;
      assert.deepEqual(header, {
        flags: NEEDS_CSUM,
        gsoType,
        headerLength,
        gsoSize: 100,
        checksumStart: transport,
        checksumOffset: make === tcp ? 16 : 6,
      });
      const layout = layoutOf(packet);
      assert.ok(layout, 'all length fields are right');
      assert.equal(packet.length, headerLength + 300);
      assert.equal(read16(packet, layout.transportChecksum), pseudoSum(packet, layout), 'partial checksum');
      if (version === 4) assert.equal(onesSum(packet.slice(0, 20)), 0xffff, 'IPv4 header checksum');
      assert.deepEqual(segment(header, packet), packets);
    });
  }

  test('several protocols and flows at once, each in its own packet', () => {
    const other = { sourcePort: 9 };
    const first = segments(2);
    const second = segments(2, other);
    const third = segments(2, { version: 6 });
    const packets = [
      first[0],
      udp(100),
      second[0],
      udp(100, other),
      first[1],
      third[0],
      udp(100),
      second[1],
      third[1],
      udp(100, { version: 6 }),
      udp(100, other),
      udp(100, { version: 6, ...other }),
    ] as Uint8Array[];
    assert.deepEqual(lengths(bench.batch(packets)), [240, 228, 240, 228, 260, 148, 148]);
  });

  test('a short packet ends the joined one, a longer one starts anew', () => {
    for (const version of [4, 6] as const) {
      const header = version === 4 ? 40 : 60;
      const at = (sequence: number, size: number) => tcp(size, { version, sequence });
      const packets = [at(1, 100), at(101, 100), at(201, 50), at(251, 50), at(301, 60)];
      assert.deepEqual(lengths(bench.batch(packets)), [header + 250, header + 50, header + 60]);
    }
    assert.deepEqual(lengths(bench.batch([udp(100), udp(99), udp(99), udp(100)])), [227, 127, 128]);
  });

  test('an odd size in the middle does not disturb the sums behind it', () => {
    const packets = [0, 1, 2, 3].map((i) => tcp(payloadOf(99, i), { sequence: 1 + i * 99 }));
    const [write] = bench.batch(packets);
    assert.ok(write);
    assert.equal(write.packet.length, 40 + 396);
    assert.deepEqual(
      segment(write.header, write.packet)?.map((part) => part.slice(40)),
      packets.map((packet) => packet.slice(40)),
    );
  });

  test('sequence numbers and identifications may wrap', () => {
    const packets = segments(3, { sequence: 0xffff_ffff, identification: 0xffff, dontFragment: false });
    assert.deepEqual(lengths(bench.batch(packets)), [340]);
    assert.deepEqual(lengths(bench.batch(segments(3, { sequence: 0x7fff_ff9c }))), [340]);
  });

  test('PSH interleaved: it ends the joined packet and is kept, alone it stays alone', () => {
    const [a, b, c, d, e] = segments(5) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const push = (packet: Uint8Array) => {
      const copy = changed(packet, 33, PSH);
      fixChecksums(copy);
      return copy;
    };
    const writes = bench.batch([a, push(b), push(c), d, e]);
    assert.deepEqual(lengths(writes), [240, 140, 240]);
    assert.deepEqual(
      writes.map(({ packet }) => packet[33]),
      [ACK | PSH, ACK | PSH, ACK],
    );
    assert.equal(writes[1]?.header.gsoType, GSO_NONE);
  });

  test('64 packets are the most in one', () => {
    for (const make of [udp, tcp]) {
      const packets = Array.from({ length: 130 }, (_, i) => make(10, { sequence: 1 + 10 * i }));
      const counts = bench
        .batch(packets)
        .map(({ header, packet }) => (header.gsoSize === 0 ? 1 : (packet.length - header.headerLength) / 10));
      assert.deepEqual(counts, [64, 64, 2]);
    }
  });

  test('65,535 bytes are the most in one, in both versions of IP', () => {
    for (const version of [4, 6] as const) {
      const header = version === 4 ? 40 : 60;
      const packets = Array.from({ length: 20 }, (_, i) => tcp(8000, { version, sequence: 1 + 8000 * i }));
      const full = header + 8 * 8000;
      assert.deepEqual(lengths(bench.batch(packets)), [full, full, header + 4 * 8000]);
    }
    const exact = [
      tcp(32_747, { sequence: 1 }),
      tcp(32_748 - 1, { sequence: 32_748 }),
      tcp(1, { sequence: 65_495 }),
    ];
    assert.deepEqual(lengths(bench.batch(exact)), [65_534 + 1]);
    const over = [tcp(32_748, { sequence: 1 }), tcp(32_748, { sequence: 32_749 })];
    assert.deepEqual(lengths(bench.batch(over)), [32_788, 32_788]);
  });

  test('pieces are addressed right above, below and across 4 GiB', () => {
    for (const address of [0x7fff_fff0_0000, 0x1_0000_0000 - (2 << 20), 0xffff_f000 - (1 << 20), 0x1000]) {
      const packets = segments(40, { options: new Uint8Array(40) });
      const other = new CoalescerBench({ address });
      for (let i = 0; i < 40; i++) other.add(new Uint8Array(60_000));
      for (const packet of packets) other.add(packet);
      other.flush();
      const [write] = other.sink.writes.filter(({ header }) => header.gsoType === GSO_TCPV4);
      assert.ok(write);
      assert.deepEqual(segment(write.header, write.packet), packets);
    }
  });
});

describe('packets are not joined when', () => {
  const [first, second] = segments(2) as [Uint8Array, Uint8Array];
  const pairs: readonly (readonly [string, Uint8Array, Uint8Array])[] = [
    ['they are duplicates', first, first],
    ['one is missing between', first, tcp(100, { sequence: 102 })],
    ['they are out of order', second, first],
    ['the acknowledgment differs', first, tcp(100, { sequence: 101, acknowledgment: 78 })],
    ['the window differs', first, tcp(100, { sequence: 101, window: 501 })],
    ['the urgent pointer differs', first, tcp(100, { sequence: 101, urgent: 1 })],
    ['the options differ in size', first, tcp(100, { sequence: 101, options: Uint8Array.of(1, 1, 1, 1) })],
    [
      'the options differ',
      tcp(100, { options: Uint8Array.of(1, 1, 1, 1) }),
      tcp(100, { sequence: 101, options: Uint8Array.of(1, 1, 1, 0) }),
    ],
    ['the TTL differs', first, tcp(100, { sequence: 101, ttl: 63 })],
    ['the ToS differs', first, tcp(100, { sequence: 101, tos: 1 })],
    ['DF differs', first, tcp(100, { sequence: 101, dontFragment: false })],
    [
      'identifications without DF do not follow each other',
      tcp(100, { dontFragment: false, identification: 5 }),
      tcp(100, { sequence: 101, dontFragment: false, identification: 7 }),
    ],
    ['the hop limit differs', tcp(100, { version: 6 }), tcp(100, { version: 6, sequence: 101, ttl: 63 })],
    ['the traffic class differs', tcp(100, { version: 6 }), tcp(100, { version: 6, sequence: 101, tos: 1 })],
    [
      'the flow label differs',
      tcp(100, { version: 6 }),
      tcp(100, { version: 6, sequence: 101, flowLabel: 1 }),
    ],
    ['the source differs', first, tcp(100, { sequence: 101, source: 9 })],
    ['the destination differs', first, tcp(100, { sequence: 101, destination: 9 })],
    ['the source port differs', first, tcp(100, { sequence: 101, sourcePort: 9 })],
    ['the destination port differs', first, tcp(100, { sequence: 101, destinationPort: 9 })],
    ['the IPv6 source differs', udp(100, { version: 6 }), udp(100, { version: 6, source: 9 })],
    ['the IPv6 destination differs', udp(100, { version: 6 }), udp(100, { version: 6, destination: 9 })],
    ['the version of IP differs', udp(100), udp(100, { version: 6 })],
    ['the transport differs', first, udp(100)],
    ['a datagram is longer', udp(100), udp(101)],
    ['a datagram has another TTL', udp(100), udp(100, { ttl: 63 })],
    ['a datagram is empty', udp(100), udp(0)],
    ['datagrams have no checksum', changedTo(udp(100), 26, 0), changedTo(udp(100), 26, 0)],
    ['the first TCP checksum is wrong', changed(first, 37, 1), second],
    ['the second TCP checksum is wrong', first, changed(second, 37, 1)],
    ['the payload of the first was changed', changed(first, 90, 1), second],
    ['the payload of the second was changed', first, changed(second, 139, 1)],
    ['the first IPv4 header checksum is wrong', changed(first, 11, 1), second],
    ['the second IPv4 header checksum is wrong', first, changed(second, 11, 1)],
    ['a UDP checksum is wrong', udp(100), changed(udp(100), 27, 1)],
    [
      'an IPv6 checksum is wrong',
      tcp(100, { version: 6 }),
      changed(tcp(100, { version: 6, sequence: 101 }), 57, 1),
    ],
  ];
  for (const [name, a, b] of pairs) {
    test(name, () => assertAlone(bench.batch([a, b]), [a, b]));
  }

  // Sums do not tell these apart, so nothing but the comparison of the fields does.
  const longer = changedBy(changedBy(udp(100), 24, 1), 26, -1);
  assert.equal(onesSum(longer.slice(12, 20), [0, 17, 0, 108], longer.slice(20)), 0xffff);
  const noChecksum = changedTo(udpThatSumsToNothing(), 26, 0);
  const sameSums: readonly (readonly [string, Uint8Array, Uint8Array])[] = [
    ['the addresses are exchanged', first, tcp(100, { sequence: 101, source: 2, destination: 1 })],
    [
      'the addresses are exchanged in IPv6',
      tcp(100, { version: 6 }),
      tcp(100, { version: 6, sequence: 101, source: 2, destination: 1 }),
    ],
    ['the total length of the second is wrong', first, changedBy(changedBy(second, 2, 1), 10, -1)],
    ['the length of the first datagram is wrong', longer, udp(100)],
    ['the length of the second datagram is wrong', udp(100), longer],
    ['the length of both datagrams is wrong', longer, longer],
    ['the first datagram has no checksum', noChecksum, udp(100)],
    ['the second datagram has no checksum', udp(100), noChecksum],
    ['both IPv4 header checksums are wrong by the same', changedBy(first, 10, 1), changedBy(second, 10, 1)],
  ];
  for (const [name, a, b] of sameSums) {
    test(`${name}, and all sums are the same`, () => assertAlone(bench.batch([a, b]), [a, b]));
  }

  /** Its checksum comes out as 0, which is sent as 0xffff. */
  function udpThatSumsToNothing(): Uint8Array {
    const payload = payloadOf(100);
    write16(payload, 0, 0);
    write16(payload, 0, read16(udp(payload), 26));
    const packet = udp(payload);
    assert.equal(read16(packet, 26), 0xffff);
    return packet;
  }

  function changedTo(packet: Uint8Array, at: number, value: number): Uint8Array {
    const copy = packet.slice();
    write16(copy, at, value);
    return copy;
  }

  function changedBy(packet: Uint8Array, at: number, difference: number): Uint8Array {
    return changedTo(packet, at, read16(packet, at) + difference);
  }

  test('a wrong packet does not stop the right ones around it', () => {
    const [a, b, c, d, e] = segments(5) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const wrong = changed(c, 100, 1);
    const writes = bench.batch([a, b, wrong, d, e]);
    assert.deepEqual(lengths(writes), [240, 140, 240]);
    assert.deepEqual(writes[1], { header: PLAIN, packet: wrong });
  });
});

describe('a packet is no candidate (packetIsGROCandidate) and ends the joined one of its flow when', () => {
  const fragment = (bits: number) => {
    const packet = tcp(100, { sequence: 201 });
    write16(packet, 6, bits);
    return packet;
  };
  const reserved = changed(tcp(100, { sequence: 201 }), 32, 1);
  fixChecksums(reserved);
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ['it only acknowledges', tcp(0, { sequence: 201 })],
    ['it has SYN', tcp(100, { sequence: 201, flags: ACK | SYN })],
    ['it has FIN', tcp(100, { sequence: 201, flags: ACK | FIN })],
    ['it has RST', tcp(100, { sequence: 201, flags: ACK | RST })],
    ['it has URG', tcp(100, { sequence: 201, flags: ACK | URG })],
    ['it has ECE', tcp(100, { sequence: 201, flags: ACK | ECE })],
    ['it has CWR', tcp(100, { sequence: 201, flags: ACK | CWR })],
    ['it has no ACK', tcp(100, { sequence: 201, flags: PSH })],
    ['it has reserved bits', reserved],
    ['it has IPv4 options', tcp(100, { sequence: 201, ipOptions: Uint8Array.of(1, 1, 1, 0) })],
    ['it is a first fragment', fragment(0x2000)],
    ['it is a last fragment', fragment(0x0001)],
    ['it has the reserved fragment bit', fragment(0x8000)],
    ['its TCP header is cut', tcp(100, { sequence: 201 }).slice(0, 39)],
    ['its TCP header says less than 20 bytes', changed(tcp(100, { sequence: 201 }), 32, 0x10)],
    ['its TCP header says more than there is', changed(tcp(0, { sequence: 201 }), 32, 0xa0)],
    ['its total length is not its length', changed(tcp(100, { sequence: 201 }), 3, 1)],
  ];
  for (const [name, packet] of cases) {
    test(name, () => {
      const writes = bench.batch([...segments(2), packet, ...segments(2, { sequence: 301 })]);
      assert.deepEqual(lengths(writes), [240, packet.length, 240]);
      assert.deepEqual(writes[1], { header: PLAIN, packet });
    });
  }

  test('it has an IPv6 extension header or a wrong payload length', () => {
    for (const [at, bits] of [
      [6, 6 ^ 44],
      [6, 6 ^ 0],
      [5, 1],
    ] as const) {
      const packet = changed(tcp(100, { version: 6, sequence: 201 }), at, bits);
      const more = segments(2, { version: 6, sequence: 301 });
      const writes = bench.batch([...segments(2, { version: 6 }), packet, ...more]);
      assert.deepEqual(lengths(writes), [260, 160, 260]);
      assert.deepEqual(writes[1], { header: PLAIN, packet });
    }
  });

  test('its TCP header says less than 20 bytes and its checksum is right', () => {
    const packets = [1, 105].map((sequence) => {
      const packet = changed(tcp(100, { sequence }), 32, 0x10);
      write16(packet, 36, read16(packet, 36) + 0x1000);
      assert.equal(onesSum(packet.slice(12, 20), [0, 6, 0, 120], packet.slice(20)), 0xffff);
      return packet;
    });
    assertAlone(bench.batch(packets), packets);
  });

  test('it is a datagram with a wrong length', () => {
    const packet = changed(udp(100), 25, 1);
    assert.deepEqual(lengths(bench.batch([udp(100), udp(100), packet, udp(100), udp(100)])), [228, 128, 228]);
  });
});

describe('order', () => {
  test('packets of other flows and protocols do not end a joined packet', () => {
    const [a, b] = segments(2) as [Uint8Array, Uint8Array];
    const icmp = changed(udp(40), 9, 17 ^ 1);
    const icmp6 = changed(udp(40, { version: 6 }), 6, 17 ^ 58);
    const acknowledgment = tcp(0, { sourcePort: 9 });
    const writes = bench.batch([a, icmp, icmp6, acknowledgment, udp(10), b]);
    assert.deepEqual(lengths(writes), [68, 88, 40, 240, 38]);
  });

  describe('nothing of any flow waits while a packet passes that may belong to it', () => {
    const cut = (packet: Uint8Array, length: number) => {
      const short = packet.slice(0, length);
      if (short[0] === 0x45) write16(short, 2, length);
      else write16(short, 4, length - 40);
      return short;
    };
    const later = tcp(100);
    write16(later, 6, 0x0010);
    const cases: readonly (readonly [string, Uint8Array])[] = [
      ['an IPv4 fragment', later],
      ['IPv4 options', tcp(100, { ipOptions: Uint8Array.of(1, 1, 1, 0) })],
      ['an IPv6 fragment', changed(tcp(100, { version: 6 }), 6, 6 ^ 44)],
      ['IPv6 options', changed(tcp(100, { version: 6 }), 6, 6 ^ 60)],
      ['a TCP header that is cut', cut(tcp(0), 39)],
      ['a UDP header that is cut', cut(udp(0), 27)],
      ['a TCP header in IPv6 that is cut', cut(tcp(0, { version: 6 }), 59)],
      ['a UDP header in IPv6 that is cut', cut(udp(0, { version: 6 }), 47)],
      ['an IPv4 header that is cut', udp(0).slice(0, 19)],
      ['an IPv6 header that is cut', udp(0, { version: 6 }).slice(0, 39)],
      ['no IP packet', Uint8Array.of(0)],
    ];
    for (const [name, packet] of cases) {
      test(name, () => {
        const other = udp(100, { version: 6 });
        assertAlone(bench.batch([udp(100), other, packet, udp(100), other]), [
          udp(100),
          other,
          packet,
          udp(100),
          other,
        ]);
      });
    }
  });

  test('what waits leaves in the order in which it was opened', () => {
    const flows = [3, 1, 2].map((sourcePort) => tcp(100, { sourcePort }));
    assertAlone(bench.batch(flows), flows);
  });

  test('with one flow too many, the one that was opened first is written', () => {
    const flows = Array.from({ length: MAX_OPEN_PACKETS + 1 }, (_, sourcePort) =>
      segments(2, { sourcePort }),
    );
    const firsts = flows.map((flow) => flow[0] as Uint8Array);
    const seconds = flows.map((flow) => flow[1] as Uint8Array);
    const writes = bench.batch([...firsts, ...seconds.slice(1), seconds[0] as Uint8Array]);
    assert.deepEqual(lengths(writes), [140, ...Array<number>(MAX_OPEN_PACKETS).fill(240), 140]);
    assert.deepEqual(writes[0], { header: PLAIN, packet: firsts[0] });
  });

  test('nothing waits behind flush', () => {
    const [a, b] = segments(2) as [Uint8Array, Uint8Array];
    assertAlone(bench.batch([a]), [a]);
    assertAlone(bench.batch([b]), [b]);
    assertAlone(bench.batch([]), []);
  });
});

describe('switches', () => {
  test('each kind can be off from the start', () => {
    const batch = [...segments(2), udp(100), udp(100)];
    assert.deepEqual(lengths(new CoalescerBench({ tcp: false }).batch(batch)), [140, 140, 228]);
    assert.deepEqual(lengths(new CoalescerBench({ udp: false }).batch(batch)), [128, 128, 240]);
    assertAlone(new CoalescerBench({ tcp: false, udp: false }).batch(batch), batch);
  });

  test('disabling in the middle of a batch writes as they came the packets that were joined', () => {
    const off = new CoalescerBench();
    const [a, b, c] = segments(3) as [Uint8Array, Uint8Array, Uint8Array];
    for (const packet of [a, udp(100), b, udp(100)]) off.add(packet);
    off.coalescer.disableTcp();
    off.coalescer.disableUdp();
    assert.deepEqual([off.coalescer.tcp, off.coalescer.udp], [false, false]);
    off.add(c);
    off.flush();
    assertAlone(off.sink.writes, [a, b, c, udp(100), udp(100)]);
  });

  for (const [name, batch, more] of [
    ['tcp4', segments(3), segments(2, { sequence: 500 })],
    ['tcp4 with PSH', [...segments(2), tcp(100, { sequence: 201, flags: ACK | PSH })], segments(2)],
    ['tcp6', segments(3, { version: 6 }), segments(2)],
    ['udp4', [udp(100), udp(100), udp(60)], [udp(100), udp(100)]],
    ['udp6', [udp(100, { version: 6 }), udp(100, { version: 6 })], [udp(100), udp(100)]],
  ] as const) {
    test(`a sink that refuses joined packets gets them as they came, and no other of the kind: ${name}`, () => {
      const off = new CoalescerBench();
      let asked = 0;
      off.sink.answer = (kind, _header, length) => {
        if (kind === 'single') return length;
        asked++;
        return SINK_REFUSED_SUPER;
      };
      assertAlone(off.batch(batch), batch);
      assert.equal(asked, 1);
      assertAlone(off.batch(more), more);
      assert.equal(asked, 1, 'not tried again');
      assert.deepEqual(
        [off.coalescer.tcp, off.coalescer.udp],
        [name.startsWith('udp'), name.startsWith('tcp')],
      );
      off.sink.answer = (_kind, _header, length) => length;
      const other = name.startsWith('udp') ? segments(2) : [udp(100), udp(100)];
      assert.equal(off.batch(other).length, 1, 'the other kind goes on');
    });
  }
});

describe('what the sink answers', () => {
  test('refused packets are counted one by one, joined or not, until flush tells', () => {
    const off = new CoalescerBench();
    off.sink.answer = () => PORT_REFUSED;
    for (const packet of [...segments(3), udp(0), udp(10)]) off.add(packet);
    assert.equal(off.flush(), 5);
    assert.equal(off.flush(), 0);
    assert.ok(off.coalescer.tcp, 'an interface that is down says nothing about offloads');
  });

  test('a device that is gone is told by flush', () => {
    const off = new CoalescerBench();
    off.sink.answer = () => PORT_GONE;
    off.add(udp(0));
    assert.equal(off.flush(), PORT_GONE);
    off.sink.answer = (_kind, _header, length) => length;
    assertAlone(off.batch(segments(1)), segments(1));
  });
});

test('the packets of these tests are right', () => {
  for (const packet of [...segments(3), udp(31), udp(0, { version: 6 }), tcp(1, { version: 6 })])
    assert.ok(checksumsHold(packet));
});
