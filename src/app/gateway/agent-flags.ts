/** The flags of siderolink-agent and of `talosctl siderolink-launch`. */
import { usageError } from '../../core/errors.ts';
import { formatAddress, formatSocketAddress, parseAddress, parseSocketAddress } from '../../core/ip.ts';
import { isOverlayAddress } from '../../link/addresses.ts';
import { type ListenAddress, listenAddress } from '../flag-values.ts';
import { type GoFlag, parseGoFlags } from '../go-flags.ts';

export interface AgentConfig {
  /** `address:port`; the port is the one to listen on. */
  readonly wireGuardEndpoint: string;
  readonly wireGuardPort: number;
  readonly api: ListenAddress;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** Undefined: everybody may join. */
  readonly joinToken: string | undefined;
  readonly eventSink: ListenAddress | undefined;
  readonly logReceiver: ListenAddress | undefined;
  /** By UUID, lower case. */
  readonly predefinedAddresses: ReadonlyMap<string, string>;
}

const text: GoFlag = { kind: 'text' };

export const AGENT_FLAGS = {
  'sidero-link-wireguard-endpoint': text,
  'sidero-link-api-endpoint': text,
  'sidero-link-api-cert': text,
  'sidero-link-api-key': text,
  'sidero-link-join-token': text,
  'sidero-link-force-userspace': { kind: 'switch' },
  'event-sink-endpoint': text,
  'log-receiver-endpoint': text,
  'predefined-pairs': text,
  'predefined-pair': text,
} satisfies Readonly<Record<string, GoFlag>>;

type FlagName = keyof typeof AGENT_FLAGS;

export const AGENT_DEFAULTS = {
  wireGuardEndpoint: '172.20.0.1:51821',
  apiEndpoint: ':4000',
  eventSink: ':8080',
  logReceiver: ':4001',
} as const;

/** Throws usage errors. An empty endpoint of event sink or log receiver leaves it out. */
export function readAgentFlags(args: readonly string[]): AgentConfig {
  const { values, rest } = parseGoFlags(args, AGENT_FLAGS);
  if (rest.length > 0) throw usageError(`unexpected argument ${JSON.stringify(rest[0])}`);
  const last = (name: FlagName) => values.get(name)?.at(-1);
  const endpointText = last('sidero-link-wireguard-endpoint') ?? AGENT_DEFAULTS.wireGuardEndpoint;
  const endpoint = parseSocketAddress(endpointText);
  if (!endpoint || endpoint.port === 0) {
    throw usageError(`-sidero-link-wireguard-endpoint ${JSON.stringify(endpointText)}: expected IP:PORT`);
  }
  const [certFile, keyFile] = [
    last('sidero-link-api-cert') || undefined,
    last('sidero-link-api-key') || undefined,
  ];
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw usageError('-sidero-link-api-cert and -sidero-link-api-key go together');
  }
  const listen = (name: FlagName, fallback: string): ListenAddress | undefined => {
    const given = last(name) ?? fallback;
    return given === '' ? undefined : listenAddress(`-${name}`, given);
  };
  return {
    wireGuardEndpoint: formatSocketAddress(endpoint),
    wireGuardPort: endpoint.port,
    api: listenAddress(
      '-sidero-link-api-endpoint',
      last('sidero-link-api-endpoint') || AGENT_DEFAULTS.apiEndpoint,
    ),
    tls: certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
    joinToken: last('sidero-link-join-token') || undefined,
    eventSink: listen('event-sink-endpoint', AGENT_DEFAULTS.eventSink),
    logReceiver: listen('log-receiver-endpoint', AGENT_DEFAULTS.logReceiver),
    predefinedAddresses: readPairs([
      ...(values.get('predefined-pairs') ?? []),
      ...(values.get('predefined-pair') ?? []),
    ]),
  };
}

function readPairs(pairs: readonly string[]): Map<string, string> {
  const addresses = new Map<string, string>();
  for (const pair of pairs) {
    const [, uuid = '', plain = ''] = /^([^=]+)=(.+)$/.exec(pair) ?? [];
    const address = parseAddress(plain);
    if (address?.length !== 16 || !isOverlayAddress(address)) {
      throw usageError(
        `-predefined-pairs ${JSON.stringify(pair)}: expected UUID=IPv6 in fdae:41e4:649b:9303::/64`,
      );
    }
    addresses.set(uuid.toLowerCase(), formatAddress(address));
  }
  return addresses;
}
