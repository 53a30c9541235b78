// The Poly1305 tags of a group of packets: RFC 8439 section 2.8 without additional data, that is Poly1305 over the
// ciphertext, zeros up to a multiple of 16 bytes, 8 zero bytes (the length of the data that is not there) and the
// length of the ciphertext as 64 bits.
//
// Nothing may be written behind a packet, so the padded last block and the length block, the "tail", are built in the
// working area. The whole blocks before it, the "body", are read where they lie.
import {
  SCRATCH, AT, LENGTH, ONE_TIME_KEYS, FACTOR, POWERS, TAILS, TAGS, ZERO, BODIES, FROM, STEPS, BITS, GROUP,
} from './layout';
import {
  BLOCK_BIT, absorb, buildPowers, buildTable, clearHash, finish, limbsFromKeys, multiply, spreadLimbs, sumLanes,
} from './poly1305';
import { and, splat } from './vector';

@inline
function textAt(packet: usize): usize {
  return load<u32>(load<u32>(SCRATCH + GROUP + 4 * packet), AT);
}

@inline
function textLength(packet: usize): usize {
  return load<u32>(load<u32>(SCRATCH + GROUP + 4 * packet), LENGTH);
}

/** Blocks of the body: all of the ciphertext's but the last. */
@inline
function bodyBlocks(length: usize): i32 {
  return length == 0 ? 0 : (((length - 1) >> 4) as i32);
}

/** Reads 16 bytes from the start of the last block, whatever its size: the tag behind the text is in memory too. */
function writeTail(tail: usize, at: usize, length: usize): void {
  const body = (bodyBlocks(length) as usize) << 4;
  const isText = i8x16.lt_u(
    i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    i8x16.splat((length - body) as i8),
  );
  v128.store(tail, and(v128.load(at + body), isText));
  store<u64>(tail, 0, 16);
  store<u64>(tail, length as u64, 24);
}

@inline
function isIn(lanes: u32, lane: usize): bool {
  return ((lanes >> (lane as u32)) & 1) != 0;
}

/** Tags of up to four packets of the group from packet `first` (0 or 4) on, one in each of `lanes`, a set of bits. */
function tagsInLanes(first: usize, lanes: u32): void {
  const keys = SCRATCH + ONE_TIME_KEYS + 4 * first;
  const table = SCRATCH + FACTOR;
  const tails = SCRATCH + TAILS;
  const from = SCRATCH + FROM;
  const steps = SCRATCH + STEPS;
  limbsFromKeys(keys);
  buildTable(table);
  clearHash();

  let left = 0;
  v128.store(SCRATCH + BODIES, splat(0));
  for (let lane: usize = 0; lane < 4; lane++) {
    if (!isIn(lanes, lane)) continue;
    const length = textLength(first + lane);
    writeTail(tails + 32 * lane, textAt(first + lane), length);
    store<i32>(SCRATCH + BODIES + 4 * lane, bodyBlocks(length));
    left = max(left, bodyBlocks(length));
  }
  // Bodies end together: a lane joins when as many blocks are left as it has. Before that it adds zeros to h = 0.
  while (left > 0) {
    let leftAtNextJoin = 0;
    for (let lane: usize = 0; lane < 4; lane++) {
      const blocks = load<i32>(SCRATCH + BODIES + 4 * lane);
      const joined = blocks >= left;
      if (!joined) leftAtNextJoin = max(leftAtNextJoin, blocks);
      const cursor = joined ? textAt(first + lane) + 16 * ((blocks - left) as usize) : SCRATCH + ZERO;
      store<u32>(from + 4 * lane, cursor as u32);
      store<u32>(steps + 4 * lane, joined ? 16 : 0);
      store<i32>(SCRATCH + BITS + 4 * lane, joined ? BLOCK_BIT : 0);
    }
    absorb(
      table, v128.load(SCRATCH + BITS), left - leftAtNextJoin,
      load<u32>(from, 0), load<u32>(from, 4), load<u32>(from, 8), load<u32>(from, 12),
      load<u32>(steps, 0), load<u32>(steps, 4), load<u32>(steps, 8), load<u32>(steps, 12),
    );
    left = leftAtNextJoin;
  }
  // An empty text has no last block, only a length block.
  for (let lane: usize = 0; lane < 4; lane++) {
    const isEmpty = !isIn(lanes, lane) || textLength(first + lane) == 0;
    store<i32>(SCRATCH + BITS + 4 * lane, isEmpty ? 0 : BLOCK_BIT);
  }
  absorb(table, v128.load(SCRATCH + BITS), 1, tails, tails + 32, tails + 64, tails + 96, 0, 0, 0, 0);
  absorb(table, splat(BLOCK_BIT), 1, tails + 16, tails + 48, tails + 80, tails + 112, 0, 0, 0, 0);

  multiply(table);
  for (let lane: usize = 0; lane < 4; lane++) {
    if (isIn(lanes, lane)) finish(lane, keys + 4 * lane, SCRATCH + TAGS + 16 * (first + lane));
  }
}

/**
 * Tag of one packet: lane i takes every fourth block, so h is multiplied by r^4 for each, and at the end lane i by
 * r^(4 - i). The first group is the short one; its blocks sit in the last lanes, behind zeros. The last group is two
 * blocks of the body, of which there have to be as many, and the tail.
 */
function tagAlone(packet: usize): void {
  const key = SCRATCH + ONE_TIME_KEYS + 4 * packet;
  const step = SCRATCH + FACTOR;
  const powers = SCRATCH + POWERS;
  const tail = SCRATCH + TAILS;
  const zero = SCRATCH + ZERO;
  limbsFromKeys(SCRATCH + ONE_TIME_KEYS + 16 * (packet >> 2));
  spreadLimbs(packet & 3);
  buildPowers(step, powers);
  clearHash();

  const length = textLength(packet);
  let at = textAt(packet);
  writeTail(tail, at, length);
  const blocks = (bodyBlocks(length) as usize) + 2;
  const odd = blocks & 3;
  if (odd > 0) {
    absorb(
      step, i32x4(0, odd > 2 ? BLOCK_BIT : 0, odd > 1 ? BLOCK_BIT : 0, BLOCK_BIT), 1,
      zero, odd > 2 ? at : zero, odd > 1 ? at + 16 * (odd - 2) : zero, at + 16 * (odd - 1),
      0, 0, 0, 0,
    );
    at += 16 * odd;
  }
  const groups = (blocks >> 2) - 1;
  absorb(step, splat(BLOCK_BIT), groups as i32, at, at + 16, at + 32, at + 48, 64, 64, 64, 64);
  at += 64 * groups;
  absorb(step, splat(BLOCK_BIT), 1, at, at + 16, tail, tail + 16, 0, 0, 0, 0);

  multiply(powers);
  sumLanes();
  finish(0, key, SCRATCH + TAGS + 16 * packet);
}

// What the two ways cost beyond their blocks, in steps of `absorb`.
const LANES_SETUP: i32 = 6;
const ALONE_SETUP: i32 = 9;

/**
 * Which of `count` packets (1-4) from `first` on should share lanes, as a set of bits; the others are cheaper alone.
 * Lanes cost as many steps as the longest text has blocks, one packet alone a quarter of its blocks and more setup. So
 * the longest leave the lanes one by one, and the cheapest of these states is the answer.
 */
function chooseLanes(first: usize, count: usize): u32 {
  let lanes: u32 = (1 << (count as u32)) - 1;
  let best = lanes;
  let leastCost = i32.MAX_VALUE;
  let costAlone = 0;
  while (true) {
    let longest = 0;
    let laneOfLongest: usize = 0;
    for (let lane: usize = 0; lane < count; lane++) {
      const blocks = bodyBlocks(textLength(first + lane));
      if (!isIn(lanes, lane) || blocks <= longest) continue;
      longest = blocks;
      laneOfLongest = lane;
    }
    const cost = costAlone + longest + (lanes == 0 ? 0 : LANES_SETUP);
    if (cost < leastCost) {
      leastCost = cost;
      best = lanes;
    }
    // So short a text costs less in the lanes than its powers of r alone, and may be too short for `tagAlone`.
    if (longest < ALONE_SETUP) break;
    costAlone += (longest >> 2) + ALONE_SETUP;
    lanes &= ~(1 << (laneOfLongest as u32));
  }
  return best;
}

/** Tags of the first `count` packets (1-8) of the group, from their one-time keys, to TAGS. */
export function computeTags(count: usize): void {
  for (let first: usize = 0; first < count; first += 4) {
    const inHalf = min<usize>(count - first, 4);
    const lanes = chooseLanes(first, inHalf);
    if (lanes != 0) tagsInLanes(first, lanes);
    for (let lane: usize = 0; lane < inHalf; lane++) if (!isIn(lanes, lane)) tagAlone(first + lane);
  }
}
