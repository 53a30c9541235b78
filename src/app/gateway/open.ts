/** The gateway of `culvert serve` with everything it has on this machine: state files, interface, sockets. */
import { systemClock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import { DEFAULT_JOURNAL_LIMITS } from '../../link/journal.ts';
import { RelayServer, type RelayServerOptions } from '../../link/relay-server.ts';
import { SqliteJournal } from '../../link/sqlite-journal.ts';
import { SqliteStore } from '../../link/sqlite-store.ts';
import { AdminToken } from '../api/access.ts';
import { openMemoryOverlay } from '../memory/memory-overlay.ts';
import { version } from '../version.ts';
import { adminSocketPath } from './admin-socket.ts';
import type { PageConfig, ServeConfig } from './config.ts';
import { openDeviceOverlay } from './device-overlay.ts';
import type { HttpPart } from './live-config.ts';
import { journalReports } from './reports.ts';
import { type GatewayParts, type RunningGateway, startGateway } from './run.ts';

export interface OpenOptions {
  readonly config: ServeConfig;
  /** Ours, and closed to others. */
  readonly stateDirectory: string;
  readonly relay: Pick<RelayServerOptions, 'target' | 'token'> | undefined;
  /** memory: without rights. Machines join and are answered pings, and nothing else of them arrives. */
  readonly overlay: 'interface' | 'memory';
  readonly initialToken: () => string | undefined;
  /** Reads the configuration again. */
  readonly reload: GatewayParts['reload'] & {};
  readonly logger: Logger;
}

export async function openGateway(options: OpenOptions): Promise<RunningGateway> {
  const { config, stateDirectory, relay, overlay, initialToken, reload, logger } = options;
  const http = httpPart(config, stateDirectory);
  const isInMemory = overlay === 'memory';
  const { store, journal } = await openState(stateDirectory, logger);
  const { interfaceName, wireGuardPort: port, bandwidth, lanes } = config;
  return startGateway({
    config,
    store,
    journal,
    openOverlay: (privateKey) =>
      isInMemory
        ? openMemoryOverlay({ port, privateKey, logger })
        : openDeviceOverlay({ interfaceName, port, bandwidth, lanes, privateKey, logger }),
    openReports: journalReports(isInMemory ? { eventPort: undefined, logPort: undefined } : config),
    adminSocket: adminSocketPath(stateDirectory),
    relay: relay && new RelayServer({ ...relay, clock: systemClock, logger }),
    http,
    reload,
    initialToken,
    version: version(),
    clock: systemClock,
    random: systemRandom,
    logger,
  });
}

/** Makes the admin token of the state directory if need be. Throws AppError when its file cannot be used. */
export function httpPart({ http, httpTokenFile }: PageConfig, stateDirectory: string): HttpPart | undefined {
  if (!http) return undefined;
  const token =
    httpTokenFile === undefined
      ? AdminToken.ofDirectory(stateDirectory, systemRandom)
      : AdminToken.ofFile(httpTokenFile, 'admin token');
  return { address: http, token };
}

async function openState(
  directory: string,
  logger: Logger,
): Promise<{ store: SqliteStore; journal: SqliteJournal }> {
  const store = SqliteStore.open(directory);
  try {
    const { journal, setAside } = SqliteJournal.openOrSetAside(directory, DEFAULT_JOURNAL_LIMITS, Date.now());
    if (setAside) logger.log('error', 'journal_set_aside', { reason: setAside.message });
    return { store, journal };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Something is missing that root on an ordinary machine has. */
export function isLackOfRights(error: unknown): error is AppError {
  return error instanceof AppError && (error.code === 'permission' || error.code === 'unavailable');
}
