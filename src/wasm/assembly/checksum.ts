// The Internet checksum (RFC 1071) over parts of packets.
import { and } from './vector';

// Added up as little-endian 32-bit words in 64-bit lanes, which no packet overflows: 2^16 = 1 (mod 2^16 - 1) makes that
// the same sum once folded, with its bytes swapped (RFC 1071 section 2, parts B and C).

@inline
function evenWords(a: v128): v128 {
  return and(a, i64x2.splat(0xffffffff));
}

@inline
function oddWords(a: v128): v128 {
  return i64x2.shr_u(a, 32);
}

@inline
function addWords(sums: v128, a: v128): v128 {
  return i64x2.add(sums, i64x2.add(evenWords(a), oddWords(a)));
}

/** One's complement sum of 16 bits, of words read as little-endian numbers: `networkSum` of core/checksums swaps. */
function fold(sum: u64): u32 {
  // Fewer than 2^30 words, so these are below 2^32 + 2^30, then 2^17 - 1, then 2^16.
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum as u32;
}

/** Sums `length` bytes, and copies them too if `isCopy` (a constant, so that each use is its own loop). */
@inline
function sumBytes(from: usize, to: usize, length: usize, isCopy: bool): u32 {
  let sums0 = i64x2.splat(0);
  let sums1 = sums0;
  for (; length >= 32; length -= 32, from += 32, to += 32) {
    const bytes0 = v128.load(from, 0);
    const bytes1 = v128.load(from, 16);
    if (isCopy) v128.store(to, bytes0, 0);
    if (isCopy) v128.store(to, bytes1, 16);
    sums0 = addWords(sums0, bytes0);
    sums1 = addWords(sums1, bytes1);
  }
  if (length & 16) {
    const bytes = v128.load(from);
    if (isCopy) v128.store(to, bytes);
    sums0 = addWords(sums0, bytes);
    from += 16; to += 16;
  }
  const sums = i64x2.add(sums0, sums1);
  let sum: u64 = i64x2.extract_lane(sums, 0) + i64x2.extract_lane(sums, 1);
  if (length & 8) {
    const bytes = load<u64>(from);
    if (isCopy) store<u64>(to, bytes);
    sum += (bytes & 0xffffffff) + (bytes >> 32);
    from += 8; to += 8;
  }
  if (length & 4) {
    const bytes = load<u32>(from);
    if (isCopy) store<u32>(to, bytes);
    sum += bytes;
    from += 4; to += 4;
  }
  if (length & 2) {
    const bytes = load<u16>(from);
    if (isCopy) store<u16>(to, bytes);
    sum += bytes;
    from += 2; to += 2;
  }
  if (length & 1) {
    // RFC 1071 section 4.1: as if a zero byte followed.
    const byte = load<u8>(from);
    if (isCopy) store<u8>(to, byte);
    sum += byte;
  }
  return fold(sum);
}

/** One's complement sum, not inverted, of `length` bytes at `at`. Reads no byte behind them. */
export function sum(at: usize, length: usize): u32 {
  return sumBytes(at, at, length, false);
}

/** The same while copying the bytes to `to`; both must not overlap. */
export function copySum(to: usize, from: usize, length: usize): u32 {
  return sumBytes(from, to, length, true);
}
