import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress, type Address } from '../../../src/core/ip.ts';
import { INITIATIONS_BURST, MAX_SOURCES, RateLimiter } from '../../../src/tunnel/rate-limiter.ts';

const address = (text: string) => parseAddress(text) as Address;

test('rate limit: a source may send a burst of 5, then one every 50 ms', () => {
  const limiter = new RateLimiter();
  const source = address('192.0.2.1');
  for (let i = 0; i < INITIATIONS_BURST; i++) assert.equal(limiter.allow(source, 0), true);
  assert.equal(limiter.allow(source, 0), false);
  assert.equal(limiter.allow(source, 49), false);
  assert.equal(limiter.allow(source, 50), true);
  assert.equal(limiter.allow(source, 50), false);
  assert.equal(limiter.allow(source, 100), true);
});

test('rate limit: one source does not use up what another has', () => {
  const limiter = new RateLimiter();
  for (let i = 0; i < 100; i++) limiter.allow(address('192.0.2.1'), 0);
  assert.equal(limiter.allow(address('192.0.2.2'), 0), true);
});

test('rate limit: IPv6 sources count by their /64', () => {
  const limiter = new RateLimiter();
  for (let i = 1; i <= INITIATIONS_BURST; i++)
    assert.equal(limiter.allow(address(`2001:db8::${i}`), 0), true);
  assert.equal(limiter.allow(address('2001:db8::ffff'), 0), false);
  assert.equal(limiter.allow(address('2001:db8:0:1::1'), 0), true);
});

test('rate limit: the table is bounded, and idle sources leave it after a second', () => {
  const limiter = new RateLimiter();
  const source = (i: number) => Uint8Array.of(10, i >> 16, i >> 8, i);
  for (let i = 0; i < MAX_SOURCES; i++) assert.equal(limiter.allow(source(i), 0), true);
  assert.equal(limiter.allow(source(MAX_SOURCES), 0), false);
  assert.equal(limiter.size, MAX_SOURCES);
  assert.equal(limiter.allow(source(MAX_SOURCES), 1000), true);
  assert.equal(limiter.size, 1);
});

test('rate limit: one that is open when full lets sources pass that it has no room for, and still bounds the others', () => {
  const limiter = new RateLimiter(true);
  const source = (i: number) => Uint8Array.of(10, i >> 16, i >> 8, i);
  for (let i = 0; i < MAX_SOURCES; i++) limiter.allow(source(i), 0);
  for (let i = 0; i < 2 * INITIATIONS_BURST; i++) assert.equal(limiter.allow(source(MAX_SOURCES), 0), true);
  for (let i = 1; i < INITIATIONS_BURST; i++) assert.equal(limiter.allow(source(0), 0), true);
  assert.equal(limiter.allow(source(0), 0), false);
  assert.equal(limiter.size, MAX_SOURCES);
});
