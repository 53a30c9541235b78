/** Decoders of IP packets, of the TUN's super-packets and of what the kernel says. */
import assert from 'node:assert/strict';
import { Arena } from '../../src/core/arena.ts';
import { hasLibc } from '../../src/sys/libc.ts';
import { arenaAddress } from '../../src/sys/memory.ts';
import { MessageTable } from '../../src/sys/messages.ts';
import * as netlink from '../../src/sys/netlink-message.ts';
import * as rt from '../../src/sys/rtnetlink.ts';
import { MMSGHDR } from '../../src/sys/structs.ts';
import { decapsulateEcn, encapsulateEcn } from '../../src/tun/ecn.ts';
import { MAX_UNREACHABLE_SIZE, writeUnreachable } from '../../src/tun/icmp.ts';
import { checksum, innerLength, trafficClass, wordSum } from '../../src/tun/packet.ts';
import { MAX_OPEN_PACKETS } from '../../src/tun/offload/coalescer.ts';
import { allocEndpoints } from '../../src/tunnel/bind.ts';
import { CONTROL_SIZE, readReceived } from '../../src/tunnel/linux-records.ts';
import { CoalescerBench, SegmenterBench } from '../kit/offload.ts';
import { ipv4Packet, ipv6Packet } from '../kit/packets.ts';
import { coalesce } from '../reference/tun/coalescer.ts';
import { checksumsHold, layoutOf, pseudoSum, tcp, udp, write16 } from '../reference/tun/ip-packet.ts';
import { segment } from '../reference/tun/segmenter.ts';
import {
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  NEEDS_CSUM,
  VIRTIO_SIZE,
  decodeVirtio,
  encodeVirtio,
} from '../reference/tun/virtio.ts';
import { type FuzzTarget, type Run, joinPieces, pieces } from './target.ts';

const GUARD = 64;
const GUARD_BYTE = 0xa5;

const ipHeaders: FuzzTarget = {
  name: 'ip-headers',
  seeds: () => [
    ipv4Packet('10.0.0.1', '10.0.0.2', 60),
    ipv6Packet('fd00::1', 'fd00::2', 80),
    tcp(100, { version: 4 }),
    udp(100, { version: 6 }),
  ],
  prepare: () => {
    const arena = new Arena({ bytes: 1 << 18 });
    const at = arena.alloc(70_000) + GUARD;
    const out = arena.alloc(MAX_UNREACHABLE_SIZE + 2 * GUARD) + GUARD;
    return (bytes) => {
      if (bytes.length === 0) return;
      const { u8 } = arena;
      // What lies behind a packet must not be read as part of it.
      u8.fill(GUARD_BYTE, at - GUARD, at + bytes.length + GUARD);
      u8.set(bytes, at);
      const length = innerLength(arena, at, bytes.length);
      assert.ok(length >= 0 && length <= bytes.length);
      if (length === 0) return;
      assert.equal(encapsulateEcn(arena, at), trafficClass(arena, at) & 3);
      u8.fill(GUARD_BYTE, out - GUARD, out + MAX_UNREACHABLE_SIZE + GUARD);
      const size = writeUnreachable(arena, at, length, out);
      assert.ok(size <= MAX_UNREACHABLE_SIZE);
      assert.ok(u8.subarray(out - GUARD, out).every((byte) => byte === GUARD_BYTE));
      assert.ok(u8.subarray(out + size, out + size + GUARD).every((byte) => byte === GUARD_BYTE));
      if (size > 0) assert.equal(innerLength(arena, out, size), size);
      if (size > 0 && (u8[out] as number) >> 4 === 4) assert.equal(checksum(wordSum(arena, out, 20)), 0);
      // A header that was right stays right, whatever the outer field said.
      const isRight = (u8[at] as number) >> 4 === 4 && checksum(wordSum(arena, at, 20)) === 0;
      decapsulateEcn(arena, at, (bytes[bytes.length - 1] as number) & 3);
      if (isRight) assert.equal(checksum(wordSum(arena, at, 20)), 0);
      assert.ok(
        u8.subarray(at + bytes.length, at + bytes.length + GUARD).every((byte) => byte === GUARD_BYTE),
      );
    };
  },
};

/** A read of the TUN: struct virtio_net_hdr, then the packet with a partial checksum. */
function superPacket(packet: Uint8Array, gsoSize: number): Uint8Array {
  const layout = layoutOf(packet);
  assert.ok(layout);
  write16(packet, layout.transportChecksum, pseudoSum(packet, layout));
  const tcpType = layout.version === 4 ? GSO_TCPV4 : GSO_TCPV6;
  const header = encodeVirtio({
    flags: NEEDS_CSUM,
    gsoType: gsoSize === 0 ? GSO_NONE : layout.protocol === 17 ? GSO_UDP_L4 : tcpType,
    headerLength: layout.payload,
    gsoSize,
    checksumStart: layout.transport,
    checksumOffset: layout.transportChecksum - layout.transport,
  });
  return new Uint8Array(Buffer.concat([header, packet]));
}

const gsoSplit: FuzzTarget = {
  name: 'gso-split',
  maxBytes: 8192,
  seeds: () => [
    superPacket(tcp(2900, { version: 4 }), 1400),
    superPacket(tcp(2900, { version: 6 }), 1400),
    superPacket(udp(1500, { version: 4 }), 500),
    superPacket(udp(1500, { version: 6 }), 500),
    superPacket(tcp(200, { version: 4 }), 0),
  ],
  prepare: () => {
    const bench = new SegmenterBench();
    return (bytes) => {
      if (bytes.length <= VIRTIO_SIZE) return;
      const packet = bytes.slice(VIRTIO_SIZE);
      const header = decodeVirtio(bytes);
      const parts = bench.split(header, packet, bytes.length & 15);
      assert.deepEqual(parts, segment(header, packet));
      if (header.gsoType === GSO_NONE) return;
      for (const part of parts ?? []) assert.ok(checksumsHold(part), 'every segment has valid checksums');
    };
  },
};

function flow(version: 4 | 6): Uint8Array[] {
  const stream = [0, 1, 2].map((i) => tcp(700, { version, sequence: 1000 + 700 * i }));
  const datagrams = [0, 1, 2].map(() => udp(400, { version }));
  const spoiled = tcp(700, { version, sequence: 1000 + 2100 });
  spoiled[spoiled.length - 1] = (spoiled[spoiled.length - 1] as number) ^ 1;
  return [...stream, spoiled, ...datagrams];
}

const groMerge: FuzzTarget = {
  name: 'gro-merge',
  maxBytes: 32_768,
  seeds: () => [joinPieces(flow(4)), joinPieces(flow(6)), joinPieces([...flow(4), ...flow(6)])],
  prepare: () => {
    const bench = new CoalescerBench();
    return (bytes) => {
      const packets = [...pieces(bytes)].filter(({ length }) => length > 0).slice(0, 64);
      const writes = bench.batch(packets, bytes.length & 15);
      assert.deepEqual(writes, coalesce(packets, { tcp: true, udp: true, flows: MAX_OPEN_PACKETS }));
      const back = writes.flatMap(({ header, packet }) => segment(header, packet) ?? []);
      assert.equal(back.length, packets.length, 'split(merge(x)) has every packet of x');
      // What has a wrong checksum is nobody's part: it comes out alone and as it was.
      const wrong = packets.filter((packet) => !checksumsHold(packet));
      const alone = writes
        .filter(({ header }) => header.gsoType === GSO_NONE)
        .map(({ packet }) => packet.join());
      for (const packet of wrong) assert.ok(alone.includes(packet.join()), 'a spoiled packet was joined');
    };
  },
};

/** PKTINFO, TOS and UDP_GRO as recvmmsg leaves them. */
const CONTROLS = [
  '1c0000000000000000000000080000000200000000000000000000000a000001',
  '11000000000000000000000001000000b800000000000000',
  '14000000000000001100000068000000a005000000000000',
  '240000000000000029000000320000002001 0db8000000000000000000000001 0300000000000000'.replaceAll(' ', ''),
  '140000000000000001000000280000000500000000000000',
].map((hex) => new Uint8Array(Buffer.from(hex, 'hex')));

const udpControl: FuzzTarget = {
  name: 'udp-control',
  maxBytes: CONTROL_SIZE + 40,
  seeds: () =>
    [
      [2, 0, 0x1f, 0x90, 10, 0, 0, 2],
      [10, 0, 0x1f, 0x90],
    ].map((name) => {
      const seed = new Uint8Array(32 + CONTROL_SIZE);
      seed.set(name);
      let at = 32;
      for (const control of CONTROLS.slice(0, 3)) {
        seed.set(control.subarray(0, seed.length - at), at);
        at += control.length;
      }
      return seed;
    }),
  prepare: (): Run => {
    // Only where the table's addresses exist; the decoder itself is the same everywhere.
    if (!hasLibc()) return () => {};
    const arena = new Arena({ bytes: 1 << 16 });
    const table = new MessageTable(arena, 1, CONTROL_SIZE);
    const record = allocEndpoints(arena, 3) + 48;
    const info = { tos: 0, segment: 0, overflow: 0 };
    return (bytes) => {
      const { u8 } = arena;
      u8.fill(GUARD_BYTE, record - 48, record + 96);
      u8.fill(0, table.name(0), table.name(0) + 32);
      u8.set(bytes.subarray(0, 32), table.name(0));
      const controls = bytes.subarray(32, 32 + CONTROL_SIZE);
      u8.fill(GUARD_BYTE, table.control(0), table.control(0) + CONTROL_SIZE);
      u8.set(controls, table.control(0));
      // Only what is there may be read, also when the kernel says that there is more.
      arena.u32[(table.address(0) - arenaAddress(arena) + MMSGHDR.controlLength) / 4] =
        controls.length + (bytes.length % 16 === 15 ? 4096 : 0);
      readReceived(arena, table, 0, record, info);
      assert.ok(info.tos >= 0 && info.tos <= 255);
      assert.ok(info.segment >= 0 && info.segment <= 65_535);
      for (const [from, to] of [
        [record - 48, record],
        [record + 48, record + 96],
      ] as const)
        assert.ok(
          u8.subarray(from, to).every((byte) => byte === GUARD_BYTE),
          'written beside the record',
        );
    };
  },
};

/** Linux route messages: a link, a route with metrics, a rule, a namespace id, an error with its words. */
function netlinkSeeds(): Uint8Array[] {
  const link = Uint8Array.of(0, 0, 4, 3, 1, 0, 0, 0, 0x49, 0, 1, 0, 0, 0, 0, 0);
  const route = Uint8Array.of(2, 32, 0, 0, 254, 0, 0, rt.RTN_UNICAST, 0, 0, 0, 0);
  const rule = Uint8Array.of(2, 0, 0, 0, 254, 0, 0, rt.FR_ACT_TO_TBL, 2, 0, 0, 0);
  const error = new Uint8Array(20);
  new DataView(error.buffer).setInt32(0, -22, true);
  return [
    netlink.encodeRequest(rt.RTM_NEWLINK, 0, 7, link, [
      netlink.textAttribute(rt.IFLA_IFNAME, 'lo'),
      netlink.u32Attribute(rt.IFLA_MTU, 65_536),
    ]),
    netlink.encodeRequest(rt.RTM_NEWROUTE, 0, 1, route, [
      netlink.u32Attribute(rt.RTA_OIF, 3),
      { type: rt.RTA_PREFSRC, data: Uint8Array.of(10, 0, 0, 1) },
      { type: rt.RTA_METRICS | 0x8000, data: Uint8Array.of(8, 0, 2, 0, 0x78, 5, 0, 0) },
    ]),
    netlink.encodeRequest(rt.RTM_NEWRULE, 0, 1, rule, [
      netlink.u32Attribute(rt.FRA_TABLE, 51_820),
      netlink.u32Attribute(rt.FRA_FWMARK, 51_820),
      netlink.u32Attribute(rt.FRA_SUPPRESS_PREFIXLEN, 0),
    ]),
    netlink.encodeRequest(rt.RTM_NEWNSID, 0, 1, new Uint8Array(4), [netlink.u32Attribute(rt.NETNSA_NSID, 4)]),
    netlink.encodeRequest(netlink.NLMSG_ERROR, 0x300, 1, error, [netlink.textAttribute(1, 'Invalid prefix')]),
  ];
}

const netlinkReplies: FuzzTarget = {
  name: 'netlink',
  seeds: () => {
    const seeds = netlinkSeeds();
    return [...seeds, new Uint8Array(Buffer.concat(seeds))];
  },
  prepare: () => (bytes) => {
    let size = 0;
    for (const message of netlink.decodeMessages(bytes)) {
      size += message.payload.length;
      assert.ok(size <= bytes.length, 'messages do not overlap');
      for (const value of netlink.decodeAttributes(message.payload, 4).values())
        assert.ok(value.length <= message.payload.length);
      rt.decodeLink(message);
      rt.decodeRoute({ ...message, type: rt.RTM_NEWROUTE });
      rt.decodeRouteTable({ ...message, type: rt.RTM_NEWROUTE });
      rt.decodeRule({ ...message, type: rt.RTM_NEWRULE });
      rt.decodeNamespaceId({ ...message, type: rt.RTM_NEWNSID });
      for (const flags of [0, 0x100, 0x200, 0x300]) netlink.decodeError({ ...message, flags });
    }
  },
};

export const packetTargets: readonly FuzzTarget[] = [
  ipHeaders,
  gsoSplit,
  groMerge,
  udpControl,
  netlinkReplies,
];
