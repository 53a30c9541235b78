/** gRPC calls by hand on node:http2: what goes over the wire is what the test says, byte by byte. */
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2';
import { type Status, readStatus } from '../../src/link/grpc-status.ts';

export class RawGrpcClient {
  readonly session: ClientHttp2Session;

  constructor(url: string, options: SecureClientSessionOptions = {}) {
    this.session = connect(url, options);
    this.session.on('error', () => {});
  }

  /** Starts a call; the caller writes, reads and ends. */
  call(path: string, headers: OutgoingHttpHeaders = {}, endStream = false): RawCall {
    const stream = this.session.request(
      { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
      { endStream },
    );
    return new RawCall(stream);
  }

  async close(): Promise<void> {
    if (this.session.closed || this.session.destroyed) return;
    const closed = once(this.session, 'close');
    this.session.destroy();
    await closed;
  }
}

export class RawCall {
  readonly stream: ClientHttp2Stream;
  readonly chunks: Buffer[] = [];
  headers: IncomingHttpHeaders | undefined;
  trailers: IncomingHttpHeaders | undefined;
  onChunk: (chunk: Buffer) => void = () => {};
  readonly #headers: Promise<void>;
  readonly #closed: Promise<void>;

  constructor(stream: ClientHttp2Stream) {
    this.stream = stream;
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.onChunk(chunk);
    });
    // A client that has the whole answer has nothing more to say.
    stream.on('end', () => stream.end());
    stream.on('trailers', (trailers: IncomingHttpHeaders) => (this.trailers = trailers));
    this.#headers = new Promise((resolve) => {
      stream.on('response', (headers: IncomingHttpHeaders) => {
        this.headers = headers;
        resolve();
      });
      stream.on('close', resolve);
    });
    this.#closed = new Promise((resolve) => stream.on('close', resolve));
  }

  async responded(): Promise<IncomingHttpHeaders> {
    await this.#headers;
    return this.headers ?? {};
  }

  /** The status the call ended with, from trailers or from a response that is trailers only. */
  async status(): Promise<Status | undefined> {
    await this.#closed;
    return readStatus(this.trailers ?? {}) ?? readStatus(this.headers ?? {});
  }

  /** All bytes of the answer. */
  async body(): Promise<Buffer> {
    await this.#closed;
    return Buffer.concat(this.chunks);
  }
}
