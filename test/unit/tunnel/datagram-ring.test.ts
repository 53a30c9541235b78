import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Arena } from '../../../src/core/arena.ts';
import { DATAGRAM, DatagramRing, RING_SIZE } from '../../../src/tunnel/datagram-ring.ts';

const LARGEST = 65_535;
/** What a datagram of 1000 bytes takes: with its record, in cache lines. */
const STRIDE_1000 = 1088;

/** A producer and a consumer, and a place behind the ring that nobody may touch. */
function ring() {
  const arena = new Arena({ bytes: RING_SIZE + 8192 });
  const at = arena.alloc(RING_SIZE);
  const guard = arena.alloc(4096);
  arena.u8.fill(0xa5, guard, guard + 4096);
  return { arena, producer: new DatagramRing(arena, at), consumer: new DatagramRing(arena, at), guard };
}

type Ring = ReturnType<typeof ring>;

/** Bytes that name the datagram. */
const fillOf = (serial: number) => (serial * 37 + 11) & 255;

function put({ arena, producer }: Ring, serial: number, length: number, spare = 0): boolean {
  const record = producer.claimDatagram(length, spare);
  if (record === 0) return false;
  assert.equal(record % 64, 0);
  arena.u32[(record + DATAGRAM.flow) >> 2] = serial;
  arena.u8.fill(serial & 255, record + DATAGRAM.endpoint, record + DATAGRAM.payload);
  arena.u8.fill(fillOf(serial), record + DATAGRAM.payload, record + DATAGRAM.payload + length);
  return true;
}

/** Serial and length of the next datagram, whose every byte is held against what was put. */
function take({ arena, consumer }: Ring): readonly [number, number] | undefined {
  const record = consumer.next();
  if (record === 0) return undefined;
  const length = arena.u32[(record + DATAGRAM.length) >> 2] as number;
  const serial = arena.u32[(record + DATAGRAM.flow) >> 2] as number;
  const endpoint = arena.u8.subarray(record + DATAGRAM.endpoint, record + DATAGRAM.payload);
  const payload = arena.u8.subarray(record + DATAGRAM.payload, record + DATAGRAM.payload + length);
  assert.ok(endpoint.every((byte) => byte === (serial & 255)));
  assert.ok(payload.every((byte) => byte === fillOf(serial)));
  return [serial, length];
}

test('ring: datagrams come out as they went in, once published', () => {
  const scene = ring();
  assert.equal(take(scene), undefined);
  assert.ok(put(scene, 1, 0));
  assert.ok(put(scene, 2, LARGEST));
  assert.equal(take(scene), undefined);
  scene.producer.publish();
  assert.deepEqual([take(scene), take(scene), take(scene)], [[1, 0], [2, LARGEST], undefined]);
});

test('ring: when it is full nothing more goes in until the consumer has given room back', () => {
  const scene = ring();
  let count = 0;
  while (put(scene, count, 1000)) count++;
  assert.equal(count, Math.floor((RING_SIZE - 256) / STRIDE_1000));
  scene.producer.publish();
  assert.deepEqual(take(scene), [0, 1000]);
  assert.ok(!put(scene, count, 1000), 'taken, but still in use');
  scene.consumer.release();
  assert.ok(put(scene, count, 1000));
  assert.ok(!put(scene, count, 1000));
});

test('ring: what must stay spare stays for those who need none', () => {
  const scene = ring();
  let count = 0;
  while (put(scene, count, 1300, 65_536)) count++;
  let more = 0;
  while (put(scene, count + more, 148)) more++;
  assert.ok(more >= 65_536 / 256 - 1, `${more}`);
});

test('ring: every sequence of datagrams of any size comes out in order, however both sides take turns', () => {
  const size = fc.oneof(fc.nat(2000), fc.constantFrom(0, 63, 64, 65, 1472, LARGEST), fc.nat(LARGEST));
  const step = fc.record({ sizes: fc.array(size, { maxLength: 20 }), takes: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
      const scene = ring();
      const model: (readonly [number, number])[] = [];
      let serial = 0;
      for (const { sizes, takes } of steps) {
        for (const length of sizes) if (put(scene, serial, length)) model.push([serial++, length]);
        scene.producer.publish();
        for (let i = 0; i < takes; i++) assert.deepEqual(take(scene), model.shift());
        scene.consumer.release();
      }
      while (model.length > 0) assert.deepEqual(take(scene), model.shift());
      assert.equal(take(scene), undefined);
      assert.ok(scene.arena.u8.subarray(scene.guard, scene.guard + 4096).every((byte) => byte === 0xa5));
    }),
    { numRuns: 50 },
  );
});

test('ring: positions that pass 2^32 change nothing', () => {
  const scene = ring();
  const rounds = Math.ceil(2 ** 32 / (DATAGRAM.payload + LARGEST + 1)) + 20;
  for (let i = 0; i < rounds; i++) {
    const record = scene.producer.claimDatagram(LARGEST, 0);
    assert.notEqual(record, 0);
    scene.producer.publish();
    assert.equal(scene.consumer.next(), record);
    assert.equal(scene.consumer.next(), 0);
    scene.consumer.release();
  }
});

test('ring: a consumer that sleeps is woken once, one that is awake is not', () => {
  const scene = ring();
  const { producer, consumer } = scene;
  put(scene, 1, 10);
  producer.publish();
  assert.equal(producer.mustWake(), false);
  assert.equal(consumer.sleep(), false, 'a datagram waits');
  assert.deepEqual(take(scene), [1, 10]);
  assert.equal(consumer.sleep(), true);
  put(scene, 2, 10);
  producer.publish();
  assert.equal(producer.mustWake(), true);
  assert.equal(producer.mustWake(), false);
});

test('ring: a producer that found no room is told once when there is some', () => {
  const scene = ring();
  const { producer, consumer } = scene;
  while (put(scene, 1, 1000));
  producer.publish();
  const almostHalf = RING_SIZE / 2 / STRIDE_1000 - 2;
  for (let i = 0; i < almostHalf; i++) take(scene);
  consumer.release();
  producer.wantRoom();
  assert.equal(consumer.mustTellRoom(), false, 'it would be full again at once');
  while (take(scene));
  consumer.release();
  assert.equal(consumer.mustTellRoom(), true);
  assert.equal(consumer.mustTellRoom(), false);
});

test('ring: either side says how much waits, from what was published to what was released', () => {
  const scene = ring();
  const { producer, consumer } = scene;
  const depths = () => [producer.fill.depth, consumer.fill.depth];
  put(scene, 1, 1000);
  put(scene, 2, 1000);
  assert.deepEqual(depths(), [0, 0]);
  producer.publish();
  assert.deepEqual(depths(), [2 * STRIDE_1000, 2 * STRIDE_1000]);
  take(scene);
  consumer.release();
  assert.deepEqual(depths(), [STRIDE_1000, STRIDE_1000]);
  let serial = 3;
  while (put(scene, serial, 1000)) serial++;
  producer.publish();
  const { depth = 0, capacity } = producer.fill;
  assert.ok(depth <= capacity && depth > capacity - 2 * STRIDE_1000, `${depth} of ${capacity}`);
});
