/** gRPC calls by hand on a connection of one's own: what the library's proxy support and per-message cost rule out. */
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import type { Duplex } from 'node:stream';
import { FrameParser, frameMessage } from './grpc-frame.ts';
import { readStatus, STATUS, type Status, statusName, statusOfHttp } from './grpc-status.ts';
import { SESSION_WINDOW, STREAM_WINDOW } from './grpc-front.ts';

const { NGHTTP2_CANCEL } = constants;

export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  readonly status: Status;

  constructor(status: Status) {
    super(`${statusName(status.code)}: ${status.message}`);
    this.status = status;
  }
}

/** An HTTP/2 session over a dialled connection. Its end is an event of every stream on it. */
export function openSession(connection: Duplex, authority: string, isPlaintext: boolean): ClientHttp2Session {
  const session = connect(`${isPlaintext ? 'http' : 'https'}://${authority}`, {
    createConnection: () => connection,
    settings: { initialWindowSize: STREAM_WINDOW, enablePush: false },
  });
  session.on('error', () => {});
  session.once('connect', () => session.setLocalWindowSize(SESSION_WINDOW));
  return session;
}

/** `host:port` as in `:authority`. */
export function authorityOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

export function requestHeaders(path: string): Record<string, string> {
  return {
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'culvert',
  };
}

/** False for error pages of proxies and for servers of another kind. */
export function isGrpcAnswer(headers: IncomingHttpHeaders | undefined): boolean {
  return (
    Number(headers?.[':status']) === 200 && (headers?.['content-type'] ?? '').startsWith('application/grpc')
  );
}

/** How a call ended: by its trailers, by a response that is trailers only, or by what came in place of gRPC. */
export function statusOf(
  headers: IncomingHttpHeaders | undefined,
  trailers: IncomingHttpHeaders | undefined,
): Status {
  const status = readStatus(trailers ?? {}) ?? readStatus(headers ?? {});
  if (status) return status;
  if (!headers) return { code: STATUS.UNAVAILABLE, message: 'the connection broke' };
  const http = Number(headers[':status']);
  if (http !== 200) return statusOfHttp(http);
  if (isGrpcAnswer(headers)) return { code: STATUS.UNAVAILABLE, message: 'the call ended without a status' };
  const type = headers['content-type'] ?? 'something';
  return { code: STATUS.UNKNOWN, message: `the server answers with ${type} and not with gRPC` };
}

const MAX_MESSAGE_SIZE: number = 4 * 1024 * 1024;

/** A unary call. Rejects with GrpcError; aborting the signal gives DEADLINE_EXCEEDED. */
export function unaryCall(
  session: ClientHttp2Session,
  path: string,
  message: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const stream = session.request(requestHeaders(path));
    let headers: IncomingHttpHeaders | undefined;
    let trailers: IncomingHttpHeaders | undefined;
    let failure: Status | undefined;
    let answer: Uint8Array | undefined;
    const parser = new FrameParser(MAX_MESSAGE_SIZE, (bytes, at, length) => {
      answer = Uint8Array.from(bytes.subarray(at, at + length));
    });
    const abort = () => {
      failure ??= { code: STATUS.DEADLINE_EXCEEDED, message: 'the gateway takes too long to answer' };
      stream.close(NGHTTP2_CANCEL);
    };
    signal.addEventListener('abort', abort, { once: true });
    stream.on('response', (received) => (headers = received));
    stream.on('trailers', (received) => (trailers = received));
    stream.on('data', (chunk: Buffer) => {
      if (!isGrpcAnswer(headers)) return;
      const error = parser.push(chunk);
      if (error === undefined) return;
      failure ??= { code: STATUS.INTERNAL, message: `the answer cannot be read (${error})` };
      stream.close(NGHTTP2_CANCEL);
    });
    stream.on('error', (error: Error) => (failure ??= { code: STATUS.UNAVAILABLE, message: error.message }));
    stream.on('close', () => {
      signal.removeEventListener('abort', abort);
      const status = failure ?? statusOf(headers, trailers);
      if (status.code !== STATUS.OK) reject(new GrpcError(status));
      else if (answer) resolve(answer);
      else reject(new GrpcError({ code: STATUS.INTERNAL, message: 'the answer is empty' }));
    });
    stream.end(frameMessage(message));
    if (signal.aborted) abort();
  });
}
