/** What machines report, and the ports where it arrives. */
import { formatAddress } from '../../core/ip.ts';
import type { Clock } from '../../core/clock.ts';
import { SERVER_ADDRESS } from '../../link/addresses.ts';
import { type EventCounters, EventSink } from '../../link/event-sink.ts';
import type { Followers, Journal } from '../../link/journal.ts';
import { type LogCounters, LogReceiver } from '../../link/log-receiver.ts';
import type { SourceResolver } from '../../link/source.ts';
import type { ReportConfig } from './config.ts';
import { serveEvents, serveLogs } from './services.ts';

export interface Reports {
  readonly events: EventCounters;
  readonly logs: LogCounters;
  /** Undefined: off. */
  readonly eventPort: number | undefined;
  readonly logPort: number | undefined;
  /** A machine is gone for good. */
  forget(machine: string): void;
  close(): Promise<void>;
}

export interface ReportContext {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly followers: Followers;
  readonly resolve: SourceResolver;
}

export type OpenReports = (context: ReportContext) => Promise<Reports>;

/** A machine's events: bursts while it boots, few afterwards. */
const EVENT_LIMIT = { perSecond: 20, burst: 500 };
/** Bytes of kernel log: a machine in trouble says much, but does not fill the disk. */
const LOG_LIMIT = { perSecond: 256 * 1024, burst: 4 * 1024 * 1024 };

/** Everything goes into the journal. Both ports are on the overlay address, where only machines are. */
export function journalReports(
  ports: ReportConfig,
  host: string = formatAddress(SERVER_ADDRESS),
): OpenReports {
  return async (context) => {
    const events = new EventSink({ ...context, rateLimit: EVENT_LIMIT });
    const logs = new LogReceiver({ ...context, rateLimit: LOG_LIMIT });
    const eventService =
      ports.eventPort === undefined ? undefined : await serveEvents(events, host, ports.eventPort);
    try {
      const logService = ports.logPort === undefined ? undefined : await serveLogs(logs, host, ports.logPort);
      return {
        events: events.counters,
        logs: logs.counters,
        eventPort: eventService?.port,
        logPort: logService?.port,
        forget: (machine) => {
          events.forget(machine);
          logs.forget(machine);
        },
        close: async () => {
          await Promise.all([eventService?.close(), logService?.close()]);
        },
      };
    } catch (error) {
      await eventService?.close();
      throw error;
    }
  };
}
