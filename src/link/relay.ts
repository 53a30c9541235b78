/**
 * The machine's end of WireGuard over gRPC: keeps a stream to the gateway open, or several, and carries the device's
 * datagrams. Sans-I/O: streams come from a dialer, time is told by `advance`.
 */
import type { Clock } from '../core/clock.ts';
import type { SocketAddress } from '../core/ip.ts';
import type { Random } from '../core/random.ts';
import { Deadlines } from '../tunnel/deadlines.ts';
import { encodeEndpoint, ENDPOINT, GRPC_CARRIER } from '../tunnel/endpoint.ts';
import type { Status } from './grpc-status.ts';
import { RelayLane, type RelayContext, type StreamDialer } from './relay-lane.ts';
import { type DatagramSink, MAX_LANES } from './stream-table.ts';
import { createStreamPools } from './stream-writer.ts';

export interface RelayOptions {
  readonly dialer: StreamDialer;
  /** Where datagrams from the gateway go; `StreamTable.pull` is `Relay.pull` here. */
  readonly sink: DatagramSink;
  readonly clock: Clock;
  readonly random: Random;
  /** The peer's endpoint in the device: the label of everything that arrives. */
  readonly endpoint: SocketAddress;
  /** Streams to spread flows over, when the gateway lets us: 1 .. MAX_LANES. */
  readonly lanes: number;
  /** Told when the next deadline moves forward. */
  readonly onEarlierDeadline?: (at: number) => void;
  /** A stream has ended, or could not be opened; another one will be tried. */
  readonly onBroken?: (status: Status) => void;
  /**
   * The gateway refused the virtual address, or gave it to another stream: this relay is over, and only another
   * Provision helps. Called once.
   */
  readonly onEnd: (status: Status) => void;
}

export interface RelayCounters {
  opened: number;
  /** Streams that ended, and attempts that failed. */
  broken: number;
  rxDatagrams: number;
  rxBytes: number;
  txDatagrams: number;
  txBytes: number;
  outboundFull: number;
  inboundFull: number;
  notWireguard: number;
}

export class Relay {
  readonly #options: RelayOptions;
  readonly #deadlines: Deadlines;
  readonly #context: RelayContext;
  readonly #lanes: RelayLane[] = [];
  #isOver = false;
  readonly counters: RelayCounters = {
    opened: 0,
    broken: 0,
    rxDatagrams: 0,
    rxBytes: 0,
    txDatagrams: 0,
    txBytes: 0,
    outboundFull: 0,
    inboundFull: 0,
    notWireguard: 0,
  };

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.onEarlierDeadline);
    const endpoint = new Uint8Array(ENDPOINT.size);
    encodeEndpoint({ ...options.endpoint, scope: 0, carrier: GRPC_CARRIER }, endpoint, 0);
    this.#context = {
      dialer: options.dialer,
      sink: options.sink,
      clock: options.clock,
      random: options.random,
      deadlines: this.#deadlines,
      pools: createStreamPools(options.clock),
      counters: this.counters,
      endpoint,
      mayOpen: (lane) => lane === 0 || lane < (this.#lanes[0]?.offered ?? 0),
      offered: () => this.#openMore(),
      broken: options.onBroken ?? (() => {}),
      ended: (status) => this.#end(status),
    };
  }

  /** Opens the first stream. */
  start(): void {
    this.#addLane().open();
  }

  get nextDeadline(): number {
    return this.#deadlines.next;
  }

  /** Fires what is due; returns the next deadline (Clock.now() scale). */
  advance(now: number): number {
    return this.#deadlines.advance(now);
  }

  /** A stream is open as far as we know. */
  get isOpen(): boolean {
    return this.#lanes.some(({ isOpen }) => isOpen);
  }

  get openLanes(): number {
    return this.#lanes.filter(({ isOpen }) => isOpen).length;
  }

  /** A datagram for the gateway; a copy is taken. Goes out with the next `flush`, or waits for a stream. */
  send(bytes: Uint8Array, at: number, length: number, flow: number): void {
    this.counters.txDatagrams++;
    this.counters.txBytes += length;
    const count = this.#lanes.length;
    if (count === 0 || this.#isOver) return;
    let lane = this.#lanes[flow % count] as RelayLane;
    // Rather another stream than waiting for this one; with none open the first has the queue.
    if (!lane.isOpen) lane = this.#lanes.find(({ isOpen }) => isOpen) ?? (this.#lanes[0] as RelayLane);
    if (!lane.send(bytes, at, length)) this.counters.outboundFull++;
  }

  flush(): void {
    for (const lane of this.#lanes) lane.flush();
  }

  /** Streams that do not answer soon are opened anew, and those that could not be opened are tried again at once. */
  networkChanged(): void {
    for (const lane of this.#lanes) lane.networkChanged();
  }

  /** The sink has room again. */
  pull(): void {
    for (const lane of this.#lanes) lane.pull();
  }

  /** Idempotent; nothing is called afterwards. */
  close(): void {
    this.#isOver = true;
    for (const lane of this.#lanes) lane.close();
  }

  #addLane(): RelayLane {
    const lane = new RelayLane(this.#lanes.length, this.#options.lanes > 1, this.#context);
    this.#lanes.push(lane);
    return lane;
  }

  /**
   * Opens the streams that the gateway at the end of the first one lets us have. To another gateway they would look
   * like replacements of the first.
   */
  #openMore(): void {
    const wanted = Math.min(this.#options.lanes, this.#lanes[0]?.offered ?? 0, MAX_LANES);
    while (this.#lanes.length < wanted) this.#addLane();
    for (const lane of this.#lanes) lane.open();
  }

  #end(status: Status): void {
    if (this.#isOver) return;
    this.close();
    this.#options.onEnd(status);
  }
}
