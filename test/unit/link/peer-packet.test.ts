import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FrameParser } from '../../../src/link/grpc-frame.ts';
import {
  MAX_DATAGRAM_SIZE,
  MAX_PEER_PACKET_OVERHEAD,
  MAX_PEER_PACKET_SIZE,
  peerPacketOverhead,
  readPeerPacket,
  writePeerPacketHeader,
} from '../../../src/link/peer-packet.ts';
import { loadProtos } from '../../kit/protos.ts';

const PeerPacket = loadProtos().lookupType('sidero.link.PeerPacket');

function decode(message: Uint8Array, at = 0, size = message.length): Uint8Array | undefined {
  const slice = { at: 0, length: 0 };
  if (!readPeerPacket(message, at, size, slice)) return undefined;
  return message.slice(slice.at, slice.at + slice.length);
}

function oracle(message: Uint8Array): Uint8Array {
  return Uint8Array.from((PeerPacket.decode(message) as unknown as { Data: Uint8Array }).Data);
}

test('an encoded datagram is what protobuf and the gRPC framing make of it, at every varint size', () => {
  for (const length of [1, 2, 32, 127, 128, 148, 1312, 16_383, 16_384, MAX_DATAGRAM_SIZE]) {
    const overhead = peerPacketOverhead(length);
    assert.ok(overhead <= MAX_PEER_PACKET_OVERHEAD);
    const into = new Uint8Array(7 + overhead + length);
    const at = writePeerPacketHeader(into, 7, length);
    assert.equal(at, 7 + overhead);
    into.fill(0xab, at);
    const messages: Uint8Array[] = [];
    const parser = new FrameParser(MAX_PEER_PACKET_SIZE, (bytes, start, size) =>
      messages.push(bytes.slice(start, start + size)),
    );
    assert.equal(parser.push(into.subarray(7)), undefined);
    assert.equal(messages.length, 1);
    const message = messages[0] as Uint8Array;
    assert.deepEqual(oracle(message), new Uint8Array(length).fill(0xab));
    assert.deepEqual(decode(message), new Uint8Array(length).fill(0xab));
  }
});

test('messages of another encoder decode to the same datagram, at any offset', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(9), (datagram, at) => {
      const message = PeerPacket.encode({ Data: datagram }).finish();
      const placed = new Uint8Array(at + message.length + 3).fill(0x12);
      placed.set(message, at);
      assert.deepEqual(decode(placed, at, message.length), datagram);
    }),
  );
});

test('an empty message is an empty datagram', () => {
  assert.deepEqual(decode(new Uint8Array(0)), new Uint8Array(0));
});

test('unknown fields of every wire type are skipped and the last value of Data wins', () => {
  const message = Uint8Array.from(
    [
      [0x12, 2, 1, 1], // Data
      [0x08, 0x96, 0x01], // field 1, varint
      [0x19, 1, 2, 3, 4, 5, 6, 7, 8], // field 3, 64 bit
      [0x22, 1, 0xff], // field 4, bytes
      [0x2d, 1, 2, 3, 4], // field 5, 32 bit
      [0x12, 1, 7], // Data again
    ].flat(),
  );
  assert.deepEqual(decode(message), Uint8Array.of(7));
  assert.deepEqual(oracle(message), Uint8Array.of(7));
});

test('malformed messages are refused', () => {
  const malformed: Record<string, number[]> = {
    'cut off in the tag': [0x80],
    'cut off in the length': [0x12, 0x80],
    'length beyond the end': [0x12, 2, 1],
    'two-byte length beyond the end': [0x12, 0x80, 0x01, 1],
    'field number 0': [0x02, 1, 1],
    group: [0x13, 0x14],
    'wire type 7': [0x17],
    'varint of eleven bytes': [0x08, ...Array.from({ length: 10 }, () => 0x80), 0],
    'cut off 64 bit': [0x19, 1],
    'cut off 32 bit': [0x2d, 1, 2],
  };
  for (const [name, bytes] of Object.entries(malformed)) {
    assert.equal(decode(Uint8Array.from(bytes)), undefined, name);
  }
});

test('arbitrary bytes never throw, stay inside the message, and agree with protobufjs where both accept', () => {
  const nearly = fc
    .tuple(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 6 }))
    .map(([datagram, tail]) => Uint8Array.of(0x12, datagram.length, ...datagram, ...tail));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), nearly), (message) => {
      const ours = decode(message);
      if (ours === undefined) return;
      let theirs: Uint8Array;
      try {
        theirs = oracle(message);
      } catch {
        return;
      }
      assert.deepEqual(ours, theirs);
    }),
    { numRuns: 2000 },
  );
});
