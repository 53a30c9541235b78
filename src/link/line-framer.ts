/** Cuts a byte stream into lines of bounded length. */
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export interface LineHandler {
  /** One line without its end, valid only during the call; never empty. */
  line(bytes: Uint8Array): void;
  /** A line was longer than the bound; all of its `size` bytes are gone, and the stream goes on behind it. */
  tooLong(size: number): void;
}

export class LineFramer {
  readonly #maxLength: number;
  readonly #handler: LineHandler;
  #partial: Uint8Array;
  #have = 0;
  /** Bytes of a line that is too long, as far as it came. */
  #skipped = 0;

  constructor(maxLength: number, handler: LineHandler) {
    this.#maxLength = maxLength;
    this.#handler = handler;
    this.#partial = new Uint8Array(Math.min(1024, maxLength));
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      this.#finish(chunk.subarray(at, end));
      at = end + 1;
    }
    this.#keep(chunk.subarray(at));
  }

  /** The stream has ended: what came last is a line even without its end. */
  end(): void {
    this.#finish(new Uint8Array(0));
  }

  #finish(tail: Uint8Array): void {
    if (this.#skipped > 0 || this.#have + tail.length > this.#maxLength) {
      this.#handler.tooLong(this.#skipped + this.#have + tail.length);
      this.#skipped = 0;
      this.#have = 0;
      return;
    }
    let line = tail;
    if (this.#have > 0) {
      this.#keep(tail);
      line = this.#partial.subarray(0, this.#have);
      this.#have = 0;
    }
    if (line.at(-1) === CARRIAGE_RETURN) line = line.subarray(0, -1);
    if (line.length > 0) this.#handler.line(line);
  }

  #keep(bytes: Uint8Array): void {
    const need = this.#have + bytes.length;
    if (this.#skipped > 0 || need > this.#maxLength) {
      this.#skipped += need;
      this.#have = 0;
      return;
    }
    if (need > this.#partial.length) {
      const grown = new Uint8Array(Math.min(this.#maxLength, Math.max(need, 2 * this.#partial.length)));
      grown.set(this.#partial.subarray(0, this.#have));
      this.#partial = grown;
    }
    this.#partial.set(bytes, this.#have);
    this.#have = need;
  }
}
