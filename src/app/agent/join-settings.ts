/** The flags of `culvert join`, checked. */
import { configError, usageError } from '../../core/errors.ts';
import { parseAddress } from '../../core/ip.ts';
import { linkName } from '../../link/agent-link.ts';
import { isEndpoint } from '../../link/endpoints.ts';
import { MAX_LANES } from '../../link/stream-table.ts';
import type { Transport } from '../../link/transport-policy.ts';
import { isInterfaceName } from '../wg-conf.ts';

/** As commander hands them over. */
export interface JoinFlags {
  readonly config?: string;
  /** True: the flag without a file. */
  readonly kernelArgs?: string | true;
  readonly transport?: string;
  readonly streams?: string;
  readonly interface?: string;
  readonly state?: string;
  readonly uuid?: string;
  readonly keyFile?: string;
  readonly ca?: readonly string[];
  readonly expose?: readonly string[];
  readonly openFirewall?: true;
  readonly kmsg?: string | true;
  readonly events?: string | true;
  readonly onUp?: string;
  readonly onDown?: string;
}

export interface ExposedService {
  /** On the overlay address. */
  readonly port: number;
  /** Where connections go; IPv6 without brackets. */
  readonly targetHost: string;
  readonly targetPort: number;
}

export interface JoinSettings {
  readonly interfaceName: string;
  readonly transport: Transport;
  /** Streams in the tunnel, when the gateway lets us. */
  readonly streams: number;
  readonly stateDirectory: string;
  readonly uuid: string | undefined;
  readonly keyFile: string | undefined;
  /** PEM files to trust besides the machine's own list. */
  readonly caFiles: readonly string[];
  readonly exposed: readonly ExposedService[];
  readonly opensFirewall: boolean;
  readonly onUp: string | undefined;
  readonly onDown: string | undefined;
}

export const STATE_DIRECTORY = '/var/lib/culvert/agent';
export const DEFAULT_STREAMS = 2;
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** `asksForTunnel`: `grpc_tunnel` of the join URL. Throws usage errors. */
export function readJoinFlags(flags: JoinFlags, asksForTunnel: boolean): JoinSettings {
  const transport = parseTransport(flags.transport ?? (asksForTunnel ? 'grpc' : 'auto'));
  const interfaceName = flags.interface ?? linkName(transport === 'grpc' ? 'grpc' : 'udp');
  if (!isInterfaceName(interfaceName))
    throw usageError(
      `--interface ${interfaceName}: not an interface name`,
      'at most 15 letters, digits, _=+.-',
    );
  const exposed = (flags.expose ?? []).map(parseExposed);
  const twice = exposed.find(({ port }, i) => exposed.findIndex((other) => other.port === port) !== i);
  if (twice)
    throw usageError(
      `--expose: port ${twice.port} is given twice`,
      'write PORT=HOST:PORT to choose another one',
    );
  return Object.freeze({
    interfaceName,
    transport,
    streams: parseStreams(flags.streams),
    stateDirectory: flags.state ?? STATE_DIRECTORY,
    uuid: flags.uuid === undefined ? undefined : parseUuid(flags.uuid, '--uuid'),
    keyFile: flags.keyFile,
    caFiles: flags.ca ?? [],
    exposed,
    opensFirewall: flags.openFirewall === true,
    onUp: flags.onUp,
    onDown: flags.onDown,
  });
}

function parseTransport(text: string): Transport {
  if (text === 'auto' || text === 'udp' || text === 'grpc') return text;
  throw usageError(`--transport ${text}: expected auto, udp or grpc`);
}

function parseStreams(text: string | undefined): number {
  if (text === undefined) return DEFAULT_STREAMS;
  const count = /^\d$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_LANES) throw usageError(`--streams ${text}: expected 1 to ${MAX_LANES}`);
  return count;
}

/** In lower case. `place` is put before error messages. */
export function parseUuid(text: string, place: string): string {
  const uuid = text.trim().toLowerCase();
  if (!UUID.test(uuid)) throw configError(place, `"${text.trim()}" is not a UUID`);
  return uuid;
}

/** `[PORT=]HOST:PORT`; without a port of its own the service has that of its target. */
export function parseExposed(text: string): ExposedService {
  const match = /^(?:(\d{1,5})=)?(?:\[([^\]]+)\]|([^:=[\]]+)):(\d{1,5})$/.exec(text);
  const targetHost = match?.[2] ?? match?.[3] ?? '';
  const targetPort = Number(match?.[4]);
  const port = Number(match?.[1] ?? match?.[4]);
  const isHost =
    match?.[2] === undefined ? isEndpoint(`${targetHost}:1`) : parseAddress(targetHost) !== undefined;
  if (!match || !isHost || !isPort(port) || !isPort(targetPort))
    throw usageError(
      `--expose ${text}: expected [PORT=]HOST:PORT`,
      'for example --expose 127.0.0.1:22 or --expose 2222=127.0.0.1:22',
    );
  return { port, targetHost, targetPort };
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}
