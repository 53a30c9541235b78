/**
 * gRPC's length-prefixed messages (gRPC over HTTP/2, "Length-Prefixed-Message"): a compressed flag, the length as
 * big-endian u32, the message.
 */
export const FRAME_PREFIX_SIZE = 5;

export type FrameError =
  /** A message is longer than the parser's bound. */
  | 'too_large'
  /** The compressed flag is set although no compression was agreed on, or is not 0 or 1. */
  | 'compressed';

/** `bytes[at .. at + length)` is one message, valid only during the call. */
export type OnMessage = (bytes: Uint8Array, at: number, length: number) => void;

/**
 * Cuts messages out of chunks split anywhere. A message that lies whole in a chunk is handed on in place; one that
 * crosses chunks is collected in a buffer of the parser's own.
 */
export class FrameParser {
  readonly #maxMessageBytes: number;
  readonly #onMessage: OnMessage;
  /** Prefix and as much of the message as came so far. */
  #partial: Uint8Array;
  #have = 0;
  #error: FrameError | undefined;

  constructor(maxMessageBytes: number, onMessage: OnMessage) {
    this.#maxMessageBytes = maxMessageBytes;
    this.#onMessage = onMessage;
    this.#partial = new Uint8Array(2048);
  }

  /** Returns the error that ended parsing; from then on every chunk is ignored. */
  push(chunk: Uint8Array): FrameError | undefined {
    let at = this.#have > 0 ? this.#finishPartial(chunk) : 0;
    while (this.#error === undefined && chunk.length - at >= FRAME_PREFIX_SIZE) {
      const size = this.#messageSize(chunk, at);
      if (size < 0) break;
      const start = at + FRAME_PREFIX_SIZE;
      if (chunk.length - start < size) break;
      at = start + size;
      this.#onMessage(chunk, start, size);
    }
    if (this.#error === undefined && at < chunk.length) this.#keep(chunk, at, chunk.length);
    return this.#error;
  }

  /** True between messages: a stream that ends elsewhere was cut off. */
  get isAtBoundary(): boolean {
    return this.#have === 0;
  }

  /** Completes the message begun in earlier chunks; returns where the next one starts. */
  #finishPartial(chunk: Uint8Array): number {
    let at = 0;
    if (this.#have < FRAME_PREFIX_SIZE) {
      at = Math.min(FRAME_PREFIX_SIZE - this.#have, chunk.length);
      this.#keep(chunk, 0, at);
      if (this.#have < FRAME_PREFIX_SIZE) return at;
    }
    const size = this.#messageSize(this.#partial, 0);
    if (size < 0) return at;
    const missing = FRAME_PREFIX_SIZE + size - this.#have;
    const end = Math.min(at + missing, chunk.length);
    this.#keep(chunk, at, end);
    if (this.#have === FRAME_PREFIX_SIZE + size) {
      this.#have = 0;
      this.#onMessage(this.#partial, FRAME_PREFIX_SIZE, size);
    }
    return end;
  }

  /** Length of the message whose prefix lies at `at`, or -1 with the error set. */
  #messageSize(bytes: Uint8Array, at: number): number {
    if (bytes[at] !== 0) {
      this.#error = 'compressed';
      return -1;
    }
    const size = readU32be(bytes, at + 1);
    if (size > this.#maxMessageBytes) {
      this.#error = 'too_large';
      return -1;
    }
    return size;
  }

  #keep(chunk: Uint8Array, from: number, to: number): void {
    const need = this.#have + to - from;
    if (need > this.#partial.length) {
      const grown = new Uint8Array(
        Math.min(FRAME_PREFIX_SIZE + this.#maxMessageBytes, Math.max(need, 2 * this.#partial.length)),
      );
      grown.set(this.#partial.subarray(0, this.#have));
      this.#partial = grown;
    }
    this.#partial.set(chunk.subarray(from, to), this.#have);
    this.#have = need;
  }
}

/** Writes the prefix of an uncompressed message at `at` and returns where the message goes. */
export function writeFramePrefix(into: Uint8Array, at: number, messageBytes: number): number {
  into[at] = 0;
  into[at + 1] = messageBytes >>> 24;
  into[at + 2] = messageBytes >>> 16;
  into[at + 3] = messageBytes >>> 8;
  into[at + 4] = messageBytes;
  return at + FRAME_PREFIX_SIZE;
}

/** One message with its prefix, in a buffer of its own. */
export function frameMessage(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(FRAME_PREFIX_SIZE + message.length);
  framed.set(message, writeFramePrefix(framed, 0, message.length));
  return framed;
}

function readU32be(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}
