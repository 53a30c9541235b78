/** A CreateStream call on a node:http2 server stream. */
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { type Status, statusTrailers } from './grpc-status.ts';
import type { StreamCarrier } from './tunnel-stream.ts';

const { HTTP2_HEADER_CONTENT_TYPE, HTTP2_HEADER_STATUS, NGHTTP2_CANCEL } = constants;

/** What serves a stream: TunnelStream, RelayStream. */
export interface ServedStream {
  /** Bytes from the client, split anywhere; they are not kept. */
  receive(chunk: Uint8Array): void;
  /** The oldest chunk given to the carrier has left. */
  written(): void;
  /** The client closed its side, or the connection broke. */
  closed(): void;
}

export class Http2Carrier implements StreamCarrier {
  readonly #stream: ServerHttp2Stream;
  readonly #headers: OutgoingHttpHeaders;
  /** Set right after the stream was admitted. */
  tunnel: ServedStream | undefined;
  /** Told when a status is on its way. */
  onEnding: () => void = () => {};
  #status: Status | undefined;
  readonly #written = (): void => this.tunnel?.written();

  /** `headers` go out with the first answer. */
  constructor(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders = {}) {
    this.#stream = stream;
    this.#headers = {
      [HTTP2_HEADER_STATUS]: 200,
      [HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      ...headers,
    };
    stream.on('wantTrailers', () => this.#sendTrailers());
  }

  /** Tells the client that its stream is open. */
  accept(): void {
    const stream = this.#stream;
    if (!stream.headersSent && !stream.destroyed) stream.respond(this.#headers, { waitForTrailers: true });
  }

  write(chunk: Uint8Array): void {
    if (this.#status !== undefined || this.#stream.destroyed) return;
    this.accept();
    this.#stream.write(chunk, this.#written);
  }

  setPaused(isPaused: boolean): void {
    if (isPaused && this.#status === undefined) this.#stream.pause();
    else this.#stream.resume();
  }

  end(status: Status): void {
    if (this.#status !== undefined) return;
    this.#status = status;
    const stream = this.#stream;
    if (stream.destroyed) return;
    // Its end is behind what has not been read.
    stream.resume();
    this.onEnding();
    if (stream.headersSent) {
      stream.end();
      return;
    }
    stream.respond({ ...this.#headers, ...statusTrailers(status) }, { endStream: true });
  }

  /** Gives up on a client that does not take the status, or keeps its half open behind it. */
  abort(): void {
    if (!this.#stream.destroyed) this.#stream.close(NGHTTP2_CANCEL);
  }

  get isEnding(): boolean {
    return this.#status !== undefined;
  }

  #sendTrailers(): void {
    if (!this.#status || this.#stream.destroyed) return;
    this.#stream.sendTrailers(statusTrailers(this.#status));
  }
}
