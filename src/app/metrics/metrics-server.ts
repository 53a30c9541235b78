/** `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts and balances. Plain HTTP. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { AppError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { formatListen, type ListenAddress } from '../flag-values.ts';

export interface MetricsServerOptions {
  readonly registry: Registry;
  /** What keeps it from serving; empty: ready. */
  readonly problems: () => readonly string[];
  readonly logger: Logger;
}

const MAX_CONNECTIONS = 32;
const REQUEST_TIMEOUT_MS = 10_000;

export class MetricsServer {
  readonly #options: MetricsServerOptions;
  readonly #server: Server;

  constructor(options: MetricsServerOptions) {
    this.#options = options;
    this.#server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
      const path = request.url?.split('?')[0] ?? '';
      this.#serve(request.method ?? '', path, response).catch((error: unknown) => {
        options.logger.log('error', 'metrics_failed', { reason: String(error) });
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Rejects with AppError when it cannot. */
  listen(at: ListenAddress): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          new AppError(
            error.code === 'EADDRINUSE' ? 'in_use' : 'io',
            `metrics: cannot listen on ${formatListen(at)}: ${error.message}`,
            { hint: '--metrics-listen names another address, or "none"', cause: error },
          ),
        ),
      );
      const bound = () => resolve(this.#server.address() as AddressInfo);
      if (at.host === undefined) this.#server.listen(at.port, bound);
      else this.#server.listen(at.port, at.host, bound);
    });
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(method: string, path: string, response: ServerResponse): Promise<void> {
    if (method !== 'GET' && method !== 'HEAD') {
      text(response, 405, 'only GET\n');
      return;
    }
    switch (path) {
      case '/metrics': {
        const { registry } = this.#options;
        const body = await registry.metrics();
        response.writeHead(200, { 'content-type': registry.contentType }).end(body);
        return;
      }
      case '/healthz':
        text(response, 200, 'ok\n');
        return;
      case '/readyz': {
        const problems = this.#options.problems();
        if (problems.length === 0) text(response, 200, 'ready\n');
        else text(response, 503, problems.map((problem) => `${problem}\n`).join(''));
        return;
      }
      default:
        text(response, 404, 'there are /metrics, /healthz and /readyz\n');
    }
  }
}

function text(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(body);
}
