import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../../src/core/arena.ts';
import { decapsulateEcn, encapsulateEcn } from '../../../src/tun/ecn.ts';
import { checksum, trafficClass, wordSum } from '../../../src/tun/packet.ts';
import { ipv4Packet, ipv6Packet } from '../../kit/packets.ts';
import { ECN_DROP, ECN_FIGURE_4 } from '../../reference/ecn.ts';

const arena = new Arena({ bytes: 1 << 20 });
const at = arena.alloc(1 << 12);

function place(version: 4 | 6, tos: number): void {
  const packet =
    version === 4 ? ipv4Packet('10.0.0.1', '10.0.0.2', 60) : ipv6Packet('fd00::1', 'fd00::2', 80);
  if (version === 4) {
    const view = new DataView(packet.buffer);
    packet[1] = tos;
    view.setUint16(10, 0);
    let sum = 0;
    for (let i = 0; i < 20; i += 2) sum += view.getUint16(i);
    view.setUint16(10, checksum(sum));
  } else {
    packet.set([0x60 | (tos >> 4), ((tos & 15) << 4) | 0x0a, 0xbc, 0xde]);
  }
  arena.u8.set(packet, at);
}

for (const version of [4, 6] as const) {
  test(`IPv${version}: the outer header takes the ECN field and no DSCP`, () => {
    for (let tos = 0; tos < 256; tos++) {
      place(version, tos);
      assert.equal(encapsulateEcn(arena, at), tos & 3);
    }
  });

  test(`IPv${version}: inner and outer ECN are combined as in RFC 6040 figure 4, DSCP stays`, () => {
    assert.equal(new Set(ECN_FIGURE_4.map(([inner, outer]) => inner * 4 + outer)).size, 16);
    const dscp = fc.nat(63).map((value) => value << 2);
    fc.assert(
      fc.property(
        fc.constantFrom(...ECN_FIGURE_4),
        dscp,
        dscp,
        ([inner, outer, outgoing], innerDscp, outerDscp) => {
          place(version, innerDscp | inner);
          const before = arena.u8.slice(at, at + 80);
          assert.equal(decapsulateEcn(arena, at, outerDscp | outer), outgoing !== ECN_DROP);
          assert.equal(trafficClass(arena, at), innerDscp | (outgoing === ECN_DROP ? inner : outgoing));
          // Nothing but the ECN field and what depends on it has changed.
          if (version === 4) assert.equal(checksum(wordSum(arena, at, 20)), 0);
          before.set(arena.u8.subarray(at, at + (version === 4 ? 12 : 2)));
          assert.deepEqual(arena.u8.slice(at, at + 80), before);
        },
      ),
      { numRuns: 500 },
    );
  });
}
