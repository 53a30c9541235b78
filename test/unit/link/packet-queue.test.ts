import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BlockPool, DATA_PLACES, isWireGuard, PacketQueue } from '../../../src/link/packet-queue.ts';

/** A datagram of a type that says its number. */
function datagram(type: number, n: number, size = 32): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(4, n);
  return bytes;
}

function push(queue: PacketQueue, bytes: Uint8Array): boolean {
  return queue.push(bytes, 0, bytes.length);
}

function shift(queue: PacketQueue): Uint8Array | undefined {
  const out = { bytes: new Uint8Array(0), at: 0, length: 0 };
  if (!queue.peek(out)) return undefined;
  const taken = Uint8Array.from(out.bytes.subarray(out.at, out.at + out.length));
  queue.drop();
  return taken;
}

test('datagrams come out in order, whatever their size', () => {
  const queue = new PacketQueue(new BlockPool());
  const sizes = [32, 1312, 2048, 2049, 65_535, 33];
  for (const [n, size] of sizes.entries()) push(queue, datagram(4, n, size));
  for (const [n, size] of sizes.entries()) assert.deepEqual(shift(queue), datagram(4, n, size));
  assert.ok(queue.isEmpty);
  assert.equal(shift(queue), undefined);
});

test('a full queue drops its oldest data', () => {
  const queue = new PacketQueue(new BlockPool());
  for (let n = 0; n < DATA_PLACES; n++) assert.equal(push(queue, datagram(4, n)), false);
  assert.equal(push(queue, datagram(4, DATA_PLACES, 5000)), true);
  assert.deepEqual(shift(queue), datagram(4, 1));
});

test('handshake messages overtake data and are never dropped for it', () => {
  const queue = new PacketQueue(new BlockPool());
  for (let n = 0; n < DATA_PLACES; n++) push(queue, datagram(4, n));
  assert.equal(push(queue, datagram(1, 1, 148)), false);
  assert.equal(push(queue, datagram(2, 2, 92)), false);
  for (let n = 0; n < 50; n++) push(queue, datagram(4, n));
  assert.deepEqual(shift(queue), datagram(1, 1, 148));
  assert.deepEqual(shift(queue), datagram(2, 2, 92));
  assert.equal(shift(queue)?.[0], 4);
});

test('what is queued is a copy', () => {
  const queue = new PacketQueue(new BlockPool());
  const bytes = datagram(4, 1);
  push(queue, bytes);
  bytes.fill(0xff);
  assert.deepEqual(shift(queue), datagram(4, 1));
});

test('memory goes back to the pool when a queue is empty, and is not mixed up between queues', () => {
  const pool = new BlockPool();
  const [a, b] = [new PacketQueue(pool), new PacketQueue(pool)];
  push(a, datagram(4, 1));
  assert.deepEqual(shift(a), datagram(4, 1));
  push(b, datagram(4, 2));
  push(a, datagram(4, 3));
  assert.deepEqual(shift(b), datagram(4, 2));
  assert.deepEqual(shift(a), datagram(4, 3));
});

test('it behaves as two lists that drop at the front', () => {
  const action = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ type: fc.constantFrom(1, 4, 4, 4), size: fc.constantFrom(32, 200, 3000) }),
    },
    { weight: 2, arbitrary: fc.constant('shift' as const) },
    { weight: 1, arbitrary: fc.constant('clear' as const) },
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 400 }), (actions) => {
      const queue = new PacketQueue(new BlockPool());
      let handshakes: Uint8Array[] = [];
      let data: Uint8Array[] = [];
      for (const [n, step] of actions.entries()) {
        if (step === 'shift') assert.deepEqual(shift(queue), handshakes.shift() ?? data.shift());
        else if (step === 'clear') {
          queue.clear();
          handshakes = [];
          data = [];
        } else {
          const bytes = datagram(step.type, n, step.size);
          const [list, places] = step.type === 4 ? [data, DATA_PLACES] : [handshakes, 8];
          assert.equal(push(queue, bytes), list.length === places);
          list.push(bytes);
          if (list.length > places) list.shift();
        }
        assert.equal(queue.isEmpty, handshakes.length + data.length === 0);
      }
    }),
  );
});

test('only what can be a WireGuard message counts as one', () => {
  for (const [type, size] of [
    [1, 148],
    [2, 92],
    [3, 64],
    [4, 32],
  ] as const) {
    assert.ok(isWireGuard(datagram(type, 0, size), 0, size));
    assert.ok(!isWireGuard(datagram(type, 0, size), 0, size - 1));
  }
  assert.ok(!isWireGuard(datagram(0, 0), 0, 32));
  assert.ok(!isWireGuard(datagram(5, 0), 0, 32));
  assert.ok(!isWireGuard(Uint8Array.of(4, 0, 1, 0, ...new Uint8Array(28)), 0, 32));
  assert.ok(!isWireGuard(new Uint8Array(0), 0, 0));
});
