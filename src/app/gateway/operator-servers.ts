/** What operators and their programs reach over HTTP: the API with its status page, and the metrics. */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import type { Gateway } from '../../link/gateway.ts';
import type { GrpcFront } from '../../link/grpc-front.ts';
import type { StreamTable } from '../../link/stream-table.ts';
import type { TlsFiles } from '../../link/tls-files.ts';
import { streamsView } from '../api/datapath-view.ts';
import { serveGatewayApi } from '../api/gateway-api.ts';
import type { ServedApi } from '../api/serve-api.ts';
import { isLoopback } from '../http/listen-address.ts';
import { type MetricsAddress, type MetricsServer, serveMetrics } from '../metrics/device-server.ts';
import { gatewayMetrics } from '../metrics/gateway-metrics.ts';
import { processMetrics } from '../metrics/process-metrics.ts';
import type { Admin } from './admin.ts';
import type { HttpPart } from './live-config.ts';
import type { Overlay } from './overlay.ts';
import { Replaceable } from './replaceable.ts';
import type { Reports } from './reports.ts';

/** What they show. */
export interface Operated {
  readonly overlay: Overlay;
  readonly streams: StreamTable;
  readonly gateway: Gateway;
  readonly reports: Reports;
  readonly front: GrpcFront;
  readonly tls: TlsFiles | undefined;
  /** There by the time a server is opened. */
  readonly admin: () => Admin;
  readonly clock: Clock;
  readonly logger: Logger;
}

export type HttpServer = Replaceable<HttpPart, ServedApi>;

export function httpServer({ overlay, streams, tls, admin, clock, logger }: Operated): HttpServer {
  return new Replaceable((http) =>
    serveGatewayApi({
      ...http,
      // On loopback nobody listens in, and no certificate has its name.
      tls: isLoopback(http.address.host) ? undefined : tls?.pair,
      admin: admin(),
      datapath: () => ({
        device: overlay.view(),
        streams: streamsView(streams.counters, streams.openStreams),
      }),
      clock,
      logger,
    }),
  );
}

export function metricsServer({
  overlay,
  streams,
  gateway,
  reports: { events, logs },
  front,
  admin,
  isStopping,
}: Operated & { readonly isStopping: () => boolean }): Replaceable<MetricsAddress, MetricsServer> {
  const problems = () => [
    ...(isStopping() ? ['the gateway is shutting down'] : []),
    ...(gateway.storeProblem ? [gateway.storeProblem.message] : []),
    ...(overlay.isUp() ? [] : [`interface ${overlay.name} is down`]),
  ];
  const registry = gatewayMetrics({
    provisions: gateway.counters,
    streams: streams.counters,
    openStreams: () => streams.openStreams,
    connections: () => front.connections,
    events,
    logs,
    machines: () => admin().machines(),
    isReady: () => problems().length === 0,
  });
  // Watching the event loop costs something: where there are no metrics nobody does.
  let ofProcess: (() => Promise<string>) | undefined;
  return new Replaceable((address) => {
    const page = (ofProcess ??= processMetrics());
    const collect = async (): Promise<readonly Buffer[]> => [
      Buffer.from(await registry.metrics()),
      ...(await overlay.metrics()),
      Buffer.from(await page()),
    ];
    return serveMetrics(address, { collect, problems });
  });
}
