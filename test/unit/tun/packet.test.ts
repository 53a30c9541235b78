import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../../src/core/arena.ts';
import { checksum, innerLength, trafficClass, wordSum } from '../../../src/tun/packet.ts';
import { ipv4Packet, ipv6Packet } from '../../kit/packets.ts';

const arena = new Arena({ bytes: 1 << 20 });
const at = arena.alloc(1 << 17);

function place(packet: Uint8Array, offset = 0): number {
  arena.u8.set(packet, at + offset);
  return at + offset;
}

test('the inner length is the one in the header, so that padding falls off', () => {
  const v4 = place(ipv4Packet('10.0.0.1', '10.0.0.2', 84));
  assert.equal(innerLength(arena, v4, 84), 84);
  assert.equal(innerLength(arena, v4, 96), 84);
  const v6 = place(ipv6Packet('fd00::1', 'fd00::2', 104));
  assert.equal(innerLength(arena, v6, 104), 104);
  assert.equal(innerLength(arena, v6, 112), 104);
});

test('a packet that states more than is there, or less than its header, is none', () => {
  const v4 = place(ipv4Packet('10.0.0.1', '10.0.0.2', 84));
  assert.equal(innerLength(arena, v4, 83), 0);
  assert.equal(innerLength(arena, v4, 19), 0);
  arena.view.setUint16(v4 + 2, 19);
  assert.equal(innerLength(arena, v4, 84), 0);
  arena.view.setUint16(v4 + 2, 20);
  assert.equal(innerLength(arena, v4, 84), 20);
  const v6 = place(ipv6Packet('fd00::1', 'fd00::2', 104));
  assert.equal(innerLength(arena, v6, 103), 0);
  assert.equal(innerLength(arena, v6, 39), 0);
});

test('an IPv6 payload length near 65,535 does not wrap to a small one', () => {
  const v6 = place(ipv6Packet('fd00::1', 'fd00::2', 104));
  arena.view.setUint16(v6 + 4, 65_535);
  assert.equal(innerLength(arena, v6, 104), 0);
  assert.equal(innerLength(arena, v6, 65_535 + 39), 0);
  assert.equal(innerLength(arena, v6, 65_535 + 40), 65_575);
});

test('what is neither version 4 nor 6 is no packet', () => {
  for (let version = 0; version < 16; version++) {
    if (version === 4 || version === 6) continue;
    const packet = ipv4Packet('10.0.0.1', '10.0.0.2', 84);
    packet[0] = (version << 4) | 5;
    assert.equal(innerLength(arena, place(packet), 84), 0);
  }
});

test('the inner length never exceeds what is there, whatever the bytes are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), (bytes) => {
      assert.ok(innerLength(arena, place(bytes), bytes.length) <= bytes.length);
    }),
    { numRuns: 2_000 },
  );
});

test('the traffic class is the TOS byte, or spans two bytes in IPv6', () => {
  const v4 = ipv4Packet('10.0.0.1', '10.0.0.2', 40);
  v4[1] = 0xb9;
  assert.equal(trafficClass(arena, place(v4)), 0xb9);
  const v6 = ipv6Packet('fd00::1', 'fd00::2', 60);
  v6.set([0x6b, 0x9f]);
  assert.equal(trafficClass(arena, place(v6)), 0xb9);
});

test('the checksum of the example of RFC 1071 section 3', () => {
  const start = place(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7));
  assert.equal(checksum(wordSum(arena, start, 8)), ~0xddf2 & 0xffff);
});

test('the checksum equals that of a slow twin, at any place and length', () => {
  const twin = (bytes: Uint8Array): number => {
    let sum = 0n;
    for (const [i, byte] of bytes.entries()) sum += BigInt(byte) << (i % 2 === 0 ? 8n : 0n);
    return Number(0xffffn - (sum === 0n ? 0n : ((sum - 1n) % 0xffffn) + 1n));
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(7), (bytes, offset) => {
      assert.equal(checksum(wordSum(arena, place(bytes, offset), bytes.length)), twin(bytes));
    }),
  );
  const largest = new Uint8Array(65_535).fill(255);
  assert.equal(checksum(wordSum(arena, place(largest), largest.length)), twin(largest));
});
