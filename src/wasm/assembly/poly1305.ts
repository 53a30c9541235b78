// Poly1305 (RFC 8439 section 2.5) in four lanes: four messages side by side, or every fourth block of one message.
//
// Numbers mod p = 2^130 - 5 are ten limbs of 13 bits, so that i32x4.dot_i16x8_s, which multiplies eight pairs of 16-bit
// numbers and adds neighbours, does most of the work in one instruction. In each 32-bit lane
//   h = sum of h_i * 2^(13 i),  kept as five vectors H_k = h_2k | h_2k+1 << 16,  0 <= h_i < 2^13
//   r = sum of r_i * 2^(13 i),  with -2^12 <= r_i <= 2^12 (centred)
// As 2^130 = 5 (mod p), column j of h * r is the sum over i of h_i * r'_j-i where r'_n = r_n for n >= 0 and 5 r_n+10
// for n < 0. With P_n = (r'_n, r'_n-1) that is the sum over k of dot(H_k, P_j-2k): fifty dots for a product of four
// lanes.
//
// Why 32 bits suffice: |5 r_i| < 2^15 fits a signed 16-bit factor; the worst column, j = 0, has one product with r_i
// and nine with 5 r_i, so |column| <= (1 + 9 * 5) * 2^13 * 2^12 < 1.55e9; a message piece adds less than 2^26, a carry
// less than 2^19, and the excess of h_1 (below) 2^22: together less than 1.63e9 < 2^31.
import { SCRATCH, LIMBS, HASH } from './layout';
import { add, and, or, shl, shr, splat, low32, high32, low64, high64 } from './vector';

/** 2^24 in the fifth 26-bit piece: the bit that RFC 8439 section 2.5 sets beyond the 16 bytes of a block. */
export const BLOCK_BIT: i32 = 1 << 24;

@inline
function dot(a: v128, b: v128): v128 {
  return i32x4.dot_i16x8_s(a, b);
}

/** P_n of a multiplier table, n = -8 .. 9. */
@inline
function factor(table: usize, n: isize): v128 {
  return v128.load(table + 16 * (n + 8));
}

/** Column j of H * table. */
@inline
function column(table: usize, j: isize, H0: v128, H1: v128, H2: v128, H3: v128, H4: v128): v128 {
  const even = add(dot(H0, factor(table, j)), dot(H1, factor(table, j - 2)));
  const odd = add(dot(H2, factor(table, j - 4)), dot(H3, factor(table, j - 6)));
  return add(add(even, odd), dot(H4, factor(table, j - 8)));
}

@inline
function low13(a: v128): v128 {
  return and(a, splat(0x1fff));
}

@inline
function low26(a: v128): v128 {
  return and(a, splat(0x3ffffff));
}

/** What a column passes on to the next one; columns are signed. */
@inline
function carry(column: v128): v128 {
  return i32x4.shr_s(column, 13);
}

@inline
function times5(a: v128): v128 {
  return add(a, shl(a, 2));
}

/** Two limbs in one vector: both may be negative. */
@inline
function signedPair(low: v128, high: v128): v128 {
  return or(and(low, splat(0xffff)), shl(high, 16));
}

/** The same where `low` is within 0 .. 2^16 - 1. */
@inline
function pair(low: v128, high: v128): v128 {
  return or(low, shl(high, 16));
}

/**
 * h = h * r + block, `count` times, in four lanes (RFC 8439 section 2.5.1: the multiplication of the block before comes
 * first here, so that after the last block one multiplication is left to do). Lane i takes 16-byte blocks at `at_i`,
 * `step_i` bytes apart; `bits` is BLOCK_BIT in each lane, or 0 in a lane whose message has not begun.
 */
export function absorb(
  table: usize, bits: v128, count: i32,
  at0: usize, at1: usize, at2: usize, at3: usize,
  step0: usize, step1: usize, step2: usize, step3: usize,
): void {
  const hash = SCRATCH + HASH;
  let H0 = v128.load(hash, 0);
  let H1 = v128.load(hash, 16);
  let H2 = v128.load(hash, 32);
  let H3 = v128.load(hash, 48);
  let H4 = v128.load(hash, 64);
  for (; count > 0; count--) {
    const a = v128.load(at0);
    const b = v128.load(at1);
    const c = v128.load(at2);
    const d = v128.load(at3);
    at0 += step0; at1 += step1; at2 += step2; at3 += step3;
    // Word w of the four blocks, then its bits cut into pieces of 26: two limbs each.
    const lowAB = low32(a, b);
    const lowCD = low32(c, d);
    const highAB = high32(a, b);
    const highCD = high32(c, d);
    const word0 = low64(lowAB, lowCD);
    const word1 = high64(lowAB, lowCD);
    const word2 = low64(highAB, highCD);
    const word3 = high64(highAB, highCD);
    // A piece joins before the carries: afterwards its column would be too large for the bound above.
    const d0 = add(column(table, 0, H0, H1, H2, H3, H4), low26(word0));
    let d1 = column(table, 1, H0, H1, H2, H3, H4);
    let d2 = add(column(table, 2, H0, H1, H2, H3, H4), low26(or(shr(word0, 26), shl(word1, 6))));
    let d3 = column(table, 3, H0, H1, H2, H3, H4);
    let d4 = add(column(table, 4, H0, H1, H2, H3, H4), low26(or(shr(word1, 20), shl(word2, 12))));
    let d5 = column(table, 5, H0, H1, H2, H3, H4);
    let d6 = add(column(table, 6, H0, H1, H2, H3, H4), low26(or(shr(word2, 14), shl(word3, 18))));
    let d7 = column(table, 7, H0, H1, H2, H3, H4);
    let d8 = add(column(table, 8, H0, H1, H2, H3, H4), or(shr(word3, 8), bits));
    let d9 = column(table, 9, H0, H1, H2, H3, H4);
    d1 = add(d1, carry(d0));
    d2 = add(d2, carry(d1));
    d3 = add(d3, carry(d2));
    d4 = add(d4, carry(d3));
    d5 = add(d5, carry(d4));
    d6 = add(d6, carry(d5));
    d7 = add(d7, carry(d6));
    d8 = add(d8, carry(d7));
    d9 = add(d9, carry(d8));
    const h0 = add(low13(d0), times5(carry(d9)));
    // h_1 takes what h_0 has too much and is left as it is, up to 2^8 out of range: it is the high half of its pair.
    H0 = pair(low13(h0), add(low13(d1), carry(h0)));
    H1 = pair(low13(d2), low13(d3));
    H2 = pair(low13(d4), low13(d5));
    H3 = pair(low13(d6), low13(d7));
    H4 = pair(low13(d8), low13(d9));
  }
  v128.store(hash, H0, 0);
  v128.store(hash, H1, 16);
  v128.store(hash, H2, 32);
  v128.store(hash, H3, 48);
  v128.store(hash, H4, 64);
}

@inline
function limb(i: usize): v128 {
  return v128.load(SCRATCH + LIMBS + 16 * i);
}

@inline
function setLimb(i: usize, value: v128): void {
  v128.store(SCRATCH + LIMBS + 16 * i, value);
}

/** LIMBS = h * table. */
export function multiply(table: usize): void {
  const hash = SCRATCH + HASH;
  const H0 = v128.load(hash, 0);
  const H1 = v128.load(hash, 16);
  const H2 = v128.load(hash, 32);
  const H3 = v128.load(hash, 48);
  const H4 = v128.load(hash, 64);
  const d0 = column(table, 0, H0, H1, H2, H3, H4);
  const d1 = add(column(table, 1, H0, H1, H2, H3, H4), carry(d0));
  const d2 = add(column(table, 2, H0, H1, H2, H3, H4), carry(d1));
  const d3 = add(column(table, 3, H0, H1, H2, H3, H4), carry(d2));
  const d4 = add(column(table, 4, H0, H1, H2, H3, H4), carry(d3));
  const d5 = add(column(table, 5, H0, H1, H2, H3, H4), carry(d4));
  const d6 = add(column(table, 6, H0, H1, H2, H3, H4), carry(d5));
  const d7 = add(column(table, 7, H0, H1, H2, H3, H4), carry(d6));
  const d8 = add(column(table, 8, H0, H1, H2, H3, H4), carry(d7));
  const d9 = add(column(table, 9, H0, H1, H2, H3, H4), carry(d8));
  const h0 = add(low13(d0), times5(carry(d9)));
  setLimb(0, low13(h0));
  setLimb(1, add(low13(d1), carry(h0)));
  setLimb(2, low13(d2));
  setLimb(3, low13(d3));
  setLimb(4, low13(d4));
  setLimb(5, low13(d5));
  setLimb(6, low13(d6));
  setLimb(7, low13(d7));
  setLimb(8, low13(d8));
  setLimb(9, low13(d9));
}

/** h = LIMBS. */
export function hashFromLimbs(): void {
  for (let k: usize = 0; k < 5; k++) v128.store(SCRATCH + HASH + 16 * k, pair(limb(2 * k), limb(2 * k + 1)));
}

/** h = 0. */
export function clearHash(): void {
  for (let k: usize = 0; k < 5; k++) v128.store(SCRATCH + HASH + 16 * k, splat(0));
}

/** LIMBS = r of four lanes, clamped (RFC 8439 section 2.5), from rows 0-3 of the one-time keys, 32 bytes apart. */
export function limbsFromKeys(keys: usize): void {
  const word0 = and(v128.load(keys, 0), splat(0x0fffffff));
  const word1 = and(v128.load(keys, 32), splat(0x0ffffffc));
  const word2 = and(v128.load(keys, 64), splat(0x0ffffffc));
  const word3 = and(v128.load(keys, 96), splat(0x0ffffffc));
  setLimb(0, low13(word0));
  setLimb(1, low13(shr(word0, 13)));
  setLimb(2, low13(or(shr(word0, 26), shl(word1, 6))));
  setLimb(3, low13(shr(word1, 7)));
  setLimb(4, low13(or(shr(word1, 20), shl(word2, 12))));
  setLimb(5, low13(shr(word2, 1)));
  setLimb(6, low13(shr(word2, 14)));
  setLimb(7, low13(or(shr(word2, 27), shl(word3, 5))));
  setLimb(8, low13(shr(word3, 8)));
  setLimb(9, shr(word3, 21));
}

/** A multiplier table from LIMBS: centres the limbs, then pairs each with the one below (times 5 where it wraps). */
export function buildTable(table: usize): void {
  let excess = splat(0);
  for (let n: usize = 0; n < 10; n++) {
    const value = add(limb(n), excess);
    excess = carry(add(value, splat(1 << 12)));
    v128.store(table + 16 * (n + 8), i32x4.sub(value, shl(excess, 13)));
  }
  // r_0 may now be up to 5 beyond the centred range; it is never multiplied by 5.
  v128.store(table, add(v128.load(table, 128), times5(excess)), 128);
  for (let n: usize = 0; n < 8; n++) {
    const value = times5(v128.load(table + 16 * n, 160));
    const below = times5(v128.load(table + 16 * n, 144));
    v128.store(table + 16 * n, signedPair(value, below));
  }
  const below = times5(v128.load(table, 16 * 17));
  for (let n: usize = 17; n > 8; n--) {
    v128.store(table + 16 * n, signedPair(v128.load(table + 16 * n), v128.load(table + 16 * (n - 1))));
  }
  v128.store(table, signedPair(v128.load(table, 128), below), 128);
}

/** LIMBS of one lane in all four. */
export function spreadLimbs(lane: usize): void {
  for (let i: usize = 0; i < 10; i++) setLimb(i, splat(load<i32>(SCRATCH + LIMBS + 16 * i + 4 * lane)));
}

/** From r in all lanes of LIMBS: table `powers` = (r^4, r^3, r^2, r), table `step` = r^4 in all lanes. */
export function buildPowers(step: usize, powers: usize): void {
  buildTable(step);
  for (let i: usize = 0; i < 10; i++) setLimb(i, i32x4.replace_lane(limb(i), 3, i == 0 ? 1 : 0));
  hashFromLimbs();
  multiply(step); // (r, r, r, 1) * r
  hashFromLimbs();
  for (let i: usize = 0; i < 10; i++) {
    setLimb(i, i32x4.shuffle(limb(i), splat(i == 0 ? 1 : 0), 0, 3, 4, 4));
  }
  buildTable(powers);
  multiply(powers); // (r^2, r^2, r^2, r) * (r^2, r, 1, 1)
  buildTable(powers);
  for (let i: usize = 0; i < 18; i++) v128.store(step + 16 * i, splat(load<i32>(powers + 16 * i)));
}

/** Adds the four lanes of LIMBS; every lane then holds the sum. */
export function sumLanes(): void {
  for (let i: usize = 0; i < 10; i++) {
    const twos = add(limb(i), i32x4.shuffle(limb(i), limb(i), 2, 3, 0, 1));
    setLimb(i, add(twos, i32x4.shuffle(twos, twos, 1, 0, 3, 2)));
  }
}

/**
 * RFC 8439 section 2.5: tag = (h mod p + s) mod 2^128 of one lane of LIMBS, whose limbs are below 2^16. s is in rows
 * 4-7 of the one-time keys; `key` points to its lane in row 0. No branch depends on the values.
 */
export function finish(lane: usize, key: usize, tag: usize): void {
  const limbs = SCRATCH + LIMBS + 4 * lane;
  let h0 = load<i32>(limbs, 0) + (load<i32>(limbs, 16) << 13);
  let h1 = load<i32>(limbs, 32) + (load<i32>(limbs, 48) << 13);
  let h2 = load<i32>(limbs, 64) + (load<i32>(limbs, 80) << 13);
  let h3 = load<i32>(limbs, 96) + (load<i32>(limbs, 112) << 13);
  let h4 = load<i32>(limbs, 128) + (load<i32>(limbs, 144) << 13);
  // Two rounds of carries bring every piece into 26 bits: the first leaves only h_0 out of range, by less than 2^5, so
  // that the second, when it carries or borrows at all, ends far from either end of h_0's range.
  for (let round = 0; round < 2; round++) {
    h1 += h0 >> 26; h0 &= 0x3ffffff;
    h2 += h1 >> 26; h1 &= 0x3ffffff;
    h3 += h2 >> 26; h2 &= 0x3ffffff;
    h4 += h3 >> 26; h3 &= 0x3ffffff;
    h0 += 5 * (h4 >> 26); h4 &= 0x3ffffff;
  }
  const low: u64 = (h0 as u64) | ((h1 as u64) << 26) | ((h2 as u64) << 52);
  const high: u64 = ((h2 as u64) >> 12) | ((h3 as u64) << 14) | ((h4 as u64) << 40);
  const top: u64 = (h4 as u64) >> 24;
  // h >= p exactly when h + 5 >= 2^130; then h - p = h + 5 - 2^130.
  const reducedLow = low + 5;
  const reducedHigh = high + u64(reducedLow < low);
  const reducedTop = top + u64(reducedHigh < high);
  const useReduced: u64 = 0 - (reducedTop >> 2);
  const hashLow = (reducedLow & useReduced) | (low & ~useReduced);
  const hashHigh = (reducedHigh & useReduced) | (high & ~useReduced);
  const sLow: u64 = (load<u32>(key, 128) as u64) | ((load<u32>(key, 160) as u64) << 32);
  const sHigh: u64 = (load<u32>(key, 192) as u64) | ((load<u32>(key, 224) as u64) << 32);
  const tagLow = hashLow + sLow;
  store<u64>(tag, tagLow, 0);
  store<u64>(tag, hashHigh + sHigh + u64(tagLow < sLow), 8);
}
