/** TransportAead in WebAssembly SIMD: one call for a batch, nothing allocated. See src/wasm/assembly/aead.ts. */
import type { Arena } from '../core/arena.ts';
import { type Kernels, loadKernels } from '../wasm/kernels.ts';
import { AEAD_DESCRIPTOR, type AeadBatch, type TransportAead } from './aead.ts';

export class WasmTransportAead implements TransportAead {
  readonly name = 'wasm';
  readonly #kernels: Kernels;

  /** `slot`: see `loadKernels`. */
  constructor(arena: Arena, slot?: number) {
    this.#kernels = loadKernels(arena, slot);
  }

  /** Takes 64 bytes of the arena for each key beyond the first 896. Throws RangeError when it is full. */
  addKey(key: Uint8Array): number {
    return this.#kernels.keys.add(key);
  }

  dropKey(handle: number): void {
    this.#kernels.keys.drop(handle);
  }

  seal(batch: AeadBatch, from = 0, end: number = batch.count): void {
    this.#kernels.exports.sealBatch(batch.table + from * AEAD_DESCRIPTOR.size, end - from);
  }

  open(batch: AeadBatch, from = 0, end: number = batch.count): void {
    this.#kernels.exports.openBatch(batch.table + from * AEAD_DESCRIPTOR.size, end - from);
  }
}
