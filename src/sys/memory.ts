/** Memory whose address system calls may be given. */
import type { Arena } from '../core/arena.ts';
import { libc } from './libc.ts';

/**
 * A small piece of memory of its own, for calls of the control path. An ArrayBuffer lies outside the JavaScript heap
 * and never moves; the block must stay referenced during the call, which a local variable does.
 */
export class Block {
  readonly u8: Uint8Array;
  /** All struct fields are written through this view: it throws RangeError beyond the end. */
  readonly view: DataView;
  readonly address: number;

  constructor(size: number) {
    const buffer = new ArrayBuffer(size);
    this.u8 = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.address = libc().address(this.u8);
  }

  get size(): number {
    return this.u8.length;
  }
}

/** The address of arena offset 0. An arena has a fixed size, so it stays the same for life. */
export function arenaAddress(arena: Arena): number {
  return libc().address(arena.u8);
}

/**
 * Whether `length` bytes at `at` lie within a memory of `size` bytes: what every address and length that is handed to
 * the kernel has passed, here or in a DataView. False for anything that is no number.
 */
export function isInside(size: number, at: number, length: number): boolean {
  return at >= 0 && length >= 0 && at + length <= size;
}
