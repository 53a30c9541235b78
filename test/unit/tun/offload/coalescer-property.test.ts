import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MAX_OPEN_PACKETS } from '../../../../src/tun/offload/coalescer.ts';
import { CoalescerBench, SegmenterBench, type Write } from '../../../kit/offload.ts';
import { mutatedPacket, traffic } from '../../../kit/packet-streams.ts';
import { coalesce } from '../../../reference/tun/coalescer.ts';
import { checksumsHold, layoutOf, read16, write16 } from '../../../reference/tun/ip-packet.ts';
import { segment } from '../../../reference/tun/segmenter.ts';
import { GSO_NONE, PLAIN } from '../../../reference/tun/virtio.ts';

const benches = new Map(
  [true, false].flatMap((tcp) =>
    [true, false].map((udp) => [`${tcp} ${udp}`, new CoalescerBench({ tcp, udp })] as const),
  ),
);
const segmenter = new SegmenterBench();

function write(packets: readonly Uint8Array[], tcp: boolean, udp: boolean, shift: number): readonly Write[] {
  return (benches.get(`${tcp} ${udp}`) as CoalescerBench).batch(packets, shift);
}

/** The identification of an IPv4 packet with DF says nothing (RFC 6864 section 4.1) and is not kept. */
function withoutAtomicId(packet: Uint8Array): Uint8Array {
  const layout = layoutOf(packet);
  if (layout?.version !== 4 || read16(packet, 6) !== 0x4000) return packet;
  const copy = packet.slice();
  const before = read16(copy, 4);
  write16(copy, 4, 0);
  // The header checksum as far as it does not speak of the identification, so that a wrong one stays wrong.
  write16(copy, 10, (read16(copy, 10) + before) % 0xffff);
  return copy;
}

/** `flow` of what may be in one, `bystander`, or `barrier` for what may be in any. */
function flowOf(packet: Uint8Array): string {
  const isV4 = (packet[0] as number) >> 4 === 4;
  const protocol = packet[isV4 ? 9 : 6];
  if (protocol === 1 || protocol === 58) return 'bystander';
  if (isV4 ? packet[0] !== 0x45 || (read16(packet, 6) & 0x3fff) !== 0 : protocol === 44) return 'barrier';
  const end = isV4 ? 24 : 44;
  return [protocol, ...packet.slice(isV4 ? 12 : 8, end)].join();
}

/** The packets of each flow in order, anew behind each packet that may belong to any. */
function byFlow(packets: readonly Uint8Array[]): Record<string, Uint8Array[]> {
  const flows: Record<string, Uint8Array[]> = {};
  let epoch = 0;
  for (const packet of packets) {
    const flow = flowOf(packet);
    if (flow === 'barrier') epoch++;
    const key = flow === 'bystander' ? flow : `${epoch} ${flow}`;
    (flows[key] ??= []).push(withoutAtomicId(packet));
  }
  return flows;
}

test('split(join(x)) = x, flow by flow and in order (property)', () => {
  let joined = 0;
  fc.assert(
    fc.property(traffic(4), ({ packets, shift }) => {
      const writes = write(packets, true, true, shift);
      const back = writes.flatMap(({ header, packet }) => {
        const parts = segment(header, packet);
        assert.ok(parts, 'what was joined can be split');
        assert.deepEqual(segmenter.split(header, packet), parts);
        if (header.gsoType !== GSO_NONE) joined += parts.length;
        return parts;
      });
      assert.deepEqual(byFlow(back), byFlow(packets));
    }),
    { numRuns: 150 },
  );
  assert.ok(joined > 200, `only ${joined} packets were joined`);
});

test('packets with a wrong checksum come out as they were and never inside a joined one (property)', () => {
  let wrong = 0;
  fc.assert(
    fc.property(traffic(2), ({ packets, shift }) => {
      const expected = packets.filter((packet) => !checksumsHold(packet)).map((packet) => packet.join());
      const alone = write(packets, true, true, shift).filter(({ header }) => header.gsoType === GSO_NONE);
      for (const { header } of alone) assert.deepEqual(header, PLAIN, 'nobody vouches for a single packet');
      const found = alone.filter(({ packet }) => !checksumsHold(packet)).map(({ packet }) => packet.join());
      assert.deepEqual(found.sort(), expected.sort());
      wrong += expected.length;
    }),
    { numRuns: 100 },
  );
  assert.ok(wrong > 20, `only ${wrong} packets were wrong`);
});

test('what is written agrees with the slow twin, with each kind on or off (property)', () => {
  fc.assert(
    fc.property(traffic(5), fc.boolean(), fc.boolean(), ({ packets, shift }, tcp, udp) => {
      const expected = coalesce(packets, { tcp, udp, flows: MAX_OPEN_PACKETS });
      assert.deepEqual(write(packets, tcp, udp, shift), expected);
    }),
    { numRuns: 150 },
  );
});

test('more flows than can be open agree with the slow twin too (property)', () => {
  fc.assert(
    fc.property(traffic(40), ({ packets, shift }) => {
      const expected = coalesce(packets, { tcp: true, udp: true, flows: MAX_OPEN_PACKETS });
      assert.deepEqual(write(packets, true, true, shift), expected);
    }),
    { numRuns: 20 },
  );
});

test('any bytes pass as the twin says, and nothing is written out of place (property)', () => {
  const packet = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 120 }), mutatedPacket);
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 20 }), fc.integer({ min: 0, max: 15 }), (packets, shift) => {
      const expected = coalesce(packets, { tcp: true, udp: true, flows: MAX_OPEN_PACKETS });
      assert.deepEqual(write(packets, true, true, shift), expected);
    }),
    { numRuns: 400 },
  );
});
