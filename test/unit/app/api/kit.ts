// A gateway with its HTTP API on loopback, and whoever calls it.
import { request } from 'node:http';
import type { TestContext } from 'node:test';
import { AdminToken } from '../../../../src/app/api/access.ts';
import { systemRandom } from '../../../../src/core/random.ts';
import { eventually } from '../../../kit/eventually.ts';
import {
  startTestGateway,
  temporaryDirectory,
  type TestGateway,
  type TestGatewayOptions,
} from '../gateway/kit.ts';

export interface TestApi extends TestGateway {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  readonly token: AdminToken;
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  /** Ends with the test. */
  watch(path: string): Promise<Watcher>;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly headers: Headers;
  /** JSON, or the text as it came. */
  readonly body: unknown;
}

export async function startApi(t: TestContext, options: TestGatewayOptions = {}): Promise<TestApi> {
  const token = AdminToken.ofDirectory(temporaryDirectory(t), systemRandom);
  const gateway = await startTestGateway(t, {
    ...options,
    parts: { http: { address: { host: '127.0.0.1', port: 0 }, token }, ...options.parts },
  });
  const { page } = gateway.running.admin.status();
  if (page === null) throw new Error('there is no page');
  const api = `${page}api/v1`;
  const authorization = `Bearer ${token.reveal()}`;
  return {
    ...gateway,
    url: page,
    token,
    call: async (method, path, body) => {
      const response = await fetch(`${api}${path}`, {
        method,
        headers: { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const type = response.headers.get('content-type') ?? '';
      const text = await response.text();
      return {
        status: response.status,
        type,
        headers: response.headers,
        body: type.includes('json') ? JSON.parse(text) : text,
      };
    },
    watch: (path) => Watcher.open(t, `${api}${path}`, authorization),
  };
}

export interface SentEvent {
  readonly name: string;
  readonly id: string | undefined;
  readonly data: unknown;
}

/** A client of server-sent events. */
export class Watcher {
  readonly events: SentEvent[] = [];
  isEnded = false;
  #text = '';

  static async open(t: TestContext, url: string, authorization: string): Promise<Watcher> {
    const watcher = new Watcher();
    const abort = new AbortController();
    t.after(() => abort.abort());
    const response = await fetch(url, { headers: { authorization }, signal: abort.signal });
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    void watcher.#read(response);
    return watcher;
  }

  of(name: string): unknown[] {
    return this.events.filter((event) => event.name === name).map(({ data }) => data);
  }

  until(what: string, probe: () => boolean): Promise<true> {
    return eventually(what, () => probe() || undefined);
  }

  async #read(response: Response): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        this.#text += decoder.decode(chunk, { stream: true });
        const blocks = this.#text.split('\n\n');
        this.#text = blocks.pop() ?? '';
        for (const block of blocks) this.#take(block);
      }
    } catch {
      // The test is over.
    }
    this.isEnded = true;
  }

  #take(block: string): void {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    const name = field('event');
    if (name !== undefined)
      this.events.push({ name, id: field('id'), data: JSON.parse(field('data') ?? 'null') });
  }
}

/** A request as a stranger may write it: any header, any path. */
export function raw(
  url: string,
  options: { method?: string; path?: string; headers?: Record<string, string>; body?: string },
): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: '127.0.0.1',
        port,
        method: options.method ?? 'GET',
        path: options.path ?? '/',
        headers: options.headers,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
      },
    );
    call.on('error', reject);
    call.end(options.body);
  });
}
