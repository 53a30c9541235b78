import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAmount, formatCount, formatRate, formatTime } from '../../../src/app/demo/figures.ts';

test('rates and amounts have three digits that count, in decimal units', () => {
  assert.equal(formatRate(125_000_000, 1_000), '1.00 Gbit/s');
  assert.equal(formatRate(2_514_000_000, 5_000), '4.02 Gbit/s');
  assert.equal(formatRate(0, 0), '0 bit/s');
  assert.equal(formatRate(125, 1_000), '1.00 kbit/s');
  assert.equal(formatAmount(0), '0 B');
  assert.equal(formatAmount(999), '999 B');
  assert.equal(formatAmount(1_000), '1.00 kB');
  assert.equal(formatAmount(12_345), '12.3 kB');
  assert.equal(formatAmount(123_456), '123 kB');
});

test('a value that rounds up to the next unit is shown in it', () => {
  assert.equal(formatAmount(999_499), '999 kB');
  assert.equal(formatAmount(999_500), '1.00 MB');
  assert.equal(formatAmount(9_994_999), '9.99 MB');
  assert.equal(formatAmount(9_995_000), '10.0 MB');
  assert.equal(formatAmount(99_950_000), '100 MB');
});

test('beyond the largest unit the number grows', () => {
  assert.equal(formatAmount(5e15), '5000 TB');
  assert.equal(formatRate(1.25e15, 1_000), '10000000 Gbit/s');
});

test('counts are grouped in thousands', () => {
  assert.equal(formatCount(0), '0');
  assert.equal(formatCount(999), '999');
  assert.equal(formatCount(1_000), '1,000');
  assert.equal(formatCount(1_234_567), '1,234,567');
  assert.equal(formatCount(2n ** 64n), '18,446,744,073,709,551,616');
});

test('times are milliseconds up to a second', () => {
  assert.equal(formatTime(0.1234), '0.12 ms');
  assert.equal(formatTime(9.99), '9.99 ms');
  assert.equal(formatTime(9.996), '10.0 ms');
  assert.equal(formatTime(99.96), '100 ms');
  assert.equal(formatTime(999), '999 ms');
  assert.equal(formatTime(5_049), '5.0 s');
});
