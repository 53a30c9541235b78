/** What a gateway does from time to time. */
import type { Clock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import type { Gateway } from '../../link/gateway.ts';
import type { GrpcFront } from '../../link/grpc-front.ts';
import type { Journal } from '../../link/journal.ts';
import type { TlsFiles } from '../../link/tls-files.ts';

export interface HousekeepingParts {
  readonly gateway: Pick<Gateway, 'sweep'>;
  readonly journal: Pick<Journal, 'flush' | 'sweep'>;
  readonly front: Pick<GrpcFront, 'checkConnections'>;
  /** Where a renewed certificate goes. */
  readonly setCertificate: GrpcFront['setCertificate'];
  readonly tls: Pick<TlsFiles, 'check'> | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a crash may take of where machines were last heard from. */
const SWEEP_INTERVAL_MS = 5_000;
const CONNECTION_INTERVAL_MS = 5_000;
const CERTIFICATE_INTERVAL_MS = 10_000;
/** What a crash may take of the logs. */
const JOURNAL_FLUSH_INTERVAL_MS = 1_000;
const JOURNAL_SWEEP_INTERVAL_MS = 30 * 60_000;

export class Housekeeping {
  readonly #parts: HousekeepingParts;
  readonly #timers: NodeJS.Timeout[] = [];
  /** Why a task failed the last time, by task. */
  readonly #reasons = new Map<string, string>();
  #sweeping: Promise<void> = Promise.resolve();

  constructor(parts: HousekeepingParts) {
    this.#parts = parts;
  }

  start(): void {
    const { journal, front, clock } = this.#parts;
    this.#sweepJournal();
    this.#every(SWEEP_INTERVAL_MS, 'sweep', () => this.#sweepGateway());
    this.#every(CONNECTION_INTERVAL_MS, 'connections', () => front.checkConnections());
    this.#every(CERTIFICATE_INTERVAL_MS, 'certificate', () => this.#checkCertificate());
    this.#every(JOURNAL_FLUSH_INTERVAL_MS, 'journal', () => journal.flush());
    this.#every(JOURNAL_SWEEP_INTERVAL_MS, 'journal retention', () => journal.sweep(clock.wall()));
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    await this.#sweeping;
  }

  #every(intervalMs: number, what: string, task: () => void): void {
    const guarded = () => {
      try {
        task();
        this.#reasons.delete(what);
      } catch (error) {
        this.#failed(what, error);
      }
    };
    this.#timers.push(setInterval(guarded, intervalMs));
  }

  /** A disk stays full for hours: what is wrong with a task is said when it begins, and when it becomes something else. */
  #failed(what: string, error: unknown): void {
    if (this.#reasons.get(what) === String(error)) return;
    this.#reasons.set(what, String(error));
    this.#parts.logger.log('error', 'housekeeping_failed', { task: what, reason: String(error) });
  }

  #sweepJournal(): void {
    try {
      this.#parts.journal.sweep(this.#parts.clock.wall());
    } catch (error) {
      this.#failed('journal retention', error);
    }
  }

  #sweepGateway(): void {
    this.#sweeping = this.#parts.gateway.sweep().then(
      () => void this.#reasons.delete('last endpoints'),
      (error: unknown) => this.#failed('last endpoints', error),
    );
  }

  #checkCertificate(): void {
    const { tls, setCertificate, logger } = this.#parts;
    const found = tls?.check();
    if (found === undefined) return;
    if (found instanceof AppError) {
      logger.log('error', 'certificate_not_usable', { reason: found.message });
      return;
    }
    setCertificate(found);
    logger.log('info', 'certificate_reloaded');
  }
}
