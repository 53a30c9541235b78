/** 32-byte keys at fixed places in the arena, where the AEAD kernels read them. */
import type { Arena } from '../core/arena.ts';

const KEY_SIZE = 32;
/** Slots added at a time when the first ones are used up. */
const CHUNK_SLOTS = 256;

export interface KeyTableOptions {
  /** The first slots lie between these arena offsets. */
  readonly from: number;
  readonly to: number;
  /** Bytes; the key comes first. */
  readonly slotSize: number;
  /** Offset in a slot of the word that holds `live` while the slot is in use. */
  readonly liveAt: number;
  readonly live: number;
}

export class KeyTable {
  readonly #arena: Arena;
  readonly #options: KeyTableOptions;
  readonly #free: number[] = [];
  #next: number;
  #end: number;

  constructor(arena: Arena, options: KeyTableOptions) {
    this.#arena = arena;
    this.#options = options;
    this.#next = options.from;
    this.#end = options.to;
  }

  /** Copies the key and returns its arena offset, never 0. Throws RangeError when the arena is full. */
  add(key: Uint8Array): number {
    if (key.length !== KEY_SIZE) throw new RangeError(`a key has ${KEY_SIZE} bytes, got ${key.length}`);
    const slot = this.#free.pop() ?? this.#take();
    this.#arena.u8.set(key, slot);
    this.#arena.view.setUint32(slot + this.#options.liveAt, this.#options.live, true);
    return slot;
  }

  /** Wipes the key. Ignores what is not the offset of a key in use. */
  drop(slot: number): void {
    if (!this.#isLive(slot)) return;
    this.#arena.u8.fill(0, slot, slot + this.#options.slotSize);
    this.#free.push(slot);
  }

  #isLive(slot: number): boolean {
    const { slotSize, liveAt, live } = this.#options;
    if (slot % slotSize !== 0 || slot < this.#options.from || slot >= this.#arena.u8.length) return false;
    return this.#arena.view.getUint32(slot + liveAt, true) === live;
  }

  #take(): number {
    const { slotSize } = this.#options;
    if (this.#next === this.#end) {
      this.#next = this.#arena.alloc(CHUNK_SLOTS * slotSize, slotSize);
      this.#end = this.#next + CHUNK_SLOTS * slotSize;
    }
    const slot = this.#next;
    this.#next += slotSize;
    return slot;
  }
}
