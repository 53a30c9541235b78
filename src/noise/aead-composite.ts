/** Two backends as one: short packets to the one with cheap calls, long ones to the one with fast code. */
import type { Arena } from '../core/arena.ts';
import { AEAD_FORGED, AeadBatch, type TransportAead } from './aead.ts';

/** Entries looked at in one go; larger batches are done in pieces. */
const CAPACITY = 64;

/** A part of a batch, with the places its entries come from. */
class Part {
  readonly batch: AeadBatch;
  readonly #origins: Uint16Array = new Uint16Array(CAPACITY);

  constructor(arena: Arena) {
    this.batch = new AeadBatch(arena, CAPACITY);
  }

  take(from: AeadBatch, i: number, key: number): void {
    this.#origins[this.batch.count] = i;
    this.batch.push(from.at(i), from.length(i), from.counterLow(i), from.counterHigh(i), key);
  }

  giveBack(to: AeadBatch): void {
    for (let i = 0; i < this.batch.count; i++) {
      to.setStatus(this.#origins[i] as number, this.batch.status(i));
    }
    this.batch.clear();
  }
}

export class CompositeTransportAead implements TransportAead {
  readonly name: string;
  readonly #short: TransportAead;
  readonly #long: TransportAead;
  readonly #longestShort: number;
  /** Handles of the backend for short packets, which are also ours, to those of the other. */
  readonly #longKeys: Map<number, number> = new Map();
  readonly #shortPart: Part;
  readonly #longPart: Part;

  /** Texts of up to `longestShort` bytes go to `short`, longer ones to `long`; both work on `arena`. */
  constructor(arena: Arena, short: TransportAead, long: TransportAead, longestShort: number) {
    this.name = `${short.name}+${long.name}`;
    this.#short = short;
    this.#long = long;
    this.#longestShort = longestShort;
    this.#shortPart = new Part(arena);
    this.#longPart = new Part(arena);
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
    this.#short.dropKey(handle);
    this.#long.dropKey(longKey);
  }

  seal(batch: AeadBatch): void {
    if (this.#isShort(batch)) {
      this.#short.seal(batch);
      return;
    }
    for (let from = 0; from < batch.count; from += CAPACITY) {
      this.#split(batch, from);
      this.#short.seal(this.#shortPart.batch);
      this.#long.seal(this.#longPart.batch);
      this.#join(batch);
    }
  }

  open(batch: AeadBatch): void {
    if (this.#isShort(batch)) {
      this.#short.open(batch);
      return;
    }
    for (let from = 0; from < batch.count; from += CAPACITY) {
      this.#split(batch, from);
      this.#short.open(this.#shortPart.batch);
      this.#long.open(this.#longPart.batch);
      this.#join(batch);
    }
  }

  /** The usual case, which costs no copies. */
  #isShort(batch: AeadBatch): boolean {
    for (let i = 0; i < batch.count; i++) if (batch.length(i) > this.#longestShort) return false;
    return true;
  }

  #split(batch: AeadBatch, from: number): void {
    const end = Math.min(batch.count, from + CAPACITY);
    for (let i = from; i < end; i++) {
      batch.setStatus(i, AEAD_FORGED);
      const handle = batch.key(i);
      if (batch.length(i) <= this.#longestShort) this.#shortPart.take(batch, i, handle);
      else this.#longPart.take(batch, i, this.#longKeys.get(handle) ?? 0);
    }
  }

  #join(batch: AeadBatch): void {
    this.#shortPart.giveBack(batch);
    this.#longPart.giveBack(batch);
  }
}
