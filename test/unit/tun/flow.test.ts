import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../../src/core/arena.ts';
import { DestinationFilter } from '../../../src/tun/destination-filter.ts';
import { flowOf } from '../../../src/tun/flow.ts';
import { PROTOCOL } from '../../../src/tun/packet.ts';
import { ipv4Packet, ipv6Packet } from '../../kit/packets.ts';
import { address } from '../../kit/pair.ts';

const arena = new Arena({ bytes: 1 << 16 });

function flow(packet: Uint8Array, offset = 0): number {
  const at = arena.alloc(0, 4) + offset;
  arena.u8.set(packet, at);
  return flowOf(arena, at, packet.length);
}

interface Fields {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly from: number;
  readonly to: number;
  readonly ports: number;
}

function build({ version, protocol, from, to, ports }: Fields, size = 80, serial = 0): Uint8Array {
  const packet =
    version === 4
      ? ipv4Packet(`10.0.0.${from}`, `10.0.0.${to}`, size, serial)
      : ipv6Packet(`fd00::${from.toString(16)}`, `fd00::${to.toString(16)}`, size, serial);
  const header = version === 4 ? 20 : 40;
  packet[version === 4 ? 9 : 6] = protocol;
  new DataView(packet.buffer).setUint32(header, ports);
  return packet;
}

const fields: fc.Arbitrary<Fields> = fc.record({
  version: fc.constantFrom(4, 6),
  protocol: fc.constantFrom(PROTOCOL.tcp, PROTOCOL.udp),
  from: fc.integer({ min: 1, max: 254 }),
  to: fc.integer({ min: 1, max: 254 }),
  ports: fc.nat(0xffff_ffff),
});

test('flow: it is that of the five fields and of nothing else, wherever the packet lies', () => {
  fc.assert(
    fc.property(fields, fc.integer({ min: 60, max: 1280 }), fc.nat(3), (each, size, offset) => {
      assert.equal(flow(build(each, size, 7), offset), flow(build(each, 80, 0)));
    }),
  );
});

test('flow: any other address, protocol or port makes another one', () => {
  const changed = fc.constantFrom<keyof Fields>('version', 'protocol', 'from', 'to', 'ports');
  fc.assert(
    fc.property(fields, fields, changed, (one, other, key) => {
      const two = { ...one, [key]: other[key] };
      fc.pre(one[key] !== two[key]);
      assert.notEqual(flow(build(one)), flow(build(two)));
    }),
  );
});

test('flow: it is spread evenly over any small number of streams', () => {
  for (const streams of [2, 3, 4]) {
    const counts = Array.from({ length: streams }, () => 0);
    for (let port = 1024; port < 5120; port++) {
      const packet = build({
        version: 6,
        protocol: PROTOCOL.tcp,
        from: 1,
        to: 2,
        ports: port * 65_536 + 443,
      });
      const stream = flow(packet) % streams;
      counts[stream] = (counts[stream] ?? 0) + 1;
    }
    for (const count of counts) assert.ok(Math.abs(count - 4096 / streams) < 150, counts.join());
  }
});

test('flow: fragments of one packet stay together, and what has no ports needs none', () => {
  const of = (ports: number, fragment: number) => {
    const packet = build({ version: 4, protocol: PROTOCOL.udp, from: 1, to: 2, ports });
    new DataView(packet.buffer).setUint16(6, fragment);
    return flow(packet);
  };
  const [more, offset] = [0x2000, 100];
  assert.equal(of(1, more), of(2, more | offset));
  assert.equal(of(1, more), of(3, offset));
  assert.notEqual(of(1, 0), of(2, 0));
  const dontFragment = 0x4000;
  assert.notEqual(of(1, dontFragment), of(2, dontFragment));
  const echo = { version: 6, protocol: PROTOCOL.icmpv6, from: 1, to: 2 } as const;
  assert.equal(flow(build({ ...echo, ports: 1 })), flow(build({ ...echo, ports: 2 })));
  // A header that promises ports behind the end of the packet.
  const bare = build({ version: 4, protocol: PROTOCOL.udp, from: 1, to: 2, ports: 9 }).subarray(0, 22);
  assert.equal(flow(bare), of(7, more));
});

test('destination filter: only IPv6 packets to the one address pass', () => {
  const filter = new DestinationFilter(address('fd00::1'));
  const passes = (packet: Uint8Array) => {
    const at = arena.alloc(0, 4) + 3;
    arena.u8.set(packet, at);
    return filter.passes(arena, at, packet.length);
  };
  assert.ok(passes(ipv6Packet('fd00::2', 'fd00::1', 1280)));
  assert.ok(passes(ipv6Packet('fd00::2', 'fd00::1', 40)), 'nothing but a header');
  assert.ok(!passes(ipv6Packet('fd00::2', 'fd00::1', 40).subarray(0, 39)));
  assert.ok(!passes(ipv4Packet('10.0.0.2', '10.0.0.1', 60)));
  for (const other of ['fd00::3', 'fd00::2', 'fd01::1', 'fd00:0:0:1::1', 'ff02::1', '::1']) {
    assert.ok(!passes(ipv6Packet('fd00::2', other, 60)), other);
  }
});
