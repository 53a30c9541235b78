/**
 * One WebAssembly memory in which all packets live. System calls and WebAssembly kernels work on it in place,
 * so a packet is an offset and a length, never an object.
 *
 * The size is fixed (initial = maximum): the buffer never moves, and views and addresses stay valid for life.
 */
export interface ArenaOptions {
  readonly bytes: number;
  /** Shared between threads (SharedArrayBuffer), for hosted lanes. */
  readonly shared?: boolean;
}

/** Of threads that share one memory, each lays out a part of its own. */
export interface ArenaShare {
  /** 0 .. count - 1. */
  readonly index: number;
  readonly count: number;
}

const WHOLE: ArenaShare = { index: 0, count: 1 };

const PAGE = 65_536;

/** The first bytes belong to the WebAssembly kernels (their tables and scratch); `alloc` starts behind. */
export const KERNEL_RESERVED: number = 1 << 20;
/** Instances of the kernels on one memory, each with its own part of that region. */
export const KERNEL_SLOTS = 16;
export const KERNEL_SLOT_SIZE: number = KERNEL_RESERVED / KERNEL_SLOTS;

export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly view: DataView;
  /** `alloc` gives from it, and its index is the slot of the WebAssembly kernels (wasm/kernels.ts). */
  readonly share: ArenaShare;
  readonly #start: number;
  readonly #end: number;
  #top: number;

  constructor(source: ArenaOptions | WebAssembly.Memory, share: ArenaShare = WHOLE) {
    if (source instanceof WebAssembly.Memory) {
      this.memory = source;
    } else {
      const pages = Math.ceil(source.bytes / PAGE) + KERNEL_RESERVED / PAGE;
      this.memory = new WebAssembly.Memory({
        initial: pages,
        maximum: pages,
        shared: source.shared ?? false,
      });
    }
    const buffer = this.memory.buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.share = share;
    const pages = (buffer.byteLength - KERNEL_RESERVED) / PAGE;
    const border = (index: number) => KERNEL_RESERVED + Math.floor((pages * index) / share.count) * PAGE;
    this.#start = border(share.index);
    this.#end = border(share.index + 1);
    this.#top = this.#start;
  }

  /** Takes `size` bytes for good and returns their offset. Zeroed. Throws RangeError when the arena is full. */
  alloc(size: number, align = 64): number {
    const at = Math.ceil(this.#top / align) * align;
    if (at + size > this.#end) {
      throw new RangeError(
        `arena is full: ${size} bytes wanted, ${this.free} of ${this.#end - this.#start} left`,
      );
    }
    this.#top = at + size;
    return at;
  }

  /** `count` words at an offset that `alloc` gave, here or on another thread. */
  words(at: number, count: number): Uint32Array {
    return this.u32.subarray(at / 4, at / 4 + count);
  }

  /** Bytes still free for `alloc`. */
  get free(): number {
    return this.#end - this.#top;
  }

  /** Zeroes the share and its kernels' region, keys among it, for another thread that lays it out anew. */
  wipe(): void {
    const kernel = this.share.index * KERNEL_SLOT_SIZE;
    this.u8.fill(0, kernel, kernel + KERNEL_SLOT_SIZE);
    this.u8.fill(0, this.#start, this.#end);
  }
}
