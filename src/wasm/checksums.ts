/** Internet checksums in WebAssembly SIMD. See src/wasm/assembly. */
import type { Arena } from '../core/arena.ts';
import type { Checksums } from '../core/checksums.ts';
import { loadKernels } from './kernels.ts';

/** `slot`: see `loadKernels`. */
export function wasmChecksums(arena: Arena, slot?: number): Checksums {
  const { sum, copySum } = loadKernels(arena, slot).exports;
  return { sum, copySum };
}
