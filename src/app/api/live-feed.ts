/**
 * What changes in a gateway or a device, told to all who watch: rows (machines, peers) and topics. Every client has a snapshot that it was sent completely; it gets
 * the difference to the present one. A slow client keeps an older snapshot and gets a larger difference later: nothing
 * piles up for it, and nothing is lost.
 */
import type { EventStream } from './event-stream.ts';

/** Plain data for JSON. */
export interface FeedRow {
  /** Names it. */
  readonly publicKey: string;
  /** ISO 8601. */
  readonly lastHandshake: string | null;
}

export interface FeedSource<Row extends FeedRow> {
  rows(): readonly Row[];
  /** Everything else by topic, each sent whole when it has changed. */
  topics(rows: readonly Row[]): Readonly<Record<string, unknown>>;
}

export interface LiveFeedOptions<Row extends FeedRow> {
  /** Name of the event that tells of rows. */
  readonly rowsEvent: string;
  readonly source: FeedSource<Row>;
  /** Calls back from time to time until the returned function is called. */
  readonly every: (task: () => void) => () => void;
  /** Milliseconds since the Unix epoch. */
  readonly wall: () => number;
  /** Lets the event loop have its turn. */
  readonly pause: () => Promise<void>;
  readonly onError: (error: unknown) => void;
}

interface Snapshot<Row> {
  /** By public key. */
  readonly rows: ReadonlyMap<string, Row>;
  /** JSON. */
  readonly topics: ReadonlyMap<string, string>;
  /** Wall clock, milliseconds. */
  readonly atMs: number;
}

interface Client<Row> {
  readonly stream: EventStream;
  base: Snapshot<Row>;
  isSending: boolean;
}

/** Of the event of rows: changed members of known ones, whole new ones, and who is gone. */
export interface RowsChange<Row extends FeedRow> {
  readonly changed: readonly ChangedRow<Row>[];
  /** Public keys. */
  readonly removed: readonly string[];
}

export type ChangedRow<Row extends FeedRow> = Partial<Row> & Pick<Row, 'publicKey'>;

/** Of the event `tick`, the last of every turn. */
export interface Tick {
  /** ISO 8601. */
  readonly at: string;
}

const EMPTY: Snapshot<never> = { rows: new Map<string, never>(), topics: new Map(), atMs: 0 };
/** About a millisecond of work, and 200 kB. */
const ROWS_PER_EVENT = 500;
/** The time of a handshake is worked out from its age, so it trembles. */
const SAME_HANDSHAKE_MS = 1_000;

export class LiveFeed<Row extends FeedRow> {
  readonly #options: LiveFeedOptions<Row>;
  readonly #clients = new Set<Client<Row>>();
  #current: Snapshot<Row> = EMPTY;
  /** Events that lead from a snapshot to the current one; most clients have the same. */
  #changes = new Map<Snapshot<Row>, Promise<readonly FeedEvent[]>>();
  #stop: (() => void) | undefined;

  constructor(options: LiveFeedOptions<Row>) {
    this.#options = options;
  }

  /** Sends everything, then what changes. Looks only while somebody watches. */
  open(stream: EventStream): void {
    const client: Client<Row> = { stream, base: EMPTY, isSending: false };
    if (this.#clients.size === 0) this.#take();
    this.#clients.add(client);
    this.#stop ??= this.#options.every(() => this.refresh());
    stream.start(() => this.#remove(client));
    stream.onDrain(() => this.#send(client));
    this.#send(client);
  }

  #remove(client: Client<Row>): void {
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
    const views = source.rows();
    const before = this.#current.rows;
    const rows = new Map<string, Row>();
    for (const view of views) rows.set(view.publicKey, steady(view, before.get(view.publicKey)));
    const topics = new Map(
      Object.entries(source.topics(views)).map(([topic, value]) => [topic, JSON.stringify(value)]),
    );
    this.#current = { rows, topics, atMs: this.#options.wall() };
    this.#changes = new Map();
  }

  #send(client: Client<Row>): void {
    this.#pump(client).catch((error: unknown) => {
      this.#options.onError(error);
      client.stream.end();
    });
  }

  async #pump(client: Client<Row>): Promise<void> {
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

  #eventsSince(base: Snapshot<Row>): Promise<readonly FeedEvent[]> {
    const known = this.#changes.get(base);
    if (known) return known;
    const events = difference(base, this.#current, this.#options);
    this.#changes.set(base, events);
    return events;
  }
}

interface FeedEvent {
  readonly name: string;
  readonly json: string;
}

async function difference<Row extends FeedRow>(
  base: Snapshot<Row>,
  target: Snapshot<Row>,
  { rowsEvent, pause }: LiveFeedOptions<Row>,
): Promise<readonly FeedEvent[]> {
  const events: FeedEvent[] = [];
  for (const [name, json] of target.topics) if (base.topics.get(name) !== json) events.push({ name, json });
  const add = (change: RowsChange<Row>) => events.push({ name: rowsEvent, json: JSON.stringify(change) });
  const removed = [...base.rows.keys()].filter((key) => !target.rows.has(key));
  if (removed.length > 0) add({ changed: [], removed });
  let changed: ChangedRow<Row>[] = [];
  let looked = 0;
  for (const view of target.rows.values()) {
    const change = changedMembers(view, base.rows.get(view.publicKey));
    if (change) changed.push(change);
    if (changed.length === ROWS_PER_EVENT) {
      add({ changed, removed: [] });
      changed = [];
    }
    if (++looked % ROWS_PER_EVENT === 0) await pause();
  }
  if (changed.length > 0) add({ changed, removed: [] });
  // Ages are told by the clock here, not by that of who looks.
  const tick: Tick = { at: new Date(target.atMs).toISOString() };
  events.push({ name: 'tick', json: JSON.stringify(tick) });
  return events;
}

function changedMembers<Row extends FeedRow>(
  view: Row,
  before: Row | undefined,
): ChangedRow<Row> | undefined {
  if (!before) return view;
  if (view === before) return undefined;
  const members = Object.entries(view).filter(([name, value]) => !isSame(value, before[name as keyof Row]));
  if (members.length === 0) return undefined;
  return { ...(Object.fromEntries(members) as Partial<Row>), publicKey: view.publicKey };
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b));
}

function steady<Row extends FeedRow>(view: Row, before: Row | undefined): Row {
  const earlier = before?.lastHandshake ?? null;
  if (earlier === null || view.lastHandshake === null || view.lastHandshake === earlier) return view;
  const isTremble = Math.abs(Date.parse(view.lastHandshake) - Date.parse(earlier)) < SAME_HANDSHAKE_MS;
  return isTremble ? { ...view, lastHandshake: earlier } : view;
}
