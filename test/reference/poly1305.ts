/** Poly1305 as RFC 8439 section 2.5.1 prints it, in BigInt: slow and plain, to compare the kernel with. */

const P = (1n << 130n) - 5n;
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

function leBytesToNumber(bytes: Uint8Array): bigint {
  let number = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) number = (number << 8n) | BigInt(bytes[i] as number);
  return number;
}

function numberToLeBytes(number: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
}

/** `key` is r and s, 16 bytes each. Returns 16 bytes. */
export function poly1305(key: Uint8Array, message: Uint8Array): Uint8Array {
  const r = leBytesToNumber(key.subarray(0, 16)) & CLAMP;
  const s = leBytesToNumber(key.subarray(16, 32));
  let accumulator = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = message.subarray(at, at + 16);
    accumulator = ((accumulator + leBytesToNumber(block) + (1n << BigInt(8 * block.length))) * r) % P;
  }
  return numberToLeBytes((accumulator + s) & ((1n << 128n) - 1n), 16);
}

/** What RFC 8439 section 2.8 authenticates when there is no additional data. */
export function authenticatedData(ciphertext: Uint8Array): Uint8Array {
  const padded = Math.ceil(ciphertext.length / 16) * 16;
  const data = new Uint8Array(padded + 16);
  data.set(ciphertext);
  new DataView(data.buffer).setBigUint64(padded + 8, BigInt(ciphertext.length), true);
  return data;
}
