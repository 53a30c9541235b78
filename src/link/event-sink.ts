/**
 * The event sink on the gateway's overlay address. A machine sends one event until it is acknowledged, so whatever can
 * be kept is, whatever its type, and only a machine that still waits is told to try again.
 */
import type { handleUnaryCall, Server } from '@grpc/grpc-js';
import type { Clock } from '../core/clock.ts';
import { type EventRequest, type EventResponse, EventSinkServiceService } from '../gen/events/events.ts';
import { guardRefusals } from './grpc-guard.ts';
import { STATUS, type Status } from './grpc-status.ts';
import type { Followers, Journal } from './journal.ts';
import type { SourceResolver } from './source.ts';
import { type RateLimit, TokenBucket } from './token-bucket.ts';

/** As it is kept: the envelope readable, the message inside raw. */
export interface StoredEvent {
  readonly id: string;
  readonly actorId: string;
  /** Full name of the message: what stands behind the last slash of the type URL. */
  readonly type: string;
  /** Base64. */
  readonly value: string;
}

export interface EventSinkOptions {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly followers: Followers;
  readonly resolve: SourceResolver;
  /** Events for each machine. */
  readonly rateLimit: RateLimit;
}

export interface EventCounters {
  accepted: number;
  /** Acknowledged and dropped. */
  readonly dropped: { unknown_source: number; oversize: number };
  /** Told to come again. */
  readonly postponed: { pending: number; rate_limit: number };
}

const MAX_EVENT_SIZE: number = 64 * 1024;
const MAX_ID_LENGTH = 256;

export class EventSink {
  readonly #options: EventSinkOptions;
  readonly #buckets = new Map<string, TokenBucket>();
  readonly counters: EventCounters = {
    accepted: 0,
    dropped: { unknown_source: 0, oversize: 0 },
    postponed: { pending: 0, rate_limit: 0 },
  };

  constructor(options: EventSinkOptions) {
    this.#options = options;
  }

  /** Undefined: acknowledged. */
  publish(event: EventRequest, source: string): Status | undefined {
    const { clock, journal, followers, resolve } = this.#options;
    const owner = resolve(source);
    if (!owner) {
      this.counters.dropped.unknown_source++;
      return undefined;
    }
    if (owner.kind === 'pending') {
      this.counters.postponed.pending++;
      return { code: STATUS.UNAVAILABLE, message: 'the machine waits for acceptance' };
    }
    if (!this.#bucketOf(owner.id).take(1, clock.now())) {
      this.counters.postponed.rate_limit++;
      return { code: STATUS.RESOURCE_EXHAUSTED, message: 'too many events' };
    }
    const size = event.data?.value.length ?? 0;
    if (size > MAX_EVENT_SIZE) {
      this.counters.dropped.oversize++;
      return undefined;
    }
    const stored: StoredEvent = {
      id: event.id.slice(0, MAX_ID_LENGTH),
      actorId: event.actorId.slice(0, MAX_ID_LENGTH),
      type: (event.data?.typeUrl ?? '').replace(/^.*\//s, '').slice(0, MAX_ID_LENGTH),
      value: Buffer.from(event.data?.value ?? []).toString('base64'),
    };
    // The machine forgets an event that was acknowledged: there must be room for it, and it must be on disk.
    journal.flush();
    journal.append({
      machine: owner.id,
      kind: 'event',
      atMs: clock.wall(),
      body: JSON.stringify(stored),
      id: stored.id === '' ? undefined : stored.id,
    });
    journal.flush();
    this.counters.accepted++;
    followers.tell(owner.id, 'event');
    return undefined;
  }

  /** The machine is gone for good. */
  forget(machine: string): void {
    this.#buckets.delete(machine);
  }

  #bucketOf(machine: string): TokenBucket {
    let bucket = this.#buckets.get(machine);
    if (!bucket) {
      bucket = new TokenBucket(this.#options.rateLimit, this.#options.clock.now());
      this.#buckets.set(machine, bucket);
    }
    return bucket;
  }
}

/** `events.EventSinkService` for a @grpc/grpc-js server that listens on the overlay address. */
export function addEventSinkService(server: Server, sink: Pick<EventSink, 'publish'>): void {
  const publish: handleUnaryCall<EventRequest, EventResponse> = (call, callback) => {
    let status: Status | undefined;
    try {
      status = sink.publish(call.request, hostOf(call.getPeer()));
    } catch {
      status = { code: STATUS.UNAVAILABLE, message: 'the event cannot be stored now' };
    }
    if (status) callback({ code: status.code, details: status.message });
    else callback(null, {});
  };
  guardRefusals(server);
  server.addService(EventSinkServiceService, { publish });
}

/** `1.2.3.4:5`, `[fd00::1]:5`, and without brackets as grpc-js prints IPv6. */
function hostOf(peer: string): string {
  return /^\[(.*)\]:\d+$/.exec(peer)?.[1] ?? peer.replace(/:\d+$/, '');
}
