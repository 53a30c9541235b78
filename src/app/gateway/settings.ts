/** The settings of `culvert serve`: flags, keys of a CulvertServeConfig, CULVERT_SERVE_*. */
import { usageError } from '../../core/errors.ts';
import { EVENT_SINK_PORT, LOG_RECEIVER_PORT } from '../../link/constants.ts';
import { isEndpoint } from '../../link/endpoints.ts';
import type { JoinMode } from '../../link/provision-context.ts';
import { parseRelayTarget } from '../../link/relay-server.ts';
import { LOG_SETTINGS } from '../cli-log.ts';
import type { Effective } from '../config/effective.ts';
import { anyText, hidden, list, optional, setting, toggle, type ValuesOf } from '../config/setting.ts';
import { type CommandSettings, readSources, type Sources } from '../config/sources.ts';
import { listenAddress, oneOf, portOrNone, wholeNumber } from '../flag-values.ts';
import { type ListenAddress as HttpAddress, parseListenAddress } from '../http/listen-address.ts';
import { TUNING_SETTINGS } from '../tuning-settings.ts';

export const SERVE_KIND = 'CulvertServeConfig';

const TUNNEL_MODES = ['hint', 'forced', 'forbidden'] as const;
const ACCEPT_MODES = ['auto', 'manual'] as const;
const JOIN_TOKEN_MODES = ['strict', 'legacyAllowed', 'legacy'] as const satisfies readonly JoinMode[];

export const SERVE_SETTINGS = {
  state: optional(
    {
      flag: '--state <dir>',
      env: 'CULVERT_SERVE_STATE',
      description: 'keys, tokens and machines (root: /var/lib/culvert, else the XDG state directory)',
      example: '/var/lib/culvert',
      change: 'restart',
    },
    anyText,
  ),
  listen: setting(
    {
      flag: '--listen <[address]:port>',
      env: 'CULVERT_SERVE_LISTEN',
      description: 'gRPC API',
      default: ':4000',
      change: 'restart',
    },
    listenAddress,
  ),
  advertise: optional(
    {
      flag: '--advertise <url>',
      env: 'CULVERT_SERVE_ADVERTISE',
      description: 'where machines find the API (default: the address of this machine)',
      example: 'https://gateway.example',
      change: 'live',
    },
    anyText,
  ),
  tlsCert: optional(
    {
      flag: '--tls-cert <file>',
      env: 'CULVERT_SERVE_TLS_CERT',
      description: 'certificate chain, PEM; read again when it changes',
      example: '/etc/culvert/chain.pem',
      change: 'live',
    },
    anyText,
  ),
  tlsKey: optional(
    {
      flag: '--tls-key <file>',
      env: 'CULVERT_SERVE_TLS_KEY',
      description: 'its key, PEM',
      example: '/etc/culvert/key.pem',
      change: 'live',
    },
    anyText,
  ),
  wgListen: setting(
    {
      flag: '--wg-listen <port>',
      env: 'CULVERT_SERVE_WG_LISTEN',
      description: 'WireGuard UDP port',
      default: '50180',
      change: 'restart',
    },
    (place, text) => wholeNumber(place, text.replace(/^:/, ''), 1, 65_535),
  ),
  wgEndpoint: list(
    {
      flag: '--wg-endpoint <host:port>',
      env: 'CULVERT_SERVE_WG_ENDPOINT',
      description:
        'where machines find WireGuard, preferred first; may be repeated (default: host of --advertise)',
      example: 'gateway.example:50180',
      change: 'live',
    },
    (place, text) => text.split(',').map((one) => endpoint(place, one.trim())),
  ),
  tunnel: setting(
    {
      flag: '--tunnel <mode>',
      env: 'CULVERT_SERVE_TUNNEL',
      description: 'WireGuard in gRPC: hint (as the machine asks), forced, forbidden',
      default: 'hint',
      change: 'live',
    },
    (place, text) => oneOf(place, text, TUNNEL_MODES),
  ),
  accept: setting(
    {
      flag: '--accept <mode>',
      env: 'CULVERT_SERVE_ACCEPT',
      description: 'auto, or manual: new machines wait for "culvert machines accept"',
      default: 'auto',
      change: 'live',
    },
    (place, text) => oneOf(place, text, ACCEPT_MODES),
  ),
  joinToken: optional(
    {
      env: 'CULVERT_JOIN_TOKEN',
      description: 'the first join token, at the first start (default: a new one is made)',
      example: 'a-secret-of-your-own',
      change: 'first start',
      redact: hidden,
    },
    anyText,
  ),
  joinTokenFile: optional(
    {
      flag: '--join-token-file <file>',
      env: 'CULVERT_JOIN_TOKEN_FILE',
      description: 'holds the first join token, at the first start (default: a new one is made)',
      example: '/etc/culvert/join-token',
      change: 'first start',
    },
    anyText,
  ),
  joinTokensMode: setting(
    {
      flag: '--join-tokens-mode <mode>',
      env: 'CULVERT_SERVE_JOIN_TOKENS_MODE',
      description: 'strict, legacy-allowed or legacy, as in Omni',
      default: 'legacy-allowed',
      change: 'live',
    },
    (place, text) => oneOf(place, text, JOIN_TOKEN_MODES),
  ),
  machineLimit: optional(
    {
      flag: '--machine-limit <n>',
      env: 'CULVERT_SERVE_MACHINE_LIMIT',
      description: 'most machines (default: no limit)',
      example: '1000',
      change: 'live',
    },
    upToAMillion,
  ),
  rateLimit: setting(
    {
      flag: '--rate-limit <n>',
      env: 'CULVERT_SERVE_RATE_LIMIT',
      description: 'Provision calls a second from one address',
      default: '50',
      change: 'live',
    },
    upToAMillion,
  ),
  bandwidthLimit: optional(
    {
      flag: '--bandwidth-limit <mbit/s>',
      env: 'CULVERT_SERVE_BANDWIDTH_LIMIT',
      description: 'of all machines together (default: none)',
      example: '1000',
      change: 'live',
    },
    upToAMillion,
  ),
  machineBandwidth: optional(
    {
      flag: '--machine-bandwidth <mbit/s>',
      env: 'CULVERT_SERVE_MACHINE_BANDWIDTH',
      description: 'of each machine (default: none)',
      example: '100',
      change: 'live',
    },
    upToAMillion,
  ),
  eventPort: setting(
    {
      flag: '--event-port <port>',
      env: 'CULVERT_SERVE_EVENT_PORT',
      description: 'event sink on the overlay address, or none',
      default: String(EVENT_SINK_PORT),
      change: 'restart',
    },
    portOrNone,
  ),
  logPort: setting(
    {
      flag: '--log-port <port>',
      env: 'CULVERT_SERVE_LOG_PORT',
      description: 'kernel logs on the overlay address, or none',
      default: String(LOG_RECEIVER_PORT),
      change: 'restart',
    },
    portOrNone,
  ),
  metricsListen: setting(
    {
      flag: '--metrics-listen <[address]:port>',
      env: 'CULVERT_SERVE_METRICS_LISTEN',
      description: '/metrics, /healthz, /readyz; or none',
      default: '127.0.0.1:9586',
      change: 'live',
    },
    httpAddressOrNone,
  ),
  metricsTokenFile: optional(
    {
      flag: '--metrics-token-file <file>',
      env: 'CULVERT_SERVE_METRICS_TOKEN_FILE',
      description:
        'whoever reads the metrics shows this token (Authorization: Bearer); a must beyond loopback',
      example: '/etc/culvert/metrics-token',
      change: 'live',
      isFile: true,
    },
    anyText,
  ),
  http: setting(
    {
      flag: '--http <[address]:port>',
      env: 'CULVERT_SERVE_HTTP',
      description: 'HTTP API and status page; or none',
      default: '127.0.0.1:9587',
      change: 'live',
    },
    httpAddressOrNone,
  ),
  httpTokenFile: optional(
    {
      flag: '--http-token-file <file>',
      env: 'CULVERT_SERVE_HTTP_TOKEN_FILE',
      description: 'holds the admin token of the HTTP API (default: http-token of the state directory)',
      example: '/etc/culvert/http-token',
      change: 'live',
      isFile: true,
    },
    anyText,
  ),
  lastEndpoint: toggle({
    flag: '--no-last-endpoint',
    env: 'CULVERT_SERVE_LAST_ENDPOINT',
    description: 'after a restart wait for machines instead of calling them where they were',
    default: 'true',
    change: 'live',
  }),
  interface: setting(
    {
      flag: '--interface <name>',
      env: 'CULVERT_SERVE_INTERFACE',
      description: 'of the overlay',
      default: 'siderolink',
      change: 'restart',
    },
    interfaceName,
  ),
  relayTo: optional(
    {
      flag: '--relay-to <udp://host:port>',
      env: 'CULVERT_SERVE_RELAY_TO',
      description: 'let "culvert relay" reach this WireGuard server',
      example: 'udp://10.0.0.1:51820',
      change: 'restart',
    },
    (place, text) => ({ text, target: parseRelayTarget(text, place) }),
  ),
  ...TUNING_SETTINGS,
  ...LOG_SETTINGS,
};

export const SERVE: CommandSettings<ServeTable> = {
  command: 'serve',
  kind: SERVE_KIND,
  table: SERVE_SETTINGS,
  others: {},
};

/** What is told now: `readSources`. */
export function readServeSettings(sources: Sources, warn?: (text: string) => void): Effective<ServeTable> {
  return readSources(sources, SERVE, warn).settings;
}

export type ServeTable = typeof SERVE_SETTINGS;
export type ServeValues = ValuesOf<ServeTable>;

function upToAMillion(place: string, text: string): number {
  return wholeNumber(place, text, 1, 1_000_000);
}

function httpAddressOrNone(place: string, text: string): HttpAddress | undefined {
  return text === 'none' ? undefined : parseListenAddress(text, place);
}

function endpoint(place: string, text: string): string {
  if (isEndpoint(text)) return text;
  throw usageError(
    `${place} ${JSON.stringify(text)}: expected HOST:PORT`,
    'for example gateway.example:50180, 192.0.2.1:50180 or [2001:db8::1]:50180',
  );
}

const MAX_INTERFACE_NAME = 15;

function interfaceName(place: string, text: string): string {
  if (/^[^\s/]+$/.test(text) && Buffer.byteLength(text) <= MAX_INTERFACE_NAME) return text;
  throw usageError(`${place} ${JSON.stringify(text)}: expected a name of at most 15 bytes`);
}
