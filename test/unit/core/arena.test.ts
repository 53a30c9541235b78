import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena, KERNEL_RESERVED, KERNEL_SLOT_SIZE } from '../../../src/core/arena.ts';

const PAGE = 65_536;

test('arena: shares of one memory do not meet, and together are all of it', () => {
  // An odd number of pages, so that halves are not equal.
  const whole = new Arena({ bytes: 5 * PAGE, shared: true });
  const shares = [0, 1].map((index) => new Arena(whole.memory, { index, count: 2 }));
  assert.equal(
    shares.reduce((sum, share) => sum + share.free, 0),
    whole.free,
  );
  const taken = shares.map((share) => {
    const { free } = share;
    const at = share.alloc(free);
    assert.throws(() => share.alloc(1), RangeError);
    return { from: at, to: at + free };
  });
  assert.equal(taken[0]?.from, KERNEL_RESERVED);
  assert.equal(taken[0]?.to, taken[1]?.from);
  assert.equal(taken[1]?.to, whole.u8.length);
});

test('arena: a share that is wiped leaves the others as they are, and nothing of its own', () => {
  const whole = new Arena({ bytes: 4 * PAGE, shared: true });
  const [first, second] = [0, 1].map((index) => new Arena(whole.memory, { index, count: 2 })) as [
    Arena,
    Arena,
  ];
  whole.u8.fill(7);
  second.wipe();
  const kept = (from: number, to: number) => whole.u8.subarray(from, to).every((byte) => byte === 7);
  const gone = (from: number, to: number) => whole.u8.subarray(from, to).every((byte) => byte === 0);
  const border = second.alloc(1);
  assert.ok(kept(0, KERNEL_SLOT_SIZE), 'kernels of the first');
  assert.ok(gone(KERNEL_SLOT_SIZE, 2 * KERNEL_SLOT_SIZE), 'kernels of the second');
  assert.ok(kept(KERNEL_RESERVED, border), 'the first');
  assert.ok(gone(border, whole.u8.length), 'the second');
  first.wipe();
  assert.ok(gone(0, 2 * KERNEL_SLOT_SIZE) && gone(KERNEL_RESERVED, border));
});
