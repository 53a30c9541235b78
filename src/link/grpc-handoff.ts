/**
 * Hands calls that are not hot to a @grpc/grpc-js server in the same process, over HTTP/2 in memory: deadlines,
 * metadata, compression and whatever else gRPC has are its business.
 */
import { type Metadata, type Server, ServerCredentials } from '@grpc/grpc-js';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Clock } from '../core/clock.ts';
import { parseSocketAddress, type SocketAddress } from '../core/ip.ts';
import { duplexPair } from './duplex-pair.ts';
import { guardRefusals } from './grpc-guard.ts';
import { type FrontCounters, MAX_REQUEST_BYTES } from './grpc-limits.ts';
import { STATUS, type Status } from './grpc-status.ts';

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM } = constants;

/** Metadata that names the caller; whatever the caller sent under this name is dropped. */
const CALLER_HEADER = 'x-culvert-caller';

/** Where a call came from, for its handler. */
export function callerOf(metadata: Metadata): SocketAddress | undefined {
  const value = metadata.get(CALLER_HEADER)[0];
  return typeof value === 'string' ? parseSocketAddress(value) : undefined;
}

/** Machines wait 30 s for an answer. */
const CALL_TIMEOUT_MS = 60_000;

const BUSY: Status = { code: STATUS.RESOURCE_EXHAUSTED, message: 'too many calls at the same time' };
const TOO_LARGE: Status = {
  code: STATUS.RESOURCE_EXHAUSTED,
  message: `the request is larger than ${MAX_REQUEST_BYTES} bytes`,
};
const TIMED_OUT: Status = { code: STATUS.DEADLINE_EXCEEDED, message: 'the call took too long' };
const SHUTTING_DOWN: Status = { code: STATUS.UNAVAILABLE, message: 'gateway is shutting down' };

export interface HandoffOptions {
  readonly clock: Clock;
  readonly maxCalls: number;
  readonly counters: FrontCounters['calls'];
  /** Ends a call that the library has not answered. */
  readonly end: (stream: ServerHttp2Stream, status: Status) => void;
}

interface Call {
  readonly stream: ServerHttp2Stream;
  readonly request: ClientHttp2Stream;
  readonly since: number;
}

export class GrpcHandoff {
  readonly #injector: ReturnType<Server['createConnectionInjector']>;
  readonly #options: HandoffOptions;
  /** The oldest first. */
  readonly #calls = new Set<Call>();
  #session: ClientHttp2Session | undefined;

  constructor(server: Server, options: HandoffOptions) {
    guardRefusals(server);
    this.#injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#options = options;
  }

  /** `caller` is the remote address as `formatSocketAddress` prints it. */
  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, caller: string): void {
    const [oldest] = this.#calls;
    if (oldest && this.#calls.size >= this.#options.maxCalls) {
      this.#options.counters.evicted++;
      this.#end(oldest, BUSY);
    }
    const request = this.#connection().request(
      { ...headers, [CALLER_HEADER]: caller },
      { endStream: (flags & NGHTTP2_FLAG_END_STREAM) !== 0 },
    );
    const call: Call = { stream, request, since: this.#options.clock.now() };
    this.#calls.add(call);
    pipeAnswer(request, stream);
    request.on('error', () => this.#end(call, SHUTTING_DOWN));
    stream.on('error', () => request.close(NGHTTP2_CANCEL));
    stream.on('close', () => {
      this.#calls.delete(call);
      if (!request.closed) request.close(NGHTTP2_CANCEL);
    });
    let received = 0;
    stream.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received <= MAX_REQUEST_BYTES) {
        if (!request.destroyed) request.write(chunk);
        return;
      }
      this.#options.counters.too_large++;
      this.#end(call, TOO_LARGE);
    });
    stream.on('end', () => request.end());
  }

  /** Ends calls that take too long: half-open ones, above all. */
  check(): void {
    const now = this.#options.clock.now();
    for (const call of this.#calls) {
      if (now - call.since < CALL_TIMEOUT_MS) return;
      this.#options.counters.timed_out++;
      this.#end(call, TIMED_OUT);
    }
  }

  #end(call: Call, status: Status): void {
    this.#calls.delete(call);
    this.#options.end(call.stream, status);
    if (!call.request.closed) call.request.close(NGHTTP2_CANCEL);
  }

  close(): void {
    this.#session?.destroy();
    this.#injector.destroy();
  }

  #connection(): ClientHttp2Session {
    if (this.#session && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const [near, far] = duplexPair();
    this.#injector.injectConnection(far);
    const session = connect('http://gateway', {
      createConnection: () => near,
      settings: { enablePush: false },
    });
    // Calls on it hear of its end themselves.
    session.on('error', () => {});
    this.#session = session;
    return session;
  }
}

/** Headers, messages and trailers as the library sends them. */
function pipeAnswer(request: ClientHttp2Stream, stream: ServerHttp2Stream): void {
  let trailers: IncomingHttpHeaders | undefined;
  let wantsTrailers = false;
  const finish = () => {
    if (wantsTrailers && trailers && !stream.destroyed) stream.sendTrailers(trailers);
  };
  request.on('response', (response, responseFlags) => {
    if (stream.destroyed || stream.headersSent) return;
    const isLast = (responseFlags & NGHTTP2_FLAG_END_STREAM) !== 0;
    stream.respond(response, isLast ? { endStream: true } : { waitForTrailers: true });
    if (!isLast) request.pipe(stream);
  });
  request.on('trailers', (received) => {
    trailers = received;
    finish();
  });
  stream.on('wantTrailers', () => {
    wantsTrailers = true;
    finish();
  });
}
