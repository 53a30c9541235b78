/**
 * Records from one thread to another: a ring in shared memory that one side fills and the other empties. Nobody waits for
 * anybody; the side that finds nothing to do leaves a mark, and the other one then wakes it, once.
 *
 * Head and tail count bytes, modulo 2^32. A record is never split: what does not fit before the end of the ring begins
 * at its start, and a mark says so.
 */
import type { QueueFill } from './queue.ts';

/** A record begins with its stride, a u32; the rest is its user's. */
export const RECORD_HEAD = 4;

/** Of records: one of the processor's cache lines. */
const ALIGN = 64;
/** Where the words of control lie: what one side writes is not in the cache line of what the other one writes. */
const HEAD = 0;
const TAIL = 64;
const IS_ASLEEP = 128;
const WANTS_ROOM = 192;
const RECORDS = 256;

const SKIP = 0xffff_ffff;

/** Bytes of a ring for so many bytes of records, a power of two. */
export function ringSize(capacity: number): number {
  return RECORDS + capacity;
}

/** Both sides make one of their own over the same bytes, which are zero at first. */
export class RecordRing {
  readonly #at: number;
  readonly #u32: Uint32Array;
  readonly #capacity: number;
  /** The side's own position, which the other one sees after `publish` or `release`. */
  #own = 0;
  /** Tail as last seen by the producer, head as last seen by the consumer. */
  #other = 0;

  /** `at`: offset in bytes, a multiple of 64. */
  constructor(u32: Uint32Array, at: number, capacity: number) {
    this.#at = at;
    this.#u32 = u32;
    this.#capacity = capacity;
  }

  /** Bytes that the consumer has yet to take, as any thread may ask. */
  get fill(): QueueFill {
    // The tail first: it is never ahead of a head that is read later.
    const tail = Atomics.load(this.#u32, this.#word(TAIL));
    const head = Atomics.load(this.#u32, this.#word(HEAD));
    return {
      depth: Math.min(this.#capacity, (head - tail) >>> 0),
      capacity: this.#capacity,
      dropped: undefined,
    };
  }

  // The producer's side.

  /**
   * Room for a record of `size` bytes, RECORD_HEAD included: its offset in the memory, 0 when there is none. `spare` bytes
   * remain free.
   */
  claim(size: number, spare: number): number {
    const stride = (size + ALIGN - 1) & -ALIGN;
    const offset = this.#own & (this.#capacity - 1);
    const skipped = offset + stride > this.#capacity ? this.#capacity - offset : 0;
    const needed = skipped + stride + spare;
    if (needed > this.#free()) {
      this.#other = Atomics.load(this.#u32, this.#word(TAIL));
      if (needed > this.#free()) return 0;
    }
    if (skipped > 0) this.#u32[(this.#at + RECORDS + offset) >> 2] = SKIP;
    const record = this.#at + RECORDS + (skipped > 0 ? 0 : offset);
    this.#u32[record >> 2] = stride;
    this.#own = (this.#own + skipped + stride) >>> 0;
    return record;
  }

  #free(): number {
    return this.#capacity - ((this.#own - this.#other) >>> 0);
  }

  /** Shows the consumer what was claimed since the last call. */
  publish(): void {
    Atomics.store(this.#u32, this.#word(HEAD), this.#own);
  }

  /** After `publish`: the consumer has nothing to do and must be woken. Says so once. */
  mustWake(): boolean {
    return this.#take(IS_ASLEEP);
  }

  /** Asks to be woken when there is room again. Another `claim` must follow: it may be there already. */
  wantRoom(): void {
    Atomics.store(this.#u32, this.#word(WANTS_ROOM), 1);
  }

  // The consumer's side.

  /** Offset of the next record, 0 when there is none. It stays as it is until `release`. */
  next(): number {
    if (this.#own === this.#other) {
      this.#other = Atomics.load(this.#u32, this.#word(HEAD));
      if (this.#own === this.#other) return 0;
    }
    let offset = this.#own & (this.#capacity - 1);
    if (this.#u32[(this.#at + RECORDS + offset) >> 2] === SKIP) {
      this.#own = (this.#own + this.#capacity - offset) >>> 0;
      offset = 0;
    }
    const record = this.#at + RECORDS + offset;
    this.#own = (this.#own + (this.#u32[record >> 2] as number)) >>> 0;
    return record;
  }

  /** Where the last published record ends, and where the last one ends that `next` has shown. */
  get head(): number {
    return Atomics.load(this.#u32, this.#word(HEAD));
  }

  get position(): number {
    return this.#own;
  }

  /** Gives back the room of all records that `next` has shown. */
  release(): void {
    Atomics.store(this.#u32, this.#word(TAIL), this.#own);
  }

  /** After `release`: the producer waits for room, there is plenty, and it must be woken. Says so once. */
  mustTellRoom(): boolean {
    if (Atomics.load(this.#u32, this.#word(WANTS_ROOM)) === 0) return false;
    this.#other = Atomics.load(this.#u32, this.#word(HEAD));
    return (this.#other - this.#own) >>> 0 <= this.#capacity / 2 && this.#take(WANTS_ROOM);
  }

  /** The consumer is about to have nothing to do. False when a record has come in this moment. */
  sleep(): boolean {
    Atomics.store(this.#u32, this.#word(IS_ASLEEP), 1);
    this.#other = Atomics.load(this.#u32, this.#word(HEAD));
    return this.#own === this.#other;
  }

  #take(flag: number): boolean {
    const word = this.#word(flag);
    return Atomics.load(this.#u32, word) === 1 && Atomics.exchange(this.#u32, word, 0) === 1;
  }

  #word(field: number): number {
    return (this.#at + field) >> 2;
  }
}
