import assert from 'node:assert/strict';
import { test } from 'node:test';
import { echoReply, echoRequest, isEchoReply } from '../../../../src/app/memory/echo.ts';
import { internetChecksum, ipv6Packet } from '../../../kit/packets.ts';
import { address } from '../../../kit/pair.ts';

const A = address('fd00::a');
const B = address('fd00::b');

/** Pseudo header and message: zero when the checksum in it is right. */
function sumOf(packet: Uint8Array): number {
  const pseudo = new Uint8Array(packet.length);
  pseudo.set(packet.subarray(8, 40), 0);
  new DataView(pseudo.buffer).setUint32(32, packet.length - 40);
  pseudo[39] = 58;
  pseudo.set(packet.subarray(40), 40);
  return internetChecksum(pseudo);
}

test('an echo request is answered with its own data, and both have right checksums', () => {
  const request = echoRequest(A, B, 0x1234);
  assert.equal(sumOf(request), 0);
  const reply = echoReply(request);
  assert.ok(reply);
  assert.equal(sumOf(reply), 0);
  assert.ok(isEchoReply(reply, B, 0x1234));
  assert.ok(!isEchoReply(reply, A, 0x1234), 'from somebody else');
  assert.ok(!isEchoReply(reply, B, 0x1235), 'to another request');
  assert.equal(echoReply(reply), undefined, 'answers are not answered');
});

test('an odd length has a right checksum, too', () => {
  const odd = new Uint8Array([...echoRequest(A, B, 1), 7]);
  new DataView(odd.buffer).setUint16(4, odd.length - 40);
  const reply = echoReply(odd) as Uint8Array;
  const padded = new Uint8Array(reply.length + 1);
  padded.set(reply.subarray(8, 40), 0);
  new DataView(padded.buffer).setUint32(32, reply.length - 40);
  padded[39] = 58;
  padded.set(reply.subarray(40), 40);
  assert.equal(internetChecksum(padded), 0);
});

test('other packets are not answered', () => {
  assert.equal(echoReply(ipv6Packet('fd00::a', 'fd00::b', 60)), undefined);
  assert.equal(echoReply(new Uint8Array(0)), undefined);
  assert.equal(echoReply(echoRequest(A, B, 1).subarray(0, 44)), undefined);
});
