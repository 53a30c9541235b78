/**
 * Hands calls that are not hot to a @grpc/grpc-js server in the same process, over HTTP/2 in memory: deadlines,
 * metadata, compression and whatever else gRPC has are its business.
 */
import { type Metadata, type Server, ServerCredentials } from '@grpc/grpc-js';
import {
  type ClientHttp2Session,
  connect,
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { parseSocketAddress, type SocketAddress } from '../core/ip.ts';
import { duplexPair } from './duplex-pair.ts';
import { STATUS, statusTrailers } from './grpc-status.ts';

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM } = constants;

/** Metadata that names the caller; whatever the caller sent under this name is dropped. */
const CALLER_HEADER = 'x-culvert-caller';

/** Where a call came from, for its handler. */
export function callerOf(metadata: Metadata): SocketAddress | undefined {
  const value = metadata.get(CALLER_HEADER)[0];
  return typeof value === 'string' ? parseSocketAddress(value) : undefined;
}

export class GrpcHandoff {
  readonly #injector: ReturnType<Server['createConnectionInjector']>;
  #session: ClientHttp2Session | undefined;

  constructor(server: Server) {
    this.#injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** `caller` is the remote address as `formatSocketAddress` prints it. */
  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, caller: string): void {
    const request = this.#connection().request(
      { ...headers, [CALLER_HEADER]: caller },
      { endStream: (flags & NGHTTP2_FLAG_END_STREAM) !== 0 },
    );
    let trailers: IncomingHttpHeaders | undefined;
    let wantsTrailers = false;
    const finish = () => {
      if (wantsTrailers && trailers && !stream.destroyed) stream.sendTrailers(trailers);
    };
    request.on('response', (response, responseFlags) => {
      if (stream.destroyed) return;
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
    request.on('error', () => {
      if (stream.destroyed) return;
      if (stream.headersSent) stream.close(NGHTTP2_CANCEL);
      else {
        const status = { code: STATUS.UNAVAILABLE, message: 'gateway is shutting down' };
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc', ...statusTrailers(status) },
          { endStream: true },
        );
      }
    });
    stream.on('error', () => request.close(NGHTTP2_CANCEL));
    stream.on('close', () => {
      if (!request.closed) request.close(NGHTTP2_CANCEL);
    });
    stream.pipe(request);
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
