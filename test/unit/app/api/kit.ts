// A gateway or a device with its HTTP API on loopback, and whoever calls it.
import { request } from 'node:http';
import type { TestContext } from 'node:test';
import { AdminToken } from '../../../../src/app/api/access.ts';
import { serveDeviceApi } from '../../../../src/app/api/device-api.ts';
import type { ShownDevice } from '../../../../src/app/api/device-views.ts';
import type { Engine } from '../../../../src/app/runtime.ts';
import { systemClock } from '../../../../src/core/clock.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import { systemRandom } from '../../../../src/core/random.ts';
import type { PeerState } from '../../../../src/tunnel/config.ts';
import { eventually } from '../../../kit/eventually.ts';
import { meteredDevice, meteredOptions } from '../../../kit/metrics.ts';
import {
  startTestGateway,
  temporaryDirectory,
  type TestGateway,
  type TestGatewayOptions,
} from '../gateway/kit.ts';

export interface ApiClient {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  readonly token: AdminToken;
  call(this: void, method: string, path: string, body?: unknown): Promise<Answer>;
  /** Ends with the test. */
  watch(this: void, path: string): Promise<Watcher>;
}

export type TestApi = TestGateway & ApiClient;

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
  return { ...gateway, ...apiClient(t, page, token) };
}

export function apiClient(t: TestContext, url: string, token: AdminToken): ApiClient {
  const api = `${url}api/v1`;
  const authorization = `Bearer ${token.reveal()}`;
  return {
    url,
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

/** A device that only remembers, with its page. */
export interface TestDevice extends ApiClient {
  /** Assign to change them. */
  readonly shown: { -readonly [Name in keyof ShownDevice]: ShownDevice[Name] } & { peers: PeerState[] };
}

export async function startDeviceApi(
  t: TestContext,
  { peers = [], names = new Map(), engine = meteredOptions().engine }: Partial<TestDeviceOptions> = {},
): Promise<TestDevice> {
  const token = AdminToken.make(systemRandom);
  const shown = {
    ...meteredDevice([]),
    listenPort: 51_820,
    mtu: 1_420,
    peers: [...peers],
    peerStates: () => shown.peers,
    get peerCount(): number {
      return shown.peers.length;
    },
  };
  const api = await serveDeviceApi({
    address: { host: '127.0.0.1', port: 0 },
    token,
    device: shown,
    engine,
    facts: { name: 'wg0', version: '1.2.3', startedAtMs: Date.now() - 3_725_000, names },
    clock: systemClock,
    logger: silentLogger,
  });
  t.after(() => api.close());
  return { shown, ...apiClient(t, api.url, token) };
}

export interface TestDeviceOptions {
  readonly peers: readonly PeerState[];
  readonly names: ReadonlyMap<string, string>;
  readonly engine: () => Engine;
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
