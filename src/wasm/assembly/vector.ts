// Short names for 128-bit vector instructions: in arithmetic code the formula should be what meets the eye.

@inline export function add(a: v128, b: v128): v128 { return i32x4.add(a, b); }
@inline export function xor(a: v128, b: v128): v128 { return v128.xor(a, b); }
@inline export function and(a: v128, b: v128): v128 { return v128.and(a, b); }
@inline export function or(a: v128, b: v128): v128 { return v128.or(a, b); }
@inline export function shl(a: v128, bits: i32): v128 { return i32x4.shl(a, bits); }
@inline export function shr(a: v128, bits: i32): v128 { return i32x4.shr_u(a, bits); }
@inline export function splat(a: i32): v128 { return i32x4.splat(a); }

// The four steps of a 4x4 transpose: low and high halves, interleaved by words, then by double words.
@inline export function low32(a: v128, b: v128): v128 { return i32x4.shuffle(a, b, 0, 4, 1, 5); }
@inline export function high32(a: v128, b: v128): v128 { return i32x4.shuffle(a, b, 2, 6, 3, 7); }
@inline export function low64(a: v128, b: v128): v128 { return i64x2.shuffle(a, b, 0, 2); }
@inline export function high64(a: v128, b: v128): v128 { return i64x2.shuffle(a, b, 1, 3); }
