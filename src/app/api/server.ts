/**
 * The HTTP server for the operators of a gateway or a device: /api/v1 (docs/api/openapi.yaml), the status page, /healthz. Everything but
 * the files of the page and /healthz needs the admin token.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { AppError, usageError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import type { TlsPair } from '../../link/tls-files.ts';
import { isAuthorized } from '../http/bearer-token.ts';
import { isLoopback, type ListenAddress } from '../http/listen-address.ts';
import { closeServer, listenOn } from '../http/server.ts';
import { type AdminToken, originProblem } from './access.ts';
import { EventStream } from './event-stream.ts';
import { PAGE_POLICY, type PageFile } from './page-files.ts';
import { HttpError, problemOf } from './problem.ts';
import { type Call, type Match, readBody, readQuery, type Route, Router } from './route.ts';
import { Input } from '../gateway/admin-operations.ts';

export const API_PREFIX = '/api/v1';

export interface ApiServerOptions {
  readonly address: ListenAddress;
  /** Undefined: plain HTTP. */
  readonly tls: TlsPair | undefined;
  readonly token: AdminToken;
  readonly routes: readonly Route[];
  readonly files: ReadonlyMap<string, PageFile>;
  /** Where to find the token, for who has a wrong one. */
  readonly tokenHint: string;
  /** After a request that may have changed something. */
  readonly onChange: () => void;
  readonly logger: Logger;
}

const MAX_CONNECTIONS = 64;
const MAX_STREAMS = 32;
const MAX_BODY_BYTES: number = 64 * 1024;
const MAX_HEADER_BYTES: number = 16 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;

const COMMON_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};

export class ApiServer {
  readonly #options: ApiServerOptions;
  readonly #router: Router;
  readonly #isLocal: boolean;
  readonly #server: Server | TlsServer;
  readonly #streams = new Set<EventStream>();

  constructor(options: ApiServerOptions) {
    this.#options = options;
    this.#router = new Router(options.routes);
    this.#isLocal = isLoopback(options.address.host);
    const limits = {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
    };
    const serve = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response);
    this.#server = options.tls
      ? createTlsServer({ ...limits, ...options.tls, minVersion: 'TLSv1.2' }, serve)
      : createServer(limits, serve);
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Resolves to where it really listens. Rejects with AppError `in_use`, `permission` or `io`. */
  listen(): Promise<ListenAddress> {
    const hint = '--http names another address';
    return listenOn(this.#server, this.#options.address, 'HTTP API:', hint);
  }

  /** For new connections from now on. */
  setCertificate(pair: TlsPair): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(pair);
  }

  close(): Promise<void> {
    return closeServer(this.#server);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    for (const [name, value] of Object.entries(COMMON_HEADERS)) response.setHeader(name, value);
    try {
      const { headers, method = '', url = '' } = request;
      const refusal = originProblem(headers, this.#isLocal);
      if (refusal !== undefined) throw new HttpError(421, 'permission', refusal);
      const [path = '', search = ''] = url.split('?', 2);
      if (path.startsWith(`${API_PREFIX}/`)) {
        if (!isAuthorized(headers, this.#options.token)) throw unauthorized(this.#options.tokenHint);
        const match = this.#match(method, path.slice(API_PREFIX.length));
        await this.#answer(request, response, match, search);
      } else {
        this.#serveFile(request, response, path);
      }
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  #match(method: string, path: string): Match {
    const match = this.#router.match(method, path);
    if ('route' in match) return match;
    if (match.length > 0) throw notAllowed(match);
    throw new AppError('not_found', `there is no ${API_PREFIX}${path}`, {
      hint: 'docs/api/openapi.yaml lists what there is',
    });
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    { route, parameters }: Match,
    search: string,
  ): Promise<void> {
    const call: Call = {
      path: new Input(parameters),
      query: readQuery(search, route.query),
      body: readBody(await readText(request), route.body),
    };
    response.setHeader('cache-control', 'no-store');
    switch (route.kind) {
      case 'stream': {
        if (this.#streams.size >= MAX_STREAMS) {
          throw new AppError('unavailable', `${MAX_STREAMS} clients watch already`);
        }
        const stream = new EventStream(response);
        this.#streams.add(stream);
        response.once('close', () => this.#streams.delete(stream));
        try {
          route.open(call, stream);
        } catch (error) {
          this.#streams.delete(stream);
          throw error;
        }
        return;
      }
      case 'text':
        response.writeHead(200, { 'content-type': route.contentType }).end(route.answer(call));
        return;
      case 'json': {
        const value = await route.answer(call);
        if (route.method !== 'GET') this.#options.onChange();
        if (response.destroyed) return;
        if (route.status === 204) response.writeHead(204).end();
        else sendJson(response, route.status ?? 200, 'application/json', value);
        return;
      }
      default:
        route satisfies never;
    }
  }

  #serveFile(request: IncomingMessage, response: ServerResponse, path: string): void {
    const { method = '' } = request;
    const isHealth = path === '/healthz';
    const file = this.#options.files.get(path);
    if (!isHealth && !file) throw new AppError('not_found', `there is no ${path}`);
    if (method !== 'GET' && method !== 'HEAD') throw notAllowed(['GET', 'HEAD']);
    if (!file) {
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end('ok\n');
      return;
    }
    response.setHeader('cache-control', 'no-cache');
    response.setHeader('etag', file.etag);
    response.setHeader('content-security-policy', PAGE_POLICY);
    if (request.headers['if-none-match'] === file.etag) response.writeHead(304).end();
    else
      response
        .writeHead(200, { 'content-type': file.contentType, 'content-length': file.body.length })
        .end(method === 'HEAD' ? undefined : file.body);
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (!(error instanceof AppError)) {
      const path = request.url?.split('?')[0];
      this.#options.logger.log('error', 'http_request_failed', { path, reason: String(error) });
    }
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    const problem = problemOf(error);
    if (error instanceof HttpError) {
      for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
    }
    // What was not read would be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close');
    response.setHeader('cache-control', 'no-store');
    sendJson(response, problem.status, 'application/problem+json', problem);
  }
}

function sendJson(response: ServerResponse, status: number, contentType: string, value: unknown): void {
  response.writeHead(status, { 'content-type': contentType }).end(`${JSON.stringify(value)}\n`);
}

function unauthorized(hint: string): HttpError {
  return new HttpError(
    401,
    'permission',
    'the admin token is missing or wrong',
    { 'www-authenticate': 'Bearer realm="culvert"' },
    hint,
  );
}

function notAllowed(methods: readonly string[]): HttpError {
  return new HttpError(405, 'usage', `only ${methods.join(', ')}`, { allow: methods.join(', ') });
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) {
      throw new HttpError(413, 'usage', `the body is larger than ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  if (chunks.length > 0 && !/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw usageError('the body is not application/json');
  }
  return Buffer.concat(chunks).toString('utf8');
}
