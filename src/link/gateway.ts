/**
 * The gateway's machines: decides Provision calls, makes the outcome durable, configures peers and streams to match, and
 * does what operators ask. The device, the store and the streams come in through interfaces.
 */
import type { Clock } from '../core/clock.ts';
import { AppError } from '../core/errors.ts';
import type { Address } from '../core/ip.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { ProvisionResponse } from '../gen/siderolink/provision.ts';
import { PEER_DOWN_AFTER } from './constants.ts';
import { STATUS, type Status, statusName } from './grpc-status.ts';
import { dropPending, expiredPending, removeMachine } from './machine-admin.ts';
import { decideProvision } from './provision.ts';
import type { ProvisionCall, ProvisionSettings } from './provision-context.ts';
import type { MachineRecord, PendingRecord, StoreChange, StoreConflict } from './records.ts';
import { Registry } from './registry.ts';
import type { Store } from './store.ts';
import { AddressLimiter, type RateLimit, TokenBucket } from './token-bucket.ts';

/** A peer as the overlay device shall have it. */
export interface OverlayPeerConfig {
  /** Base64. */
  readonly publicKey: string;
  /** Its only allowed IP, as /128. */
  readonly nodeAddress: string;
  /** `address:port` to begin with: the virtual endpoint, or where it was last heard from. Undefined: leave as it is. */
  readonly endpoint: string | undefined;
}

export interface OverlayPeerState {
  /** Milliseconds since the last handshake, Infinity when there was none. */
  readonly handshakeAgeMs: number;
  /** Where it was last heard from over UDP; undefined when never, or through a stream. */
  readonly udpEndpoint: string | undefined;
}

/** The WireGuard device of the overlay. */
export interface OverlayDevice {
  /** In one step: nobody sees two peers with one allowed IP, or none. Keys in `remove` may be unknown. */
  configure(remove: readonly string[], put: readonly OverlayPeerConfig[]): Promise<void>;
  /** Undefined for an unknown peer. */
  peer(publicKey: string): OverlayPeerState | undefined;
}

/** The part of StreamTable that the gateway uses. */
export interface StreamGate {
  allow(publicKey: string, virtualEndpoint: string | undefined): void;
  isOpen(publicKey: string): boolean;
  start(): void;
}

export interface GatewayOptions {
  readonly store: Store;
  readonly device: OverlayDevice;
  readonly streams: StreamGate;
  readonly settings: ProvisionSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Calls of Provision from one address. */
  readonly rateLimit: RateLimit;
  /** Begin with the endpoints that machines were last heard from. */
  readonly useLastEndpoints: boolean;
}

export interface GatewayCounters {
  /** By status name. */
  readonly provisions: Record<string, number>;
  /** By reason. */
  readonly refusals: Record<string, number>;
}

/** Decisions that another one overtook are made again this often. */
const MAX_ATTEMPTS = 5;
/** Lines: a flood of calls must not become a flood of log. */
const REFUSAL_LOG_LIMIT: RateLimit = { perSecond: 5, burst: 50 };
/** Of what a caller says about itself, in a log line. */
const MAX_LOGGED_LENGTH = 64;

/** What may become another while machines are served. */
export type GatewayRules = Pick<GatewayOptions, 'settings' | 'useLastEndpoints'> &
  Partial<Pick<GatewayOptions, 'rateLimit'>>;

export class Gateway {
  #options: GatewayOptions;
  readonly #limiter: AddressLimiter;
  readonly #lastProvisionAt = new Map<string, number>();
  #registry: Registry;
  /** The device did not take a change: it gets everything anew with the next one. */
  #isDeviceBehind = false;
  #storeProblem: AppError | undefined;
  readonly #logLines: TokenBucket;
  #unloggedRefusals = 0;
  /** Changes of peers and streams happen in the order of the commits they follow from. */
  #serial: Promise<unknown> = Promise.resolve();
  readonly counters: GatewayCounters = { provisions: {}, refusals: {} };

  private constructor(options: GatewayOptions, registry: Registry) {
    this.#options = options;
    this.#registry = registry;
    this.#limiter = new AddressLimiter(options.rateLimit);
    this.#logLines = new TokenBucket(REFUSAL_LOG_LIMIT, options.clock.now());
  }

  /** Loads the state and brings back every peer and every virtual address before the first stream is admitted. */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options, new Registry(await options.store.load()));
    const records = [...gateway.#registry.machines(), ...gateway.#registry.pendingRecords()];
    for (const { publicKey, virtualEndpoint } of records) options.streams.allow(publicKey, virtualEndpoint);
    const now = options.clock.now();
    for (const { publicKey } of gateway.#registry.pendingRecords())
      gateway.#lastProvisionAt.set(publicKey, now);
    // Called before its stream is open, a tunnelled machine would not hear it: see streamOpened.
    await options.device.configure([], gateway.#allPeers({ callsTunnelled: false }));
    options.streams.start();
    // The process ended while these were on their way out.
    for (const machine of gateway.#registry.machines()) {
      if (machine.isRemoving) await gateway.commit(removeMachine(machine));
    }
    return gateway;
  }

  /** What is known, for lists and lookups. Not to be kept: a reload puts another one in its place. */
  get registry(): Registry {
    return this.#registry;
  }

  /** Why the store takes no changes now; known machines are served all the same. */
  get storeProblem(): AppError | undefined {
    return this.#storeProblem;
  }

  /** For calls from now on. Known machines keep what they were told until they call again. */
  reconfigure(rules: GatewayRules): void {
    this.#options = { ...this.#options, ...rules };
    if (rules.rateLimit) this.#limiter.setLimit(rules.rateLimit);
  }

  /** Answers a Provision call, or says with which status it fails. Never rejects. */
  async provision(call: ProvisionCall, caller: Address): Promise<ProvisionResponse | Status> {
    const answer = await this.#provision(call, caller).catch((error: unknown): Status => {
      if (error !== this.#storeProblem) {
        this.#options.logger.log('error', 'provision_failed', { reason: String(error) });
      }
      return { code: STATUS.INTERNAL, message: 'internal server error' };
    });
    count(this.counters.provisions, statusName('code' in answer ? answer.code : STATUS.OK));
    return answer;
  }

  async #provision(call: ProvisionCall, caller: Address): Promise<ProvisionResponse | Status> {
    const { settings, random, clock, streams } = this.#options;
    if (!this.#limiter.allow(caller, clock.now())) {
      count(this.counters.refusals, 'rate_limited');
      return { code: STATUS.RESOURCE_EXHAUSTED, message: 'too many calls from this address' };
    }
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const decision = decideProvision(call, {
        state: this.#registry,
        liveness: (publicKey) => ({
          isStreamOpen: streams.isOpen(publicKey),
          handshakeAgeMs: this.handshakeAgeMs(publicKey),
        }),
        settings,
        random,
        wallMs: clock.wall(),
      });
      if (decision.kind === 'refused') {
        count(this.counters.refusals, decision.reason);
        this.#logRefusal(call.nodeUuid, decision.reason);
        return decision.status;
      }
      if (await this.commit(decision.changes)) {
        if (decision.pending !== undefined) {
          this.#lastProvisionAt.set(decision.peer.publicKey, clock.now());
        }
        if (decision.changes.length > 0) {
          this.#options.logger.log(
            'info',
            decision.pending === undefined ? 'machine_provisioned' : 'machine_waits',
            {
              machine: decision.machineId ?? call.nodeUuid,
              address: decision.peer.nodeAddress,
              transport: decision.peer.virtualEndpoint === undefined ? 'udp' : 'grpc',
              reason: decision.pending,
            },
          );
        }
        return decision.response;
      }
    }
    throw new AppError('internal', `the state kept changing during ${MAX_ATTEMPTS} attempts`);
  }

  #logRefusal(uuid: string, reason: string): void {
    const { clock, logger } = this.#options;
    if (!this.#logLines.take(1, clock.now())) {
      this.#unloggedRefusals++;
      return;
    }
    const unlogged = this.#unloggedRefusals > 0 ? { unlogged: this.#unloggedRefusals } : {};
    this.#unloggedRefusals = 0;
    logger.log('info', 'provision_refused', {
      machine: uuid.slice(0, MAX_LOGGED_LENGTH),
      reason,
      ...unlogged,
    });
  }

  /**
   * Stores the changes, then configures peers and streams as the records now are. False when they were decided on
   * records that are no longer so: decide again.
   */
  async commit(changes: readonly StoreChange[]): Promise<boolean> {
    if (changes.length === 0 && !this.#isDeviceBehind) return true;
    const committed = this.#serial.then(() => this.#commit(changes));
    this.#serial = committed.catch(() => {});
    return committed;
  }

  async #commit(changes: readonly StoreChange[]): Promise<boolean> {
    const { store, streams } = this.#options;
    if ((await this.#store(changes)) !== undefined || this.#registry.apply(changes) !== undefined) {
      // Another gateway on the same store was faster, or another call of ours.
      this.#registry = new Registry(await store.load());
      return false;
    }
    const { removed, put } = peersTouched(changes);
    for (const publicKey of removed) {
      streams.allow(publicKey, undefined);
      this.#lastProvisionAt.delete(publicKey);
    }
    for (const { record } of put) streams.allow(record.publicKey, record.virtualEndpoint);
    await this.#configure(
      removed,
      put.map(({ record, isMoved }) => ({
        publicKey: record.publicKey,
        nodeAddress: record.nodeAddress,
        endpoint: isMoved ? record.virtualEndpoint : undefined,
      })),
    );
    return true;
  }

  /** A store that fails does so for every call: it is said once, and once that it is over. */
  async #store(changes: readonly StoreChange[]): Promise<StoreConflict | undefined> {
    const { store, logger } = this.#options;
    try {
      const conflict = await store.commit(changes);
      if (this.#storeProblem && conflict === undefined && changes.length > 0) {
        this.#storeProblem = undefined;
        logger.log('info', 'store_works_again');
      }
      return conflict;
    } catch (error) {
      if (error instanceof AppError) {
        if (!this.#storeProblem) {
          const { message, hint = '' } = error;
          logger.log('error', 'store_failed', { reason: message, hint });
        }
        this.#storeProblem = error;
      }
      throw error;
    }
  }

  async #configure(removed: readonly string[], put: readonly OverlayPeerConfig[]): Promise<void> {
    const isBehind = this.#isDeviceBehind;
    if (!isBehind && removed.length + put.length === 0) return;
    this.#isDeviceBehind = true;
    await this.#options.device.configure(removed, isBehind ? this.#allPeers({ callsTunnelled: true }) : put);
    this.#isDeviceBehind = false;
  }

  handshakeAgeMs(publicKey: string): number {
    return this.#options.device.peer(publicKey)?.handshakeAgeMs ?? Infinity;
  }

  /**
   * A tunnelled machine has a stream. After a restart of the gateway its session is void, which the machine would notice
   * after 15 s only: the device, which has no handshake with it, calls it as soon as it knows where it is.
   */
  streamOpened(publicKey: string): void {
    if (this.handshakeAgeMs(publicKey) !== Infinity) return;
    const called = this.#serial.then(async () => {
      const record = this.#registry.machineByKey(publicKey) ?? this.#registry.pendingByKey(publicKey);
      if (!record) return;
      const { nodeAddress, virtualEndpoint } = record;
      await this.#options.device.configure([], [{ publicKey, nodeAddress, endpoint: virtualEndpoint }]);
    });
    this.#serial = called.catch((error: unknown) => {
      this.#isDeviceBehind = true;
      this.#options.logger.log('error', 'machine_not_called', { reason: String(error) });
    });
  }

  /**
   * Housekeeping, every few seconds: forgets waiting machines that have gone, and remembers where machines were last
   * heard from.
   */
  async sweep(): Promise<void> {
    const now = this.#options.clock.now();
    const gone = expiredPending(this.#registry.pendingRecords(), (publicKey) =>
      Math.min(now - (this.#lastProvisionAt.get(publicKey) ?? -Infinity), this.handshakeAgeMs(publicKey)),
    );
    for (const pending of gone) await this.commit(dropPending(pending));
    const moved = [...this.#registry.machines(), ...this.#registry.pendingRecords()].flatMap(
      ({ publicKey }): StoreChange[] => {
        const state = this.#options.device.peer(publicKey);
        const endpoint = state?.udpEndpoint;
        if (!state || state.handshakeAgeMs >= PEER_DOWN_AFTER || endpoint === undefined) return [];
        if (endpoint === this.#registry.endpointOf(publicKey)) return [];
        return [{ kind: 'put_endpoint', publicKey, endpoint }];
      },
    );
    await this.commit(moved);
  }

  #allPeers({ callsTunnelled }: { callsTunnelled: boolean }): OverlayPeerConfig[] {
    return [...this.#registry.machines(), ...this.#registry.pendingRecords()].map((record) => {
      const { publicKey, nodeAddress, virtualEndpoint } = record;
      const last = this.#options.useLastEndpoints ? this.#registry.endpointOf(publicKey) : undefined;
      const virtual = callsTunnelled ? virtualEndpoint : undefined;
      return { publicKey, nodeAddress, endpoint: virtualEndpoint === undefined ? last : virtual };
    });
  }
}

interface TouchedPeer {
  readonly record: MachineRecord | PendingRecord;
  /** New, or under another virtual endpoint: elsewhere than where the device knows it. */
  readonly isMoved: boolean;
}

/** Records whose peer is new or may have changed, and keys that have no peer any more. */
function peersTouched(changes: readonly StoreChange[]): { removed: string[]; put: TouchedPeer[] } {
  const removed = new Set<string>();
  const put = new Map<string, TouchedPeer>();
  for (const change of changes) {
    if (change.kind === 'put_machine' || change.kind === 'put_pending') {
      const { record, before } = change;
      const isSameKey = before?.publicKey === record.publicKey;
      if (before && !isSameKey) removed.add(before.publicKey);
      removed.delete(record.publicKey);
      put.set(record.publicKey, {
        record,
        isMoved: !isSameKey || before.virtualEndpoint !== record.virtualEndpoint,
      });
    } else if (change.kind === 'delete_machine' || change.kind === 'delete_pending') {
      put.delete(change.before.publicKey);
      removed.add(change.before.publicKey);
    }
  }
  return { removed: [...removed], put: [...put.values()] };
}

function count(counts: Record<string, number>, label: string): void {
  counts[label] = (counts[label] ?? 0) + 1;
}
