/** Streams of a relay on node:http2, each on a connection of its own. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2';
import { dial, type DialOptions, type DialTarget } from './dial.ts';
import { authorityOf, isGrpcAnswer, openSession, requestHeaders, statusOf } from './grpc-client.ts';
import { LANE_HEADER, LANES_HEADER } from './grpc-front.ts';
import { STATUS, type Status } from './grpc-status.ts';
import type { DialedStream, StreamDialer, StreamEvents, StreamRequest } from './relay-lane.ts';

const { NGHTTP2_CANCEL } = constants;

/** The method to call, and metadata of its own. */
export interface StreamCall {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export class Http2Dialer implements StreamDialer {
  readonly #target: DialTarget;
  readonly #call: StreamCall;
  readonly #options: DialOptions;

  constructor(target: DialTarget, call: StreamCall, options: DialOptions) {
    this.#target = target;
    this.#call = call;
    this.#options = options;
  }

  open({ lane }: StreamRequest, events: StreamEvents): DialedStream {
    const stream = new Http2RelayStream(this.#target, events);
    const headers = {
      ...requestHeaders(this.#call.path),
      ...this.#call.metadata,
      ...(lane === undefined ? {} : { [LANE_HEADER]: String(lane) }),
    };
    stream.start(headers, this.#options);
    return stream;
  }
}

class Http2RelayStream implements DialedStream {
  readonly #target: DialTarget;
  readonly #events: StreamEvents;
  readonly #abort = new AbortController();
  #session: ClientHttp2Session | undefined;
  #stream: ClientHttp2Stream | undefined;
  #isOver = false;
  readonly #written = (): void => this.#events.written();

  constructor(target: DialTarget, events: StreamEvents) {
    this.#target = target;
    this.#events = events;
  }

  start(headers: Record<string, string>, options: DialOptions): void {
    dial(this.#target, options, this.#abort.signal).then(
      (connection) => {
        if (this.#isOver) {
          connection.destroy();
          return;
        }
        this.#session = openSession(connection, authorityOf(this.#target), this.#target.isPlaintext);
        this.#request(this.#session, headers);
        this.#events.connected();
      },
      (error: unknown) => {
        this.#end({
          code: STATUS.UNAVAILABLE,
          message: error instanceof Error ? error.message : String(error),
        });
      },
    );
  }

  write(chunk: Uint8Array): void {
    if (this.#isOver || !this.#stream || this.#stream.destroyed) return;
    this.#stream.write(chunk, this.#written);
  }

  setPaused(isPaused: boolean): void {
    if (isPaused) this.#stream?.pause();
    else this.#stream?.resume();
  }

  ping(): void {
    const session = this.#session;
    if (!session || session.destroyed) return;
    session.ping((error) => {
      if (!error && !this.#isOver) this.#events.alive();
    });
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#release();
  }

  #request(session: ClientHttp2Session, headers: Record<string, string>): void {
    const stream = session.request(headers);
    this.#stream = stream;
    let response: IncomingHttpHeaders | undefined;
    let trailers: IncomingHttpHeaders | undefined;
    let failure: Status | undefined;
    let isOpen = false;
    stream.on('response', (received) => {
      response = received;
      isOpen = isGrpcAnswer(received) && received['grpc-status'] === undefined;
      if (isOpen && !this.#isOver) this.#events.accepted(lanesOf(received[LANES_HEADER]));
    });
    stream.on('data', (chunk: Buffer) => {
      if (isOpen && !this.#isOver) this.#events.received(chunk);
    });
    stream.on('trailers', (received) => (trailers = received));
    stream.on('error', (error: Error) => {
      failure ??= { code: STATUS.UNAVAILABLE, message: error.message };
    });
    // The status is complete, and there is nothing to say behind it.
    stream.on('end', () => stream.close());
    stream.on('close', () => {
      const status = statusOf(response, trailers);
      const hasStatus = trailers !== undefined || response !== undefined;
      this.#end(hasStatus ? status : (failure ?? status));
    });
  }

  #end(status: Status): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#release();
    this.#events.closed(status);
  }

  #release(): void {
    this.#abort.abort(new Error('given up'));
    if (this.#stream && !this.#stream.closed) this.#stream.close(NGHTTP2_CANCEL);
    this.#session?.destroy();
  }
}

function lanesOf(value: string | string[] | undefined): number {
  return typeof value === 'string' && /^\d{1,2}$/.test(value) ? Number(value) : 1;
}
