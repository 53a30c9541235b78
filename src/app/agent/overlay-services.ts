/** What a machine offers and sends over its link: published services, kernel log lines, life cycle events. */
import { hostname } from 'node:os';
import { systemClock } from '../../core/clock.ts';
import { formatAddress } from '../../core/ip.ts';
import type { Logger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import type { Link } from '../../link/agent-link.ts';
import { EVENT_SINK_PORT, LOG_RECEIVER_PORT } from '../../link/constants.ts';
import { publishEvent } from '../../link/provision-client.ts';
import { fdWatcher } from '../../sys/readiness.ts';
import { Publisher } from './expose.ts';
import type { ExposedService } from './join-settings.ts';
import { type JoinInputs, ON_GATEWAY } from './join-sources.ts';
import { formatKernelRecord, parseKernelRecord } from './kernel-log.ts';
import { KernelLogReader } from './kernel-log-reader.ts';
import { LogSender, parseLogTarget } from './log-sender.ts';
import { addressEvent, EventSender, statusEvent } from './machine-events.ts';
import { addressOf, serverAddressOf } from './overlay.ts';

/** What is offered and sent. */
export interface OverlayOffer {
  readonly exposed: readonly ExposedService[];
  readonly inputs: Pick<JoinInputs, 'eventSink' | 'kernelLogs'>;
}

export interface PublishedService extends ExposedService {
  readonly accepted: number;
  readonly refused: number;
  readonly failed: number;
}

/** What is left to say when the machine stops. */
const DRAIN_TIMEOUT_MS = 2_000;

export class OverlayServices {
  readonly #logger: Logger;
  #offer: OverlayOffer;
  #events: EventSender | undefined;
  #publishers: readonly { readonly service: ExposedService; readonly publisher: Publisher }[] = [];
  #logs: readonly LogSender[] = [];
  #link: Link | undefined;
  #isOnline = false;
  #isClosed = false;
  #serial: Promise<void> = Promise.resolve();

  constructor(offer: OverlayOffer, logger: Logger) {
    this.#offer = offer;
    this.#logger = logger;
    this.#openEvents();
    this.#events?.publish(statusEvent('BOOTING', false));
  }

  /** Touches what is another than before. */
  async reconfigure(offer: OverlayOffer): Promise<void> {
    if (this.#isClosed) return;
    const before = this.#offer;
    this.#offer = offer;
    if (offer.inputs.eventSink !== before.inputs.eventSink) {
      this.#events?.close();
      this.#openEvents();
      if (this.#isOnline) this.#events?.publish(statusEvent('RUNNING', true));
      this.#events?.setOnline(this.#isOnline);
    }
    if (JSON.stringify(offer.inputs.kernelLogs) !== JSON.stringify(before.inputs.kernelLogs))
      this.#openLogs();
    const link = this.#link;
    if (link) this.#serial = this.#serial.then(() => this.#publish(link, formatAddress(addressOf(link))));
    await this.#serial;
  }

  #openEvents(): void {
    this.#events =
      this.#offer.inputs.eventSink === undefined
        ? undefined
        : new EventSender({
            clock: systemClock,
            random: systemRandom,
            logger: this.#logger,
            deliver: (event, signal) => publishEvent(this.#sink(), event, { proxies: {} }, signal),
          });
  }

  get published(): readonly PublishedService[] {
    return this.#publishers.map(({ service, publisher }) => ({ ...service, ...publisher.counters }));
  }

  /** The interface has the addresses of this link now. */
  setLink(link: Link): void {
    const before = this.#link;
    this.#link = link;
    const isNewServer = before?.serverAddress !== link.serverAddress;
    if (isNewServer) this.#openLogs();
    if (!isNewServer && before.nodeAddressPrefix === link.nodeAddressPrefix) return;
    const address = formatAddress(addressOf(link));
    this.#events?.publish(addressEvent(hostname(), [address]));
    this.#serial = this.#serial.then(async () => {
      await this.#unpublish(() => true);
      await this.#publish(link, address);
    });
  }

  /** Whether the gateway can be reached. */
  setOnline(isOnline: boolean): void {
    if (isOnline === this.#isOnline) return;
    this.#isOnline = isOnline;
    if (isOnline) this.#events?.publish(statusEvent('RUNNING', true));
    this.#events?.setOnline(isOnline);
    for (const log of this.#logs) log.setOnline(isOnline);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#events?.publish(statusEvent('SHUTTING_DOWN', false));
    await this.#events?.drain(DRAIN_TIMEOUT_MS);
    this.#events?.close();
    for (const log of this.#logs) log.close();
    await this.#serial;
    await this.#unpublish(() => true);
  }

  #sink(): { host: string; port: number; isPlaintext: true } {
    const { eventSink } = this.#offer.inputs;
    if (eventSink === undefined || eventSink === ON_GATEWAY)
      return { host: this.#link?.serverAddress ?? '', port: EVENT_SINK_PORT, isPlaintext: true };
    const colon = eventSink.lastIndexOf(':');
    const host = eventSink.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
    return { host, port: Number(eventSink.slice(colon + 1)), isPlaintext: true };
  }

  #openLogs(): void {
    const { inputs } = this.#offer;
    const logger = this.#logger;
    for (const log of this.#logs) log.close();
    if (!this.#link) return;
    this.#logs = inputs.kernelLogs.map((url) => {
      const target = parseLogTarget(
        url === ON_GATEWAY ? `tcp://[${this.#link?.serverAddress ?? ''}]:${LOG_RECEIVER_PORT}` : url,
      );
      return new LogSender({ target, random: systemRandom, logger, openSource: openKernelLog });
    });
    for (const log of this.#logs) log.setOnline(this.#isOnline);
  }

  async #unpublish(isMeant: (service: ExposedService) => boolean): Promise<void> {
    const meant = this.#publishers.filter(({ service }) => isMeant(service));
    this.#publishers = this.#publishers.filter((each) => !meant.includes(each));
    await Promise.all(meant.map(({ publisher }) => publisher.close()));
  }

  /** Services that stay keep their connections. */
  async #publish(link: Link, address: string): Promise<void> {
    const { exposed } = this.#offer;
    const logger = this.#logger;
    await this.#unpublish((service) => !exposed.some((wanted) => isSameService(wanted, service)));
    const fresh = exposed
      .filter((wanted) => !this.#publishers.some(({ service }) => isSameService(wanted, service)))
      .map((service) => ({
        service,
        publisher: new Publisher({ service, caller: serverAddressOf(link), logger }),
      }));
    this.#publishers = [...this.#publishers, ...fresh];
    for (const { service, publisher } of fresh) {
      try {
        await publisher.listen(address);
        logger.log('info', 'service_exposed', {
          port: service.port,
          target: `${service.targetHost} port ${service.targetPort}`,
        });
      } catch (error) {
        // The link itself is fine, and the gateway's way to the other services too.
        logger.log('error', 'service_not_exposed', {
          reason: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }
}

function isSameService(a: ExposedService, b: ExposedService): boolean {
  return a.port === b.port && a.targetHost === b.targetHost && a.targetPort === b.targetPort;
}

function openKernelLog(take: (line: string) => boolean): KernelLogReader {
  const bootMs = systemClock.wall() - systemClock.now();
  return new KernelLogReader(fdWatcher, (text) => {
    const record = parseKernelRecord(text);
    return record === undefined || take(formatKernelRecord(record, bootMs));
  });
}
