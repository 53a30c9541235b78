/**
 * What the inbound one of two lanes tells the outbound one without a detour, before it delivers the packet that it has
 * learnt it from: so that the very answer to that packet leaves with the keys and to the place that the packet came from.
 * The control thread hears the same, and would come too late.
 *
 * A ring in memory of its own, which one thread fills and the other empties. What finds no room is left to the control
 * thread.
 */
import type { Arena } from '../../core/arena.ts';
import { ENDPOINT } from '../endpoint.ts';

const ENDPOINT_WORDS = ENDPOINT.size / 4;
/** Words of control: how many were told, and how many were heard, in cache lines of their own. */
const TOLD = 0;
const HEARD = 16;
const RECORDS = 32;
/** A record: peer, index of a confirmed keypair or 0 when it is an endpoint, and that. */
const PEER = 0;
const INDEX = 1;
const PLACE = 4;
const RECORD_WORDS: number = PLACE + ENDPOINT_WORDS;
const CAPACITY = 1_024;

export interface NewsListener {
  confirmed(peer: number, index: number): void;
  /** The endpoint record lies in these words. */
  roamed(peer: number, words: Uint32Array, at: number): void;
}

export class LaneNews {
  readonly words: Uint32Array;

  /** The other thread's is the same when made of the same words. */
  constructor(
    words: Uint32Array = new Uint32Array(new SharedArrayBuffer(4 * (RECORDS + CAPACITY * RECORD_WORDS))),
  ) {
    this.words = words;
  }

  // Inbound.

  /** `index` is not 0. */
  confirmed(peer: number, index: number): void {
    const at = this.#claim();
    if (at === 0) return;
    this.words[at + PEER] = peer;
    this.words[at + INDEX] = index;
    Atomics.add(this.words, TOLD, 1);
  }

  /** `record` is an arena offset. */
  roamed(peer: number, arena: Arena, record: number): void {
    const at = this.#claim();
    if (at === 0) return;
    this.words[at + PEER] = peer;
    this.words[at + INDEX] = 0;
    this.words.set(arena.u32.subarray(record / 4, record / 4 + ENDPOINT_WORDS), at + PLACE);
    Atomics.add(this.words, TOLD, 1);
  }

  /** 0: no room. */
  #claim(): number {
    const told = this.words[TOLD] as number;
    if ((told - Atomics.load(this.words, HEARD)) >>> 0 >= CAPACITY) return 0;
    return RECORDS + (told % CAPACITY) * RECORD_WORDS;
  }

  // Outbound.

  /** Whether there is something to hear. */
  get isWaiting(): boolean {
    return Atomics.load(this.words, TOLD) !== this.words[HEARD];
  }

  hear(listener: NewsListener): void {
    while (this.isWaiting) {
      const at = RECORDS + ((this.words[HEARD] as number) % CAPACITY) * RECORD_WORDS;
      const peer = this.words[at + PEER] as number;
      const index = this.words[at + INDEX] as number;
      if (index === 0) listener.roamed(peer, this.words, at + PLACE);
      else listener.confirmed(peer, index);
      Atomics.add(this.words, HEARD, 1);
    }
  }

  /** When neither thread runs: the next ones begin with nothing. */
  clear(): void {
    this.words.fill(0);
  }
}
