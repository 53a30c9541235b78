import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SegmenterBench } from '../../../kit/offload.ts';
import { mutatedPacket, wholePacket } from '../../../kit/packet-streams.ts';
import { checksumsHold, layoutOf, pseudoSum, write16 } from '../../../reference/tun/ip-packet.ts';
import { segment } from '../../../reference/tun/segmenter.ts';
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  NEEDS_CSUM,
  type VirtioHeader,
  decodeVirtio,
} from '../../../reference/tun/virtio.ts';

const bench = new SegmenterBench();
const shift = fc.integer({ min: 0, max: 15 });
const small = fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 0xffff }));

/** The virtio header that fits the packet, if one does, with partial checksum in place. */
function fitting(packet: Uint8Array, gsoSize: number, isSuper: boolean): VirtioHeader | undefined {
  const layout = layoutOf(packet);
  if (!layout) return undefined;
  write16(packet, layout.transportChecksum, pseudoSum(packet, layout));
  const tcpType = layout.version === 4 ? GSO_TCPV4 : GSO_TCPV6;
  const superType = layout.protocol === 17 ? GSO_UDP_L4 : tcpType;
  return {
    flags: NEEDS_CSUM,
    gsoType: isSuper ? superType : GSO_NONE,
    headerLength: layout.payload,
    gsoSize,
    checksumStart: layout.transport,
    checksumOffset: layout.transportChecksum - layout.transport,
  };
}

function agreesWithTwin(header: VirtioHeader, packet: Uint8Array, at: number): void {
  const expected = segment(header, packet);
  const actual = bench.split(header, packet, at);
  assert.deepEqual(actual, expected);
  if (header.gsoType === GSO_NONE) return;
  for (const part of actual ?? []) assert.ok(checksumsHold(part), 'every segment has valid checksums');
}

test('split agrees with its slow twin for headers that fit (property)', () => {
  fc.assert(
    fc.property(
      wholePacket,
      fc.integer({ min: 1, max: 3000 }),
      fc.boolean(),
      shift,
      (packet, gsoSize, isSuper, at) => {
        const header = fitting(packet, gsoSize, isSuper);
        assert.ok(header);
        assert.ok(bench.split(header, packet), 'the read is taken');
        agreesWithTwin(header, packet, at);
      },
    ),
    { numRuns: 500 },
  );
});

test('split agrees with its slow twin for headers that nearly fit (property)', () => {
  const mutation = fc.record(
    {
      flags: fc.integer({ min: 0, max: 255 }),
      gsoType: fc.constantFrom(GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_TCPV4 | GSO_ECN, 3, 255),
      headerLength: small,
      gsoSize: small,
      checksumStart: small,
      checksumOffset: small,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      mutatedPacket,
      fc.integer({ min: 1, max: 3000 }),
      fc.boolean(),
      mutation,
      shift,
      (packet, gsoSize, isSuper, change, at) => {
        const header = fitting(packet, gsoSize, isSuper);
        if (header) agreesWithTwin({ ...header, ...change }, packet, at);
      },
    ),
    { numRuns: 1500 },
  );
});

test('any bytes are refused or split as the twin does, and nothing is written out of place (property)', () => {
  const header = fc.uint8Array({ minLength: 10, maxLength: 10 }).map(decodeVirtio);
  const packet = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 300 }), mutatedPacket);
  fc.assert(fc.property(header, packet, shift, agreesWithTwin), { numRuns: 1500 });
});
