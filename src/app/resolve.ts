/** Host names of endpoints to addresses, with the patience of `wg`. */
import { AppError, usageError } from '../core/errors.ts';
import { type Address, parseAddress } from '../core/ip.ts';
import type { Endpoint } from '../tunnel/endpoint.ts';
import type { Zones } from '../tunnel/uapi-change.ts';
import type { HostPort } from './wg-conf.ts';
import { formatHostPort } from './wg-conf-print.ts';

export interface Resolver {
  /** getaddrinfo(3): the preferred address. Rejects with an error whose `code` is Node's. */
  readonly lookup: (host: string) => Promise<string>;
  readonly zones: Zones;
  readonly sleep: (ms: number) => Promise<void>;
  /** How often to try again; see resolutionRetries. */
  readonly retries: number;
  readonly onRetry: (message: string) => void;
}

const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 20_000;
/** No name or no address of it: asking again is pointless. Everything else may pass. */
const PERMANENT: readonly unknown[] = ['ENOTFOUND', 'EAI_FAIL'];

export async function resolveEndpoint(endpoint: HostPort, resolver: Resolver): Promise<Endpoint> {
  const [host = '', zone] = endpoint.host.split('%');
  const literal = parseAddress(host);
  const address = literal ?? (await lookUp(endpoint, resolver));
  let scope = 0;
  if (literal && zone !== undefined) {
    const index = /^\d+$/.test(zone) ? Number(zone) : resolver.zones.index(zone);
    if (index === undefined)
      throw new AppError('not_found', `Endpoint ${formatHostPort(endpoint)}: there is no interface ${zone}`);
    scope = index;
  }
  return { address, port: endpoint.port, scope, carrier: 0 };
}

async function lookUp(endpoint: HostPort, { lookup, retries, sleep, onRetry }: Resolver): Promise<Address> {
  let left = retries;
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(MAX_DELAY_MS, delayMs * 1.2)) {
    try {
      const address = parseAddress(await lookup(endpoint.host));
      if (address) return address;
      throw new AppError('io', `Endpoint ${formatHostPort(endpoint)}: the resolver gave no address`);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const reason = `Endpoint ${formatHostPort(endpoint)}: ${code ?? message}`;
      if (PERMANENT.includes(code) || error instanceof AppError || left-- <= 0)
        throw new AppError('not_found', reason, {
          cause: error,
          hint: 'check the name, or whether this machine reaches its DNS servers',
        });
      onRetry(`${reason}; trying again in ${(delayMs / 1000).toFixed(2)} seconds`);
      await sleep(delayMs);
    }
  }
}

/** WG_ENDPOINT_RESOLUTION_RETRIES of `wg`: a number or `infinity`, 15 by default. */
export function resolutionRetries(env: Readonly<Record<string, string | undefined>>): number {
  const text = env['WG_ENDPOINT_RESOLUTION_RETRIES'];
  if (text === undefined) return 15;
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  if (!/^\d{1,9}$/.test(text))
    throw usageError(`WG_ENDPOINT_RESOLUTION_RETRIES=${text}: expected a number or infinity`);
  return Number(text);
}
