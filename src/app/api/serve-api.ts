/** HTTP API and status page: what those of a gateway and of a device have in common. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import type { TlsPair } from '../../link/tls-files.ts';
import { isLoopback, formatListenAddress, type ListenAddress } from '../http/listen-address.ts';
import type { AdminToken } from './access.ts';
import { type FeedRow, type FeedSource, LiveFeed } from './live-feed.ts';
import { readPageFiles } from './page-files.ts';
import type { Route } from './route.ts';
import { ApiServer } from './server.ts';

export interface ServeApiOptions<Row extends FeedRow> {
  readonly address: ListenAddress;
  readonly tls: TlsPair | undefined;
  readonly token: AdminToken;
  /** Where to find the token. */
  readonly tokenHint: string;
  readonly rowsEvent: string;
  readonly source: FeedSource<Row>;
  readonly routes: (feed: LiveFeed<Row>) => readonly Route[];
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ServedApi {
  /** Where it really listens. */
  readonly address: ListenAddress;
  /** Of the page. */
  readonly url: string;
  /** For new connections from now on. */
  setCertificate(pair: TlsPair): void;
  close(): Promise<void>;
}

/** Watchers are told this often what has changed, and at most a thirtieth of the time is spent on that. */
const TURN_MS = 2_000;
const LEISURE = 30;

/** Rejects with AppError when it cannot listen. */
export async function serveApi<Row extends FeedRow>(options: ServeApiOptions<Row>): Promise<ServedApi> {
  const { source, rowsEvent, clock, logger } = options;
  const feed = new LiveFeed({
    source,
    rowsEvent,
    every: atLeisure,
    wall: () => clock.wall(),
    pause: () => turn(),
    onError: (error) => logger.log('error', 'live_feed_failed', { reason: String(error) }),
  });
  const server = new ApiServer({
    ...options,
    routes: options.routes(feed),
    files: readPageFiles(),
    onChange: () => feed.refresh(),
  });
  const address = await server.listen();
  const text = formatListenAddress(address);
  logger.log('info', 'http_served', { address: text });
  if (!isLoopback(address.host) && !options.tls) {
    logger.log('warn', 'http_exposed', { address: text, reason: 'not a loopback address, and no TLS' });
  }
  return {
    address,
    url: pageUrl(address, options.tls !== undefined),
    setCertificate: (pair) => server.setCertificate(pair),
    close: () => server.close(),
  };
}

/** One that a browser on this machine can open. */
function pageUrl({ host, port }: ListenAddress, hasTls: boolean): string {
  const isAny = host === '0.0.0.0' || host === '::';
  const authority = isAny ? `localhost:${port}` : formatListenAddress({ host, port });
  return `${hasTls ? 'https' : 'http'}://${authority}/`;
}

function atLeisure(task: () => void): () => void {
  let timer = setTimeout(run, TURN_MS);
  function run(): void {
    const startMs = performance.now();
    task();
    timer = setTimeout(run, Math.max(TURN_MS, LEISURE * (performance.now() - startMs)));
  }
  return () => clearTimeout(timer);
}
