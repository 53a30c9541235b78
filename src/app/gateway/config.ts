/** What `culvert serve` is told, checked and complete, and what it finds out where nobody says it. */
import { configError, usageError } from '../../core/errors.ts';
import { parseJoinUrl } from '../../link/join-url.ts';
import type { JoinMode } from '../../link/provision-context.ts';
import type { RateLimit } from '../../link/token-bucket.ts';
import type { BandwidthLimits } from '../../tunnel/lane/bandwidth.ts';
import { type Effective, placeOf } from '../config/effective.ts';
import { secretOf } from '../config/secret.ts';
import { formatListen, type ListenAddress } from '../flag-values.ts';
import type { ListenAddress as HttpAddress } from '../http/listen-address.ts';
import type { MetricsAddress } from '../metrics/device-server.ts';
import { guardedAddress } from '../metrics/metrics-options.ts';
import type { Tuning } from '../tuning.ts';
import type { ServeTable, ServeValues } from './settings.ts';

/** Ports on the overlay address; undefined: off. */
export interface ReportConfig {
  readonly eventPort: number | undefined;
  readonly logPort: number | undefined;
}

export interface PageConfig {
  /** HTTP API and status page; undefined: off. */
  readonly http: HttpAddress | undefined;
  /** Of the admin token; undefined: in the state directory. */
  readonly httpTokenFile: string | undefined;
}

export interface GatewayConfig {
  readonly interfaceName: string;
  readonly api: ListenAddress;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** `https://host:port` or `grpc://host:port`: where machines find the API. */
  readonly apiUrl: string;
  /** UDP, all addresses. */
  readonly wireGuardPort: number;
  /** `host:port`, preferred first. */
  readonly wireGuardEndpoints: readonly string[];
  readonly tunnel: 'hint' | 'forced' | 'forbidden';
  readonly accept: 'auto' | 'manual';
  readonly joinMode: JoinMode;
  readonly machineLimit: number | undefined;
  readonly provisionLimit: RateLimit;
  /** Undefined: none. */
  readonly bandwidth: BandwidthLimits | undefined;
  readonly metrics: MetricsAddress | undefined;
  readonly usesLastEndpoints: boolean;
  /** Node addresses that belong to a UUID from the start. */
  readonly predefinedAddresses: ReadonlyMap<string, string>;
}

/** A site that comes back after a power failure calls from one address. */
const BURST_SECONDS = 10;

export interface LaneConfig {
  /** How packets are moved (tuning.ts). */
  readonly lanes: Tuning['lanes'];
}

export type ServeConfig = GatewayConfig & ReportConfig & PageConfig & LaneConfig;

/**
 * Where a setting was set, for errors: `--listen`, `config.yaml:7: listen`. `ownAddress` is asked for the address under
 * which others reach this machine, when nobody says it. Throws AppError when settings contradict each other.
 */
export function gatewayConfig(
  { values, table, givens }: Effective<ServeTable>,
  ownAddress: () => string,
): ServeConfig {
  const place = (key: keyof ServeTable) => placeOf(table, givens, key);
  const { listen: api, eventPort, logPort } = values;
  if (api.port === 0 && values.advertise === undefined) {
    throw usageError(`${place('listen')} with port 0 needs --advertise`, 'machines have to know the port');
  }
  // Listening on every address takes the port of the overlay address, too.
  if (!isConcrete(api.host) && (api.port === eventPort || api.port === logPort)) {
    throw usageError(
      `${place('listen')} ${formatListen(api)}: port ${api.port} is that of a service on the overlay address`,
      'name an address with it, or another --event-port or --log-port',
    );
  }
  const tls = readTls(values, place);
  const apiUrl = readAdvertise(values.advertise, place('advertise'), api, tls !== undefined, ownAddress);
  const { wgListen: wireGuardPort, rateLimit: perSecond, metricsListen } = values;
  const endpoints = new Set(values.wgEndpoint.flat());
  return Object.freeze({
    interfaceName: values.interface,
    api,
    tls,
    apiUrl,
    wireGuardPort,
    wireGuardEndpoints:
      endpoints.size > 0
        ? [...endpoints]
        : [`${bracketed(parseJoinUrl(apiUrl, '--advertise').host)}:${wireGuardPort}`],
    tunnel: values.tunnel,
    accept: values.accept,
    joinMode: values.joinTokensMode,
    machineLimit: values.machineLimit,
    provisionLimit: { perSecond, burst: perSecond * BURST_SECONDS },
    bandwidth: readBandwidth(values),
    metrics:
      metricsListen &&
      guardedAddress(
        metricsListen,
        place('metricsListen'),
        values.metricsTokenFile,
        place('metricsTokenFile'),
      ),
    usesLastEndpoints: values.lastEndpoint,
    predefinedAddresses: new Map(),
    eventPort,
    logPort,
    http: values.http,
    httpTokenFile: values.httpTokenFile,
    lanes: values.lanes,
  });
}

/** For an empty store; undefined: one is made up. */
export function firstToken({ values, table, givens }: Effective<ServeTable>): string | undefined {
  return secretOf(table, givens, values, 'joinToken', 'joinTokenFile');
}

function readTls(
  { tlsCert, tlsKey }: ServeValues,
  place: (key: keyof ServeTable) => string,
): GatewayConfig['tls'] {
  if (tlsCert !== undefined && tlsKey !== undefined) return { certFile: tlsCert, keyFile: tlsKey };
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  const [given, missing] =
    tlsCert === undefined ? (['tlsKey', 'tlsCert'] as const) : (['tlsCert', 'tlsKey'] as const);
  throw usageError(`${place(given)} without ${place(missing)}`);
}

/** Both directions together, with a burst of one second. */
function readBandwidth({ bandwidthLimit, machineBandwidth }: ServeValues): BandwidthLimits | undefined {
  const limit = (megabits: number) => {
    const bytesPerSecond = (megabits * 1_000_000) / 8;
    return { bytesPerSecond, burstBytes: bytesPerSecond };
  };
  if (bandwidthLimit === undefined && machineBandwidth === undefined) return undefined;
  return {
    ...(bandwidthLimit === undefined ? {} : { total: limit(bandwidthLimit) }),
    ...(machineBandwidth === undefined ? {} : { perPeer: limit(machineBandwidth) }),
  };
}

function readAdvertise(
  text: string | undefined,
  place: string,
  api: ListenAddress,
  hasTls: boolean,
  ownAddress: () => string,
): string {
  const scheme = hasTls ? 'https' : 'grpc';
  if (text === undefined) {
    const host = isConcrete(api.host) ? api.host : ownAddress();
    return `${scheme}://${bracketed(host)}:${api.port}`;
  }
  // A front that ends TLS makes it https although we speak plain HTTP/2, so a scheme that is there is believed.
  const full = text.includes('://') ? text : `${scheme}://${text}`;
  const url = parseJoinUrl(full, place);
  if (url.joinToken !== undefined || url.wantsTunnel) {
    throw configError(place, 'join token and grpc_tunnel are added later', 'leave out what follows the host');
  }
  return `${url.isPlaintext ? 'grpc' : 'https'}://${bracketed(url.host)}:${url.port}`;
}

function isConcrete(host: string | undefined): host is string {
  return host !== undefined && host !== '0.0.0.0' && host !== '::';
}

export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** For people: where the API listens, and how. */
export function describeApi({ api, tls }: Pick<GatewayConfig, 'api' | 'tls'>): string {
  return `${formatListen(api)} ${tls ? 'with TLS' : 'without TLS'}`;
}
