/**
 * What changes in a gateway, told to all who watch. Every client has a snapshot that it was sent completely; it gets
 * the difference to the present one. A slow client keeps an older snapshot and gets a larger difference later: nothing
 * piles up for it, and nothing is lost.
 */
import type { MachineView } from '../gateway/admin-views.ts';
import type { EventStream } from './event-stream.ts';

export interface FeedSource {
  machines(): readonly MachineView[];
  /** Everything else by topic, each sent whole when it has changed. */
  topics(machines: readonly MachineView[]): Readonly<Record<string, unknown>>;
}

export interface LiveFeedOptions {
  readonly source: FeedSource;
  /** Calls back from time to time until the returned function is called. */
  readonly every: (task: () => void) => () => void;
  /** Milliseconds since the Unix epoch. */
  readonly wall: () => number;
  /** Lets the event loop have its turn. */
  readonly pause: () => Promise<void>;
  readonly onError: (error: unknown) => void;
}

interface Snapshot {
  /** By public key. */
  readonly machines: ReadonlyMap<string, MachineView>;
  /** JSON. */
  readonly topics: ReadonlyMap<string, string>;
  /** Wall clock, milliseconds. */
  readonly atMs: number;
}

interface Client {
  readonly stream: EventStream;
  base: Snapshot;
  isSending: boolean;
}

/** Of the event `machines`: changed members of known machines, whole new ones, and who is gone. */
export interface MachinesChange {
  readonly changed: readonly (Partial<MachineView> & Pick<MachineView, 'publicKey'>)[];
  /** Public keys. */
  readonly removed: readonly string[];
}

/** Of the event `tick`, the last of every turn. */
export interface Tick {
  /** ISO 8601. */
  readonly at: string;
}

const EMPTY: Snapshot = { machines: new Map(), topics: new Map(), atMs: 0 };
/** About a millisecond of work, and 200 kB. */
const MACHINES_PER_EVENT = 500;
/** The time of a handshake is worked out from its age, so it trembles. */
const SAME_HANDSHAKE_MS = 1_000;

export class LiveFeed {
  readonly #options: LiveFeedOptions;
  readonly #clients = new Set<Client>();
  #current: Snapshot = EMPTY;
  /** Events that lead from a snapshot to the current one; most clients have the same. */
  #changes = new Map<Snapshot, Promise<readonly FeedEvent[]>>();
  #stop: (() => void) | undefined;

  constructor(options: LiveFeedOptions) {
    this.#options = options;
  }

  /** Sends everything, then what changes. Looks only while somebody watches. */
  open(stream: EventStream): void {
    const client: Client = { stream, base: EMPTY, isSending: false };
    if (this.#clients.size === 0) this.#take();
    this.#clients.add(client);
    this.#stop ??= this.#options.every(() => this.refresh());
    stream.start(() => this.#remove(client));
    stream.onDrain(() => this.#send(client));
    this.#send(client);
  }

  #remove(client: Client): void {
    this.#clients.delete(client);
    if (this.#clients.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
    this.#current = EMPTY;
    this.#changes.clear();
  }

  /** Looks at once instead of at the next turn. */
  refresh(): void {
    if (this.#clients.size === 0) return;
    try {
      this.#take();
    } catch (error) {
      this.#options.onError(error);
      return;
    }
    for (const client of this.#clients) this.#send(client);
  }

  #take(): void {
    const { source } = this.#options;
    const views = source.machines();
    const before = this.#current.machines;
    const machines = new Map<string, MachineView>();
    for (const view of views) machines.set(view.publicKey, steady(view, before.get(view.publicKey)));
    const topics = new Map(
      Object.entries(source.topics(views)).map(([topic, value]) => [topic, JSON.stringify(value)]),
    );
    this.#current = { machines, topics, atMs: this.#options.wall() };
    this.#changes = new Map();
  }

  #send(client: Client): void {
    this.#pump(client).catch((error: unknown) => {
      this.#options.onError(error);
      client.stream.end();
    });
  }

  async #pump(client: Client): Promise<void> {
    if (client.isSending) return;
    client.isSending = true;
    try {
      while (client.base !== this.#current && !client.stream.isBusy && !client.stream.isEnded) {
        const target = this.#current;
        for (const { name, json } of await this.#eventsSince(client.base)) client.stream.send(name, json);
        client.base = target;
      }
    } finally {
      client.isSending = false;
    }
  }

  #eventsSince(base: Snapshot): Promise<readonly FeedEvent[]> {
    const known = this.#changes.get(base);
    if (known) return known;
    const events = difference(base, this.#current, this.#options.pause);
    this.#changes.set(base, events);
    return events;
  }
}

interface FeedEvent {
  readonly name: string;
  readonly json: string;
}

async function difference(
  base: Snapshot,
  target: Snapshot,
  pause: () => Promise<void>,
): Promise<readonly FeedEvent[]> {
  const events: FeedEvent[] = [];
  for (const [name, json] of target.topics) if (base.topics.get(name) !== json) events.push({ name, json });
  const add = (change: MachinesChange) => events.push({ name: 'machines', json: JSON.stringify(change) });
  const removed = [...base.machines.keys()].filter((key) => !target.machines.has(key));
  if (removed.length > 0) add({ changed: [], removed });
  let changed: MachinesChange['changed'][number][] = [];
  let looked = 0;
  for (const view of target.machines.values()) {
    const change = changedMembers(view, base.machines.get(view.publicKey));
    if (change) changed.push(change);
    if (changed.length === MACHINES_PER_EVENT) {
      add({ changed, removed: [] });
      changed = [];
    }
    if (++looked % MACHINES_PER_EVENT === 0) await pause();
  }
  if (changed.length > 0) add({ changed, removed: [] });
  // Ages are told by the clock here, not by that of who looks.
  const tick: Tick = { at: new Date(target.atMs).toISOString() };
  events.push({ name: 'tick', json: JSON.stringify(tick) });
  return events;
}

function changedMembers(
  view: MachineView,
  before: MachineView | undefined,
): MachinesChange['changed'][number] | undefined {
  if (!before) return view;
  if (view === before) return undefined;
  const members = Object.entries(view).filter(
    ([name, value]) => !isSame(value, before[name as keyof MachineView]),
  );
  if (members.length === 0) return undefined;
  return { ...(Object.fromEntries(members) as Partial<MachineView>), publicKey: view.publicKey };
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b));
}

function steady(view: MachineView, before: MachineView | undefined): MachineView {
  const earlier = before?.lastHandshake ?? null;
  if (earlier === null || view.lastHandshake === null || view.lastHandshake === earlier) return view;
  const isTremble = Math.abs(Date.parse(view.lastHandshake) - Date.parse(earlier)) < SAME_HANDSHAKE_MS;
  return isTremble ? { ...view, lastHandshake: earlier } : view;
}
