/** Two backends as one: short packets to the one with cheap calls, long ones to the one with fast code. */
import type { AeadBatch, TransportAead } from './aead.ts';

export class CompositeTransportAead implements TransportAead {
  readonly name: string;
  readonly #short: TransportAead;
  readonly #long: TransportAead;
  readonly #longestShort: number;
  /** Handles of the backend for short packets, which are also ours, to those of the other. */
  readonly #longKeys: Map<number, number> = new Map();
  /** The translation that was needed last: packets of one peer follow each other. */
  #lastHandle = 0;
  #lastLongKey = 0;

  /** Texts of up to `longestShort` bytes go to `short`, longer ones to `long`. */
  constructor(short: TransportAead, long: TransportAead, longestShort: number) {
    this.name = `${short.name}+${long.name}`;
    this.#short = short;
    this.#long = long;
    this.#longestShort = longestShort;
  }

  addKey(key: Uint8Array): number {
    const longKey = this.#long.addKey(key);
    try {
      const handle = this.#short.addKey(key);
      this.#longKeys.set(handle, longKey);
      return handle;
    } catch (error) {
      this.#long.dropKey(longKey);
      throw error;
    }
  }

  dropKey(handle: number): void {
    const longKey = this.#longKeys.get(handle);
    if (longKey === undefined) return;
    this.#longKeys.delete(handle);
    this.#lastHandle = 0;
    this.#short.dropKey(handle);
    this.#long.dropKey(longKey);
  }

  seal(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let start = from; start < end;) {
      const isLong = batch.length(start) > this.#longestShort;
      const stop = isLong ? this.#longRun(batch, start, end) : this.#shortRun(batch, start, end);
      (isLong ? this.#long : this.#short).seal(batch, start, stop);
      start = stop;
    }
  }

  open(batch: AeadBatch, from = 0, end: number = batch.count): void {
    for (let start = from; start < end;) {
      const isLong = batch.length(start) > this.#longestShort;
      const stop = isLong ? this.#longRun(batch, start, end) : this.#shortRun(batch, start, end);
      (isLong ? this.#long : this.#short).open(batch, start, stop);
      start = stop;
    }
  }

  #shortRun(batch: AeadBatch, start: number, end: number): number {
    let i = start + 1;
    while (i < end && batch.length(i) <= this.#longestShort) i++;
    return i;
  }

  /** The entries of a long run name keys of the other backend from here on. */
  #longRun(batch: AeadBatch, start: number, end: number): number {
    let i = start;
    do batch.setKey(i, this.#longKey(batch.key(i)));
    while (++i < end && batch.length(i) > this.#longestShort);
    return i;
  }

  #longKey(handle: number): number {
    if (handle !== this.#lastHandle) {
      this.#lastHandle = handle;
      this.#lastLongKey = this.#longKeys.get(handle) ?? 0;
    }
    return this.#lastLongKey;
  }
}
