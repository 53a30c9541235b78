import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress, type Address } from '../../../src/core/ip.ts';
import { AddressLimiter, TokenBucket } from '../../../src/link/token-bucket.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed);
  return parsed;
}

test('a bucket starts full, refills with time and never beyond its burst', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 5 }, 0);
  assert.ok(bucket.take(5, 0));
  assert.ok(!bucket.take(1, 99));
  assert.ok(bucket.take(1, 100));
  assert.ok(!bucket.take(6, 1_000_000));
  assert.ok(bucket.take(5, 1_000_000));
});

test('a clock that steps back gives nothing and takes nothing', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 1 }, 1000);
  assert.ok(bucket.take(1, 1000));
  assert.ok(!bucket.take(1, 0));
  assert.ok(bucket.take(1, 100));
});

test('each source has its own bucket; an IPv6 /64 is one source, IPv4 in IPv6 clothes is IPv4', () => {
  const limiter = new AddressLimiter({ perSecond: 1, burst: 1 });
  assert.ok(limiter.allow(address('10.0.0.1'), 0));
  assert.ok(!limiter.allow(address('10.0.0.1'), 0));
  assert.ok(!limiter.allow(address('::ffff:10.0.0.1'), 0));
  assert.ok(limiter.allow(address('::ffff:10.0.0.2'), 0));
  assert.ok(limiter.allow(address('2001:db8::1'), 0));
  assert.ok(!limiter.allow(address('2001:db8::2'), 0));
  assert.ok(limiter.allow(address('2001:db8:0:1::1'), 0));
  assert.ok(limiter.allow(address('10.0.0.1'), 1000));
});

test('a full table refuses newcomers until a source has rested', () => {
  const limiter = new AddressLimiter({ perSecond: 1, burst: 1 }, 2);
  assert.ok(limiter.allow(address('10.0.0.1'), 0));
  assert.ok(limiter.allow(address('10.0.0.2'), 0));
  assert.ok(!limiter.allow(address('10.0.0.3'), 1));
  assert.ok(limiter.allow(address('10.0.0.3'), 1500));
  assert.equal(limiter.size, 1);
});

test('another limit holds at once, for sources that had used up the old one, too', () => {
  const limiter = new AddressLimiter({ perSecond: 1, burst: 1 });
  assert.ok(limiter.allow(address('10.0.0.1'), 0));
  assert.ok(!limiter.allow(address('10.0.0.1'), 0));
  limiter.setLimit({ perSecond: 1, burst: 2 });
  assert.ok(limiter.allow(address('10.0.0.1'), 0));
  assert.ok(limiter.allow(address('10.0.0.1'), 0));
  assert.ok(!limiter.allow(address('10.0.0.1'), 0));
});
