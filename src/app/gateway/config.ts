/** What `culvert serve` is told by its flags, checked and complete, and what it finds out where they say nothing. */
import { type ListenAddress as HttpAddress, parseListenAddress } from '../http/listen-address.ts';
import { configError, usageError } from '../../core/errors.ts';
import { EVENT_SINK_PORT, LOG_RECEIVER_PORT } from '../../link/constants.ts';
import { isEndpoint } from '../../link/endpoints.ts';
import { parseJoinUrl } from '../../link/join-url.ts';
import type { JoinMode } from '../../link/provision-context.ts';
import type { RateLimit } from '../../link/token-bucket.ts';
import type { BandwidthLimits } from '../../tunnel/lane/bandwidth.ts';
import type { MetricsAddress } from '../metrics/device-server.ts';
import { metricsAddress } from '../metrics/metrics-options.ts';
import {
  formatListen,
  type ListenAddress,
  listenAddress,
  oneOf,
  portOrNone,
  wholeNumber,
} from '../flag-values.ts';

/** As commander hands them over. */
export interface ServeFlags {
  readonly state?: string;
  readonly interface: string;
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly advertise?: string;
  readonly wgListen: string;
  readonly wgEndpoint?: readonly string[];
  readonly tunnel: string;
  readonly accept: string;
  readonly joinTokensMode: string;
  readonly machineLimit?: string;
  readonly rateLimit: string;
  readonly bandwidthLimit?: string;
  readonly machineBandwidth?: string;
  readonly eventPort: string;
  readonly logPort: string;
  readonly metricsListen: string;
  readonly metricsTokenFile?: string;
  readonly http: string;
  readonly lastEndpoint: boolean;
}

/** Ports on the overlay address; undefined: off. */
export interface ReportConfig {
  readonly eventPort: number | undefined;
  readonly logPort: number | undefined;
}

export interface PageConfig {
  /** HTTP API and status page; undefined: off. */
  readonly http: HttpAddress | undefined;
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

export const SERVE_DEFAULTS = {
  interface: 'siderolink',
  listen: ':4000',
  wgListen: '50180',
  tunnel: 'hint',
  accept: 'auto',
  joinTokensMode: 'legacy-allowed',
  rateLimit: '50',
  eventPort: String(EVENT_SINK_PORT),
  logPort: String(LOG_RECEIVER_PORT),
  metricsListen: '127.0.0.1:9586',
  http: '127.0.0.1:9587',
} as const;

/** A site that comes back after a power failure calls from one address. */
const BURST_SECONDS = 10;
const JOIN_TOKEN_MODES = ['strict', 'legacyAllowed', 'legacy'] as const;
const MAX_INTERFACE_NAME = 15;

/** `ownAddress`: asked for the address under which others reach this machine, when no flag says it. */
export function readServeFlags(
  flags: ServeFlags,
  ownAddress: () => string,
): GatewayConfig & ReportConfig & PageConfig {
  const api = listenAddress('--listen', flags.listen);
  if (api.port === 0 && flags.advertise === undefined) {
    throw usageError('--listen with port 0 needs --advertise', 'machines have to know the port');
  }
  const eventPort = portOrNone('--event-port', flags.eventPort);
  const logPort = portOrNone('--log-port', flags.logPort);
  // Listening on every address takes the port of the overlay address, too.
  if (!isConcrete(api.host) && (api.port === eventPort || api.port === logPort)) {
    throw usageError(
      `--listen ${flags.listen}: port ${api.port} is that of a service on the overlay address`,
      'name an address with it, or another --event-port or --log-port',
    );
  }
  const tls = readTls(flags);
  const apiUrl = readAdvertise(flags.advertise, api, tls !== undefined, ownAddress);
  const wireGuardPort = wholeNumber('--wg-listen', flags.wgListen.replace(/^:/, ''), 1, 65_535);
  const perSecond = wholeNumber('--rate-limit', flags.rateLimit, 1, 1_000_000);
  if (!/^[^\s/]+$/.test(flags.interface) || Buffer.byteLength(flags.interface) > MAX_INTERFACE_NAME) {
    throw usageError(`--interface ${JSON.stringify(flags.interface)}: expected a name of at most 15 bytes`);
  }
  return {
    interfaceName: flags.interface,
    api,
    tls,
    apiUrl,
    wireGuardPort,
    wireGuardEndpoints: readEndpoints(flags.wgEndpoint ?? [], apiUrl, wireGuardPort),
    tunnel: oneOf('--tunnel', flags.tunnel, ['hint', 'forced', 'forbidden']),
    accept: oneOf('--accept', flags.accept, ['auto', 'manual']),
    joinMode: oneOf('--join-tokens-mode', flags.joinTokensMode, JOIN_TOKEN_MODES),
    machineLimit:
      flags.machineLimit === undefined
        ? undefined
        : wholeNumber('--machine-limit', flags.machineLimit, 1, 1_000_000),
    provisionLimit: { perSecond, burst: perSecond * BURST_SECONDS },
    bandwidth: readBandwidth(flags),
    metrics:
      flags.metricsListen === 'none'
        ? undefined
        : metricsAddress(flags.metricsListen, '--metrics-listen', flags.metricsTokenFile ?? ''),
    usesLastEndpoints: flags.lastEndpoint,
    predefinedAddresses: new Map(),
    eventPort,
    logPort,
    http: flags.http === 'none' ? undefined : parseListenAddress(flags.http, '--http'),
  };
}

function readTls({ tlsCert, tlsKey }: ServeFlags): GatewayConfig['tls'] {
  if (tlsCert !== undefined && tlsKey !== undefined) return { certFile: tlsCert, keyFile: tlsKey };
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  throw usageError(`--tls-${tlsCert === undefined ? 'key without --tls-cert' : 'cert without --tls-key'}`);
}

/** Both directions together, with a burst of one second. */
function readBandwidth({ bandwidthLimit, machineBandwidth }: ServeFlags): BandwidthLimits | undefined {
  const limit = (flag: string, text: string) => {
    const bytesPerSecond = (wholeNumber(flag, text, 1, 1_000_000) * 1_000_000) / 8;
    return { bytesPerSecond, burstBytes: bytesPerSecond };
  };
  if (bandwidthLimit === undefined && machineBandwidth === undefined) return undefined;
  return {
    ...(bandwidthLimit === undefined ? {} : { total: limit('--bandwidth-limit', bandwidthLimit) }),
    ...(machineBandwidth === undefined ? {} : { perPeer: limit('--machine-bandwidth', machineBandwidth) }),
  };
}

function readAdvertise(
  text: string | undefined,
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
  const url = parseJoinUrl(full, '--advertise');
  if (url.joinToken !== undefined || url.wantsTunnel) {
    throw configError(
      '--advertise',
      'join token and grpc_tunnel are added later',
      'leave out what follows the host',
    );
  }
  return `${url.isPlaintext ? 'grpc' : 'https'}://${bracketed(url.host)}:${url.port}`;
}

function isConcrete(host: string | undefined): host is string {
  return host !== undefined && host !== '0.0.0.0' && host !== '::';
}

function readEndpoints(flags: readonly string[], apiUrl: string, port: number): readonly string[] {
  if (flags.length === 0) {
    const { host } = parseJoinUrl(apiUrl, '--advertise');
    return [`${bracketed(host)}:${port}`];
  }
  const endpoints = flags.flatMap((flag) => flag.split(',')).map((text) => text.trim());
  const odd = endpoints.find((endpoint) => !isEndpoint(endpoint));
  if (odd !== undefined) {
    throw usageError(
      `--wg-endpoint ${JSON.stringify(odd)}: expected HOST:PORT`,
      `for example gateway.example:${port}, 192.0.2.1:${port} or [2001:db8::1]:${port}`,
    );
  }
  return [...new Set(endpoints)];
}

export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** For people: where the API listens, and how. */
export function describeApi({ api, tls }: Pick<GatewayConfig, 'api' | 'tls'>): string {
  return `${formatListen(api)} ${tls ? 'with TLS' : 'without TLS'}`;
}
