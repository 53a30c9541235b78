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
import type { GatewayConfig, PageConfig, ReportConfig } from './config.ts';
import { openDeviceOverlay } from './device-overlay.ts';
import { journalReports } from './reports.ts';
import { type RunningGateway, startGateway } from './run.ts';

export interface OpenOptions {
  readonly config: GatewayConfig & ReportConfig & PageConfig;
  /** Ours, and closed to others. */
  readonly stateDirectory: string;
  readonly relay: Pick<RelayServerOptions, 'target' | 'token'> | undefined;
  /** memory: without rights. Machines join and are answered pings, and nothing else of them arrives. */
  readonly overlay: 'interface' | 'memory';
  readonly initialToken: string | undefined;
  readonly logger: Logger;
}

export async function openGateway(options: OpenOptions): Promise<RunningGateway> {
  const { config, stateDirectory, relay, overlay, initialToken, logger } = options;
  const http = config.http && {
    address: config.http,
    token: AdminToken.ofDirectory(stateDirectory, systemRandom),
  };
  const isInMemory = overlay === 'memory';
  const { store, journal } = await openState(stateDirectory, logger);
  const { interfaceName, wireGuardPort: port, bandwidth } = config;
  return startGateway({
    config,
    store,
    journal,
    openOverlay: (privateKey) =>
      isInMemory
        ? openMemoryOverlay({ port, privateKey, logger })
        : openDeviceOverlay({ interfaceName, port, bandwidth, privateKey, logger }),
    openReports: journalReports(isInMemory ? { eventPort: undefined, logPort: undefined } : config),
    adminSocket: adminSocketPath(stateDirectory),
    relay: relay && new RelayServer({ ...relay, clock: systemClock, logger }),
    http,
    initialToken,
    version: version(),
    clock: systemClock,
    random: systemRandom,
    logger,
  });
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
