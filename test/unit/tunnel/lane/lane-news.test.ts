import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../../src/core/arena.ts';
import { ENDPOINT } from '../../../../src/tunnel/endpoint.ts';
import { LaneNews } from '../../../../src/tunnel/lane/lane-news.ts';

const CAPACITY = 1_024;

/** The two ends over the same words, and what the second one has heard so far. */
function ends() {
  const inbound = new LaneNews();
  const outbound = new LaneNews(inbound.words);
  const heard: unknown[][] = [];
  const hear = (): unknown[][] => {
    outbound.hear({
      confirmed: (peer, index) => heard.push(['confirmed', peer, index]),
      roamed: (peer, words, at) =>
        heard.push(['roamed', peer, ...words.subarray(at, at + ENDPOINT.size / 4)]),
    });
    return heard.splice(0);
  };
  return { inbound, outbound, hear };
}

test('lane news: both kinds arrive in order, once, and whole', () => {
  const { inbound, outbound, hear } = ends();
  const arena = new Arena({ bytes: 65_536 });
  const record = arena.alloc(ENDPOINT.size);
  const words = Array.from({ length: ENDPOINT.size / 4 }, (_, i) => 0xffff_ff00 + i);
  arena.u32.set(words, record / 4);
  assert.equal(outbound.isWaiting, false);
  inbound.confirmed(1, 0xffff_ffff);
  inbound.roamed(2, arena, record);
  inbound.confirmed(3, 7);
  assert.equal(outbound.isWaiting, true);
  assert.deepEqual(hear(), [
    ['confirmed', 1, 0xffff_ffff],
    ['roamed', 2, ...words],
    ['confirmed', 3, 7],
  ]);
  assert.deepEqual(hear(), []);
});

test('lane news: what finds no room is left out, and nothing that waits is overwritten', () => {
  const { inbound, hear } = ends();
  // Not from the start of the ring.
  for (let peer = 1; peer <= CAPACITY / 2; peer++) inbound.confirmed(peer, 1);
  hear();
  for (let peer = 1; peer <= CAPACITY + 10; peer++) inbound.confirmed(peer, peer);
  const peers = hear().map(([, peer]) => peer);
  assert.deepEqual(
    peers,
    Array.from({ length: CAPACITY }, (_, i) => i + 1),
  );
  inbound.confirmed(5, 5);
  assert.deepEqual(hear(), [['confirmed', 5, 5]]);
});

test('lane news: after both have ended the next ones begin with nothing', () => {
  const { inbound, outbound, hear } = ends();
  inbound.confirmed(1, 1);
  hear();
  inbound.confirmed(2, 2);
  inbound.clear();
  assert.equal(outbound.isWaiting, false);
  inbound.confirmed(3, 3);
  assert.deepEqual(hear(), [['confirmed', 3, 3]]);
});
