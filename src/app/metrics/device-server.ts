/** The HTTP server of one device: /metrics for Prometheus, /healthz and /readyz for whoever supervises the process. */
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { type BearerToken, isAuthorized } from '../http/bearer-token.ts';
import { isLocalHost } from '../http/host-check.ts';
import { type ListenAddress, isLoopback } from '../http/listen-address.ts';
import { closeServer, listenOn } from '../http/server.ts';
import { CONTENT_TYPE } from './exposition.ts';

/** More than a few scrapers, and less than would hurt. */
const MAX_CONNECTIONS = 32;
const REQUEST_TIMEOUT_MS = 10_000;

export interface MetricsSource {
  /** The page, in pieces. */
  collect(): Promise<readonly Buffer[]>;
  /** Why the device is not ready, in words; empty when it is. */
  problems(): readonly string[];
}

export interface MetricsServer {
  /** Where it really listens. */
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/** Where metrics are served, and who may read them. */
export interface MetricsAddress extends ListenAddress {
  /** Asked for at /metrics. Undefined: of nobody, which only loopback is for. */
  readonly token?: BearerToken | undefined;
}

/** Throws AppError `in_use`, `permission` or `io` when it cannot listen. */
export async function serveMetrics(address: MetricsAddress, source: MetricsSource): Promise<MetricsServer> {
  const { token } = address;
  const page = shared(() => source.collect());
  const isLocal = isLoopback(address.host);
  const server = createServer((request, response) => {
    if (isLocal && !isLocalHost(request.headers.host))
      return plain(response, 421, 'this server answers to localhost and to addresses only\n');
    const isAllowed = token === undefined || isAuthorized(request.headers, token);
    return void answer(request, response, source, isAllowed ? page : undefined).catch((error: unknown) =>
      response.destroy(error as Error),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  return {
    address: await listenOn(server, address, 'metrics', 'choose another address or port'),
    close: () => closeServer(server),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  source: MetricsSource,
  /** Undefined: not for this request. */
  page: (() => Promise<readonly Buffer[]>) | undefined,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return plain(response, 405, 'only GET and HEAD\n');
  }
  switch ((request.url ?? '').replace(/\?.*/, '')) {
    case '/metrics': {
      if (!page) {
        response.setHeader('WWW-Authenticate', 'Bearer');
        return plain(response, 401, 'this page wants the token of --metrics-token-file\n');
      }
      const pieces = await page();
      const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
      response.writeHead(200, { 'Content-Type': CONTENT_TYPE, 'Content-Length': length });
      if (request.method === 'GET') for (const piece of pieces) response.write(piece);
      response.end();
      return undefined;
    }
    case '/healthz':
      return plain(response, 200, 'ok\n');
    case '/readyz': {
      const problems = source.problems();
      return json(response, problems.length === 0 ? 200 : 503, { ready: problems.length === 0, problems });
    }
    case '/':
      return plain(response, 200, 'culvert: /metrics, /healthz, /readyz\n');
    default:
      return plain(response, 404, 'there are /metrics, /healthz and /readyz\n');
  }
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(text);
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(`${JSON.stringify(value)}\n`);
}

/** All who ask while a page is being made get that page: scrapes cannot pile up. */
function shared<Result>(make: () => Promise<Result>): () => Promise<Result> {
  let pending: Promise<Result> | undefined;
  return () => {
    pending ??= make().finally(() => (pending = undefined));
    return pending;
  };
}
