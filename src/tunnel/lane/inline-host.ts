/** Runs the lanes on the control thread: tests, portable mode, and wherever workers do not pay. */
import type { Arena } from '../../core/arena.ts';
import type { Clock } from '../../core/clock.ts';
import type { TransportAead } from '../../noise/aead.ts';
import { PORT_GONE, type PacketPort } from '../../tun/tun.ts';
import type { DatagramPort } from '../bind.ts';
import type { LaneEvents, LaneHost } from './control.ts';
import { Lane } from './lane.ts';
import type { LaneNews } from './lane-news.ts';
import type { LanePolicy } from './policy.ts';

/** Packets or batches per wake-up, after which the event loop gets its turn. */
const PACKETS_PER_TURN = 512;
const BATCHES_PER_TURN = 8;

export interface InlineHostOptions {
  readonly arena: Arena;
  readonly aead: TransportAead;
  readonly clock: Clock;
  readonly tun: PacketPort;
  readonly bind: DatagramPort;
  readonly policy?: LanePolicy;
  /** As LaneOptions has it. */
  readonly tells?: LaneNews;
  readonly hears?: LaneNews;
  /** Runs a task in a later turn of the event loop. */
  readonly defer: (task: () => void) => void;
}

export class InlineHost extends Lane implements LaneHost {
  readonly #options: InlineHostOptions;
  #closed = false;

  constructor(options: InlineHostOptions, events: LaneEvents) {
    super({ ...options, events });
    this.#options = options;
  }

  start(): void {
    this.#options.bind.onReadable(() => this.#inboundTurn());
  }

  override setUp(up: boolean): void {
    super.setUp(up);
    // A watch on what is not read would fire without end.
    this.#options.tun.onReadable(up ? () => this.#outboundTurn() : undefined);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #outboundTurn(): void {
    if (this.#closed) return;
    const moved = this.pumpOutbound(PACKETS_PER_TURN);
    if (moved !== PORT_GONE && moved === PACKETS_PER_TURN) this.#options.defer(() => this.#outboundTurn());
  }

  #inboundTurn(): void {
    if (this.#closed) return;
    for (let i = 0; i < BATCHES_PER_TURN; i++) if (this.pumpInbound() === 0) return;
    this.#options.defer(() => this.#inboundTurn());
  }
}
