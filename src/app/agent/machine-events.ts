/** Life cycle events of this machine, as Talos publishes them, and their delivery to the gateway's event sink. */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import type { EventRequest } from '../../gen/events/events.ts';
import {
  AddressEvent,
  MachineStatusEvent,
  MachineStatusEvent_MachineStage,
} from '../../gen/machine/machine.ts';
import { Backoff } from '../../link/backoff.ts';

export type MachineStage = keyof typeof MachineStatusEvent_MachineStage;

/** As anypb.New of Go writes it. */
const TYPE_PREFIX = 'type.googleapis.com/machine.';

export function statusEvent(stage: MachineStage, isReady: boolean): EventRequest['data'] {
  const value = MachineStatusEvent.encode({
    stage: MachineStatusEvent_MachineStage[stage],
    status: { ready: isReady, unmetConditions: [] },
  }).finish();
  return { typeUrl: `${TYPE_PREFIX}MachineStatusEvent`, value: Buffer.from(value) };
}

export function addressEvent(hostname: string, addresses: readonly string[]): EventRequest['data'] {
  const value = AddressEvent.encode({ hostname, addresses: [...addresses] }).finish();
  return { typeUrl: `${TYPE_PREFIX}AddressEvent`, value: Buffer.from(value) };
}

const BASE32_HEX = '0123456789abcdefghijklmnopqrstuv';

/** 20 characters that sort by time, in the form of Talos's event ids: 4 bytes of seconds, 8 that tell events apart. */
export function eventId(wallMs: number, random: Random): string {
  const bytes = new Uint8Array(12);
  random.fill(bytes.subarray(4));
  new DataView(bytes.buffer).setUint32(0, Math.floor(wallMs / 1_000));
  let text = '';
  for (let bit = 0; bit < 96; bit += 5) {
    const pair = ((bytes[bit >> 3] as number) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    text += BASE32_HEX.charAt((pair >> (11 - (bit & 7))) & 31);
  }
  return text;
}

export interface EventSenderOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Rejects when the event was not acknowledged. */
  readonly deliver: (event: EventRequest, signal: AbortSignal) => Promise<void>;
}

/** More than a machine has to say in a long outage. */
export const MAX_WAITING_EVENTS = 64;
const DELIVERY_TIMEOUT_MS = 10_000;
const RETRY = { firstMs: 1_000, maxMs: 30_000 };

/** One event at a time, in order, each until it is acknowledged. */
export class EventSender {
  readonly #options: EventSenderOptions;
  readonly #backoff: Backoff;
  readonly #waiting: EventRequest[] = [];
  #isOnline = false;
  #isClosed = false;
  #delivery: AbortController | undefined;
  #retry: NodeJS.Timeout | undefined;
  #onEmpty: () => void = () => {};
  dropped = 0;

  constructor(options: EventSenderOptions) {
    this.#options = options;
    this.#backoff = new Backoff(RETRY, options.random);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  publish(data: EventRequest['data']): void {
    if (this.#isClosed) return;
    if (this.#waiting.length === MAX_WAITING_EVENTS) {
      // The first may be under way; it is the one behind it that nobody has seen.
      this.#waiting.splice(this.#delivery ? 1 : 0, 1);
      this.dropped++;
    }
    const { clock, random } = this.#options;
    this.#waiting.push({ data, id: eventId(clock.wall(), random), actorId: '' });
    this.#next();
  }

  /** Whether the sink can be reached at all. */
  setOnline(isOnline: boolean): void {
    if (isOnline === this.#isOnline) return;
    this.#isOnline = isOnline;
    this.#backoff.reset();
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (isOnline) this.#next();
    else this.#delivery?.abort(new Error('the link is down'));
  }

  /** Resolves when everything is acknowledged, or the time is over. */
  async drain(timeoutMs: number): Promise<void> {
    if (this.#waiting.length === 0 || !this.#isOnline) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  close(): void {
    this.#isClosed = true;
    this.setOnline(false);
  }

  #next(): void {
    const event = this.#waiting[0];
    if (!event || !this.#isOnline || this.#delivery || this.#retry) return;
    const delivery = new AbortController();
    this.#delivery = delivery;
    const timer = setTimeout(() => delivery.abort(new Error('the sink takes too long')), DELIVERY_TIMEOUT_MS);
    this.#options
      .deliver(event, delivery.signal)
      .then(
        () => this.#acknowledged(),
        (error: unknown) => this.#failed(error),
      )
      .finally(() => clearTimeout(timer));
  }

  #acknowledged(): void {
    this.#delivery = undefined;
    this.#backoff.reset();
    this.#waiting.shift();
    if (this.#waiting.length === 0) this.#onEmpty();
    this.#next();
  }

  #failed(error: unknown): void {
    this.#delivery = undefined;
    if (!this.#isOnline) return;
    const delayMs = this.#backoff.next();
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.logger.log('debug', 'event_not_delivered', { reason, retryMs: Math.round(delayMs) });
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#next();
    }, delayMs);
  }
}
