/** What `culvert join` is told, apart from the gateway, checked and complete. */
import { configError, usageError } from '../../core/errors.ts';
import { parseAddress } from '../../core/ip.ts';
import { linkName } from '../../link/agent-link.ts';
import { isEndpoint } from '../../link/endpoints.ts';
import type { Transport } from '../../link/transport-policy.ts';
import { type Effective, placeOf } from '../config/effective.ts';
import type { Tuning } from '../tuning.ts';
import type { JoinTable } from './settings.ts';

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
  /** How packets are moved (tuning.ts). */
  readonly lanes: Tuning['lanes'];
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

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** `asksForTunnel`: `grpc_tunnel` of the join URL. Throws AppError when settings contradict each other. */
export function joinSettings(
  { values, table, givens }: Effective<JoinTable>,
  asksForTunnel: boolean,
): JoinSettings {
  const transport = values.transport ?? (asksForTunnel ? 'grpc' : 'auto');
  const { expose: exposed } = values;
  const twice = exposed.find(({ port }, i) => exposed.findIndex((other) => other.port === port) !== i);
  if (twice)
    throw usageError(
      `${placeOf(table, givens, 'expose')}: port ${twice.port} is given twice`,
      'write PORT=HOST:PORT to choose another one',
    );
  return Object.freeze({
    interfaceName: values.interface ?? linkName(transport === 'grpc' ? 'grpc' : 'udp'),
    transport,
    streams: values.streams,
    lanes: values.lanes,
    stateDirectory: values.state,
    uuid: values.uuid,
    keyFile: values.keyFile,
    caFiles: values.ca,
    exposed,
    opensFirewall: values.openFirewall,
    onUp: values.onUp,
    onDown: values.onDown,
  });
}

/** In lower case. `place` is put before error messages. */
export function parseUuid(text: string, place: string): string {
  const uuid = text.trim().toLowerCase();
  if (!UUID.test(uuid)) throw configError(place, `"${text.trim()}" is not a UUID`);
  return uuid;
}

/** `[PORT=]HOST:PORT`; without a port of its own the service has that of its target. */
export function parseExposed(place: string, text: string): ExposedService {
  const match = /^(?:(\d{1,5})=)?(?:\[([^\]]+)\]|([^:=[\]]+)):(\d{1,5})$/.exec(text);
  const targetHost = match?.[2] ?? match?.[3] ?? '';
  const targetPort = Number(match?.[4]);
  const port = Number(match?.[1] ?? match?.[4]);
  const isHost =
    match?.[2] === undefined ? isEndpoint(`${targetHost}:1`) : parseAddress(targetHost) !== undefined;
  if (!match || !isHost || !isPort(port) || !isPort(targetPort))
    throw usageError(
      `${place} ${text}: expected [PORT=]HOST:PORT`,
      'for example --expose 127.0.0.1:22 or --expose 2222=127.0.0.1:22',
    );
  return { port, targetHost, targetPort };
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}
