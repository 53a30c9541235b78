/** Cuts the bytes of one UAPI client into requests; each is validated completely before anyone sees it. */
import type { DeviceChange } from './config.ts';
import { ChangeBuilder, type Zones } from './uapi-change.ts';
import { UAPI_ERRNO, UAPI_LIMITS, type UapiErrno } from './uapi-errno.ts';

export type UapiRequest =
  | { readonly kind: 'get' }
  | { readonly kind: 'set'; readonly change: DeviceChange }
  /** Malformed up to its blank line: answer with `errno`, then go on. `problem` tells no secrets. */
  | { readonly kind: 'refused'; readonly errno: UapiErrno; readonly problem: string }
  /** The first line names no operation: close without an answer, nothing behind it makes sense. */
  | { readonly kind: 'unknown'; readonly problem: string };

const NEWLINE = 0x0a;
const EQUALS = 0x3d;

export class UapiReader {
  readonly #zones: Zones;
  readonly #requestLimit: number;
  /** Start of a line whose end has not come yet. */
  readonly #partial = new Uint8Array(UAPI_LIMITS.lineBytes);
  #partialSize = 0;
  #isLineTooLong = false;
  #operation: 'none' | 'get' | 'set' = 'none';
  #builder: ChangeBuilder;
  #requestSize = 0;
  #refusal: { errno: UapiErrno; problem: string } | undefined;

  constructor(zones: Zones, requestLimitBytes: number = UAPI_LIMITS.requestBytes) {
    this.#zones = zones;
    this.#requestLimit = requestLimitBytes;
    this.#builder = new ChangeBuilder(zones);
  }

  /** True between the first byte of a request and its end. */
  get isInsideRequest(): boolean {
    return this.#operation !== 'none' || this.#partialSize > 0;
  }

  /**
   * The requests that `chunk` completes, in order. The reader takes the chunk over and fills it with zeros, because it
   * may hold keys. After `unknown` nothing more is to be read.
   */
  *read(chunk: Uint8Array): Generator<UapiRequest, void> {
    try {
      let start = 0;
      while (start < chunk.length) {
        const newline = chunk.indexOf(NEWLINE, start);
        const piece = chunk.subarray(start, newline < 0 ? chunk.length : newline);
        start += piece.length + 1;
        if (newline < 0) {
          this.#keep(piece);
          return;
        }
        const request = this.#endLine(piece);
        if (request) yield request;
      }
    } finally {
      chunk.fill(0);
    }
  }

  /**
   * The client closed its side. A `set` without its blank line counts, as in wireguard-go, but never one whose last
   * line was cut off: half an allowed_ip is another network.
   */
  end(): UapiRequest | undefined {
    if (this.#operation !== 'set') return undefined;
    if (this.#partialSize > 0 || this.#isLineTooLong) {
      this.#wipePartial();
      this.#refuse(UAPI_ERRNO.protocol, 'the last line is cut off');
    }
    return this.#endRequest();
  }

  #keep(piece: Uint8Array): void {
    if (this.#isLineTooLong || this.#partialSize + piece.length > this.#partial.length) {
      this.#isLineTooLong = true;
      this.#wipePartial();
      return;
    }
    this.#partial.set(piece, this.#partialSize);
    this.#partialSize += piece.length;
  }

  #endLine(piece: Uint8Array): UapiRequest | undefined {
    if (this.#partialSize === 0 && !this.#isLineTooLong && piece.length <= this.#partial.length)
      return this.#line(piece);
    this.#keep(piece);
    const isTooLong = this.#isLineTooLong;
    this.#isLineTooLong = false;
    const request = isTooLong ? this.#tooLong() : this.#line(this.#partial.subarray(0, this.#partialSize));
    this.#wipePartial();
    return request;
  }

  #wipePartial(): void {
    this.#partial.fill(0, 0, this.#partialSize);
    this.#partialSize = 0;
  }

  #tooLong(): UapiRequest | undefined {
    const problem = `a line has more than ${UAPI_LIMITS.lineBytes} bytes`;
    if (this.#operation === 'none') return { kind: 'unknown', problem };
    this.#refuse(UAPI_ERRNO.invalid, problem);
    return undefined;
  }

  #line(line: Uint8Array): UapiRequest | undefined {
    if (this.#operation === 'none') return this.#open(line);
    if (line.length === 0) return this.#endRequest();
    this.#requestSize += line.length + 1;
    if (this.#requestSize > this.#requestLimit)
      this.#refuse(UAPI_ERRNO.tooBig, `the request has more than ${this.#requestLimit} bytes`);
    if (this.#refusal) return undefined;
    if (this.#operation === 'get') {
      this.#refuse(UAPI_ERRNO.invalid, 'a get request has no lines of its own');
      return undefined;
    }
    const equals = line.indexOf(EQUALS);
    if (equals < 0) {
      this.#refuse(UAPI_ERRNO.protocol, 'a line lacks "="');
      return undefined;
    }
    const key = Buffer.from(line.buffer, line.byteOffset, equals).toString('utf8');
    const problem = this.#builder.line(key, line.subarray(equals + 1));
    if (problem !== undefined) this.#refuse(UAPI_ERRNO.invalid, problem);
    return undefined;
  }

  #open(line: Uint8Array): UapiRequest | undefined {
    const operation = Buffer.from(line.buffer, line.byteOffset, Math.min(line.length, 32)).toString('utf8');
    if (operation !== 'get=1' && operation !== 'set=1')
      return { kind: 'unknown', problem: 'the first line is neither get=1 nor set=1' };
    this.#operation = operation === 'get=1' ? 'get' : 'set';
    this.#requestSize = line.length + 1;
    return undefined;
  }

  #refuse(errno: UapiErrno, problem: string): void {
    if (this.#refusal) return;
    this.#refusal = { errno, problem };
    this.#builder.discard();
    this.#builder = new ChangeBuilder(this.#zones);
  }

  #endRequest(): UapiRequest {
    const operation = this.#operation;
    const refusal = this.#refusal;
    const builder = this.#builder;
    this.#operation = 'none';
    this.#refusal = undefined;
    this.#builder = new ChangeBuilder(this.#zones);
    if (refusal) return { kind: 'refused', ...refusal };
    return operation === 'get' ? { kind: 'get' } : { kind: 'set', change: builder.finish() };
  }
}
