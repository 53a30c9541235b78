/** What a fuzz target is: one decoder, inputs to start from, and what must hold for any bytes at all. */
import { AppError } from '../../src/core/errors.ts';

/**
 * Throws when the decoder broke a promise: an exception of the wrong kind, or an invariant that does not hold. A run
 * must depend on nothing but its bytes as far as the verdict goes; state that survives (a running device) is allowed.
 */
export type Run = (bytes: Uint8Array) => void | Promise<void>;

export interface FuzzTarget {
  readonly name: string;
  /** Valid inputs of every kind. */
  readonly seeds: () => readonly Uint8Array[];
  /** Pieces of text that the decoder knows. */
  readonly words?: readonly string[];
  /** Most bytes of an input. */
  readonly maxBytes?: number;
  /** Sets the stage once. */
  readonly prepare: () => Run | Promise<Run>;
}

type ErrorClass = abstract new (...args: never[]) => Error;

/** The result of `task`, or undefined when it refused with an AppError or one of `others`. */
export function orRefusal<T>(task: () => T, ...others: readonly ErrorClass[]): T | undefined {
  try {
    return task();
  } catch (error) {
    if (error instanceof AppError && error.code !== 'internal') return undefined;
    if (others.some((each) => error instanceof each && error.constructor === each)) return undefined;
    throw error;
  }
}

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'utf8'));
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

/** For decoders whose text comes byte by byte from the wire. */
export function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

/** Several byte strings in one input: each behind its length as u16, big endian; the last may be cut off. */
export function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at + 2 <= bytes.length;) {
    const size = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    yield bytes.slice(at + 2, at + 2 + size);
    at += 2 + size;
  }
}

export function joinPieces(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(
    Buffer.concat(parts.flatMap((part) => [Uint8Array.of(part.length >> 8, part.length & 255), part])),
  );
}

/** `bytes` cut in two to five parts; where is decided by the bytes themselves. */
export function chunksOf(bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let state = bytes.length;
  for (const byte of bytes.subarray(0, 16)) state = (Math.imul(state, 31) + byte) >>> 0;
  let at = 0;
  for (let left = 1 + (state % 4); left > 0 && at < bytes.length; left--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const end = at + 1 + (state % (bytes.length - at));
    chunks.push(bytes.slice(at, end));
    at = end;
  }
  if (at < bytes.length) chunks.push(bytes.slice(at));
  return chunks;
}
