/** Whether and how a device shows its metrics: flags of `culvert up`, and their twins in the environment. */
import { Option, type Command } from 'commander';
import { usageError } from '../../core/errors.ts';
import { BearerToken } from '../http/bearer-token.ts';
import {
  formatListenAddress,
  isLoopback,
  type ListenAddress,
  parseListenAddress,
} from '../http/listen-address.ts';
import type { MetricsAddress } from './device-server.ts';

/** As flags or environment have them; absent = default. */
export interface MetricsFlags {
  readonly metrics?: string;
  readonly metricsTokenFile?: string;
  readonly metricsCompat?: string;
  readonly metricsPerPeer?: string;
}

export interface MetricsOptions {
  readonly address: MetricsAddress;
  readonly withMindFlavor: boolean;
  readonly perPeer: 'auto' | 'on' | 'off';
}

/** Undefined when no metrics are wanted. Throws usage errors. */
export function readMetricsFlags(flags: MetricsFlags): MetricsOptions | undefined {
  const { metrics = '', metricsTokenFile = '', metricsCompat = '', metricsPerPeer = 'auto' } = flags;
  if (metrics === '') return undefined;
  if (metricsCompat !== '' && metricsCompat !== 'mindflavor')
    throw usageError(`metrics compatibility ${JSON.stringify(metricsCompat)}: expected mindflavor`);
  if (metricsPerPeer !== 'auto' && metricsPerPeer !== 'on' && metricsPerPeer !== 'off')
    throw usageError(`metrics per peer ${JSON.stringify(metricsPerPeer)}: expected auto, on or off`);
  return {
    address: metricsAddress(metrics, 'metrics address', metricsTokenFile),
    withMindFlavor: metricsCompat === 'mindflavor',
    perPeer: metricsPerPeer,
  };
}

/** `tokenFile` empty: none. `place` is the flag, for the error. */
function metricsAddress(text: string, place: string, tokenFile: string): MetricsAddress {
  const file = tokenFile === '' ? undefined : tokenFile;
  return guardedAddress(parseListenAddress(text, place), place, file, 'metrics token');
}

/**
 * An address other than loopback needs a token: the page names peers and where they are. The places are flags or keys,
 * for the errors.
 */
export function guardedAddress(
  address: ListenAddress,
  place: string,
  tokenFile: string | undefined,
  tokenPlace: string,
): MetricsAddress {
  if (tokenFile !== undefined) return { ...address, token: BearerToken.ofFile(tokenFile, tokenPlace) };
  if (isLoopback(address.host)) return address;
  throw usageError(
    `${place} ${JSON.stringify(formatListenAddress(address))}: everybody who reaches it could read who the peers are`,
    'give --metrics-token-file (CULVERT_METRICS_TOKEN_FILE), or an address of loopback',
  );
}

/** The environment twins of the flags. */
export function metricsFlagsOf(env: Readonly<Record<string, string | undefined>>): MetricsFlags {
  const { CULVERT_METRICS, CULVERT_METRICS_TOKEN_FILE, CULVERT_METRICS_COMPAT, CULVERT_METRICS_PER_PEER } =
    env;
  return {
    ...(CULVERT_METRICS ? { metrics: CULVERT_METRICS } : {}),
    ...(CULVERT_METRICS_TOKEN_FILE ? { metricsTokenFile: CULVERT_METRICS_TOKEN_FILE } : {}),
    ...(CULVERT_METRICS_COMPAT ? { metricsCompat: CULVERT_METRICS_COMPAT } : {}),
    ...(CULVERT_METRICS_PER_PEER ? { metricsPerPeer: CULVERT_METRICS_PER_PEER } : {}),
  };
}

export function addMetricsFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--metrics <address>',
        'serve Prometheus metrics there: 127.0.0.1:9586, or a port on loopback',
      ).env('CULVERT_METRICS'),
    )
    .addOption(
      new Option(
        '--metrics-token-file <file>',
        'whoever reads the metrics shows this token (Authorization: Bearer); a must beyond loopback',
      ).env('CULVERT_METRICS_TOKEN_FILE'),
    )
    .addOption(
      new Option('--metrics-compat <family>', 'add the names of another exporter: mindflavor').env(
        'CULVERT_METRICS_COMPAT',
      ),
    )
    .addOption(
      new Option('--metrics-per-peer <when>', 'auto (up to 2000 peers), on or off').env(
        'CULVERT_METRICS_PER_PEER',
      ),
    );
}
