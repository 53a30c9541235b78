// BLAKE2s (RFC 7693), one digest at a time, of a message that JavaScript lays at BLAKE2S_IN piece by piece.
import { SCRATCH, BLAKE2S_ROWS, BLAKE2S_HASH, BLAKE2S_IN, BLAKE2S_IN_SIZE } from './layout';
import { add, xor, or, shl, shr, splat } from './vector';

const BLOCK_SIZE: usize = 64;

/** RFC 7693 section 2.6: IV[0..3]. */
@inline
function initialLow(): v128 {
  return i32x4(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a);
}

/** IV[4..7]. */
@inline
function initialHigh(): v128 {
  return i32x4(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
}

@inline
function rotateRight16(x: v128): v128 {
  return i8x16.swizzle(x, i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
}

@inline
function rotateRight12(x: v128): v128 {
  return or(shr(x, 12), shl(x, 20));
}

@inline
function rotateRight8(x: v128): v128 {
  return i8x16.swizzle(x, i8x16(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12));
}

@inline
function rotateRight7(x: v128): v128 {
  return or(shr(x, 7), shl(x, 25));
}

/** Four message words by their numbers. */
@inline
function words(block: usize, i: usize, j: usize, k: usize, l: usize): v128 {
  return i32x4(
    load<i32>(block + 4 * i),
    load<i32>(block + 4 * j),
    load<i32>(block + 4 * k),
    load<i32>(block + 4 * l),
  );
}

/**
 * RFC 7693 section 3.1: the mixing function G on the four columns; `x` and `y` are its message words. Then turns row i
 * by i words, to the left so that diagonals become columns, or back.
 */
@inline
function mix(x: v128, y: v128, turnLeft: bool): void {
  const rows = SCRATCH + BLAKE2S_ROWS;
  let a = v128.load(rows, 0);
  let b = v128.load(rows, 16);
  let c = v128.load(rows, 32);
  let d = v128.load(rows, 48);
  a = add(add(a, b), x); d = rotateRight16(xor(d, a));
  c = add(c, d); b = rotateRight12(xor(b, c));
  a = add(add(a, b), y); d = rotateRight8(xor(d, a));
  c = add(c, d); b = rotateRight7(xor(b, c));
  v128.store(rows, a, 0);
  v128.store(rows, turnLeft ? i32x4.shuffle(b, b, 1, 2, 3, 0) : i32x4.shuffle(b, b, 3, 0, 1, 2), 16);
  v128.store(rows, i32x4.shuffle(c, c, 2, 3, 0, 1), 32);
  v128.store(rows, turnLeft ? i32x4.shuffle(d, d, 3, 0, 1, 2) : i32x4.shuffle(d, d, 1, 2, 3, 0), 48);
}

/** One round of RFC 7693 section 3.2 with its line of the SIGMA table: columns, then diagonals. */
@inline
function round(
  m: usize,
  s0: usize, s1: usize, s2: usize, s3: usize, s4: usize, s5: usize, s6: usize, s7: usize,
  s8: usize, s9: usize, s10: usize, s11: usize, s12: usize, s13: usize, s14: usize, s15: usize,
): void {
  mix(words(m, s0, s2, s4, s6), words(m, s1, s3, s5, s7), true);
  mix(words(m, s8, s10, s12, s14), words(m, s9, s11, s13, s15), false);
}

/** Bytes of the message that went into the hash; RFC 7693 counts to 2^64, no message here comes near 2^32. */
let counted: u32 = 0;

/** RFC 7693 section 3.2: the compression function F on one message block. */
function compress(m: usize, isLast: bool): void {
  const rows = SCRATCH + BLAKE2S_ROWS;
  const hash = SCRATCH + BLAKE2S_HASH;
  v128.store(rows, v128.load(hash, 0), 0);
  v128.store(rows, v128.load(hash, 16), 16);
  v128.store(rows, initialLow(), 32);
  v128.store(rows, xor(initialHigh(), i32x4.replace_lane(splat(0), 0, counted)), 48);
  if (isLast) v128.store(rows, xor(v128.load(rows, 48), i32x4(0, 0, -1, 0)), 48);
  // RFC 7693 section 2.7.
  round(m, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  round(m, 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
  round(m, 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
  round(m, 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
  round(m, 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
  round(m, 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
  round(m, 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
  round(m, 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
  round(m, 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
  round(m, 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
  const low = xor(v128.load(rows, 0), v128.load(rows, 32));
  const high = xor(v128.load(rows, 16), v128.load(rows, 48));
  v128.store(hash, xor(v128.load(hash, 0), low), 0);
  v128.store(hash, xor(v128.load(hash, 16), high), 16);
}

/**
 * Begins a digest of `outSize` bytes, with zeros for the first block of input. A key of `keySize` bytes comes as the
 * first block of the message, zero padded.
 */
export function blake2sBegin(outSize: u32, keySize: u32): void {
  const hash = SCRATCH + BLAKE2S_HASH;
  // RFC 7693 section 2.5: parameter block 0x0101kknn.
  const parameters = 0x01010000 | (keySize << 8) | outSize;
  v128.store(hash, xor(initialLow(), i32x4.replace_lane(splat(0), 0, parameters)), 0);
  v128.store(hash, initialHigh(), 16);
  for (let at: usize = 0; at < BLOCK_SIZE; at += 16) v128.store(SCRATCH + BLAKE2S_IN + at, splat(0));
  counted = 0;
}

/** Hashes all of BLAKE2S_IN, which is full and is not the end of the message. */
export function blake2sAbsorb(): void {
  for (let at: usize = 0; at < BLAKE2S_IN_SIZE; at += BLOCK_SIZE) {
    counted += BLOCK_SIZE as u32;
    compress(SCRATCH + BLAKE2S_IN + at, false);
  }
}

/** XORs each byte of the first block at BLAKE2S_IN with `mask`: the pads of HMAC (RFC 2104 section 2). */
export function blake2sMask(mask: u32): void {
  for (let at = SCRATCH + BLAKE2S_IN; at < SCRATCH + BLAKE2S_IN + BLOCK_SIZE; at += 16) {
    v128.store(at, xor(v128.load(at), i8x16.splat(mask as i8)));
  }
}

/**
 * Hashes the last `size` bytes at BLAKE2S_IN, none only for an empty message. Leaves the digest at BLAKE2S_HASH and
 * nothing else, as the message may be secret.
 */
export function blake2sEnd(size: u32): void {
  let block = SCRATCH + BLAKE2S_IN;
  for (; size > (BLOCK_SIZE as u32); size -= BLOCK_SIZE as u32, block += BLOCK_SIZE) {
    counted += BLOCK_SIZE as u32;
    compress(block, false);
  }
  memory.fill(block + size, 0, BLOCK_SIZE - size);
  counted += size;
  compress(block, true);
  memory.fill(SCRATCH + BLAKE2S_ROWS, 0, BLAKE2S_IN + BLAKE2S_IN_SIZE - BLAKE2S_ROWS);
}
