import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { toHex } from '../../../src/core/bytes.ts';
import { Timestamps, compareTimestamps } from '../../../src/noise/tai64n.ts';

/** A stamp source over a wall clock that the test sets. */
function stamps(wallMs: number) {
  const clock = { wallMs, now: () => 0, wall: () => clock.wallMs };
  const timestamps = new Timestamps(clock);
  return { clock, next: () => timestamps.next() };
}

const view = (stamp: Uint8Array) => new DataView(stamp.buffer);

test('a stamp is 2^62 + 10 + the Unix seconds, then the nanoseconds, big endian', () => {
  assert.equal(toHex(stamps(0).next()), '400000000000000a00000000');
  assert.equal(toHex(stamps(1_700_000_000_000).next()), '400000006553f10a00000000');
  // 0.5 s are 0x1dcd6500 ns, of which the low 24 bits are hidden.
  assert.equal(toHex(stamps(1_700_000_000_500).next()), '400000006553f10a1d000000');
  assert.equal(toHex(stamps(1_700_000_000_999.999).next()), '400000006553f10a3b000000');
  // Seconds beyond 32 bits, in the year 2106.
  assert.equal(toHex(stamps(2 ** 32 * 1_000).next()), '400000010000000a00000000');
});

test('the low 24 bits of the nanoseconds are always zero and the nanoseconds below a second', () => {
  for (let ms = 0; ms < 3_000; ms++) {
    const nanoseconds = view(stamps(ms).next()).getUint32(8);
    assert.equal(nanoseconds & 0xff_ffff, 0);
    assert.ok(nanoseconds < 1e9);
  }
});

test('a clock that stands still gives stamps that grow, also over the end of a second', () => {
  const source = stamps(1_000);
  let last = source.next();
  for (let i = 0; i < 200; i++) {
    const stamp = source.next();
    assert.ok(compareTimestamps(stamp, last) > 0);
    assert.ok(view(stamp).getUint32(8) < 1e9);
    last = stamp;
  }
});

test('a clock that jumps back by hours gives stamps that grow, one step each', () => {
  const source = stamps(7_200_000);
  const before = source.next();
  source.clock.wallMs = 0;
  const after = source.next();
  assert.equal(compareTimestamps(after, before), 1);
  assert.equal(view(after).getUint32(8) - view(before).getUint32(8), 2 ** 24);
});

test('a clock that moves on is followed exactly again', () => {
  const source = stamps(5_000);
  for (let i = 0; i < 10; i++) source.next();
  source.clock.wallMs = 6_000;
  assert.deepEqual(source.next(), stamps(6_000).next());
});

test('stamps from one clock grow whatever it does (property)', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1e13, noNaN: true }), { minLength: 2 }), (times) => {
      const source = stamps(0);
      let last = source.next();
      for (const wallMs of times) {
        source.clock.wallMs = wallMs;
        const stamp = source.next();
        assert.ok(compareTimestamps(stamp, last) > 0);
        last = stamp;
      }
    }),
  );
});

test('stamps compare as bytes from the left, like memcmp (property)', () => {
  const stamp = fc.uint8Array({ minLength: 12, maxLength: 12 });
  fc.assert(
    fc.property(stamp, stamp, (a, b) => {
      assert.equal(Math.sign(compareTimestamps(a, b)), Buffer.compare(a, b));
      assert.equal(compareTimestamps(a, a), 0);
    }),
  );
});
