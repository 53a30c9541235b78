/**
 * Loads the WebAssembly kernels onto an arena. Their sources are in src/wasm/assembly; scripts/build-wasm.mjs compiles
 * them to two modules beside this file, for plain and for shared memory.
 */
import { readFileSync } from 'node:fs';
import { type Arena, KERNEL_RESERVED, KERNEL_SLOTS, KERNEL_SLOT_SIZE } from '../core/arena.ts';
import { KeyTable } from './key-table.ts';

/** Offsets and sizes are those of src/wasm/assembly/layout.ts. All addresses are arena offsets. */
export interface KernelExports {
  /** Encrypts `count` entries of the AEAD_DESCRIPTOR table in place; entries that lie outside are marked forged. */
  readonly sealBatch: (table: number, count: number) => void;
  /** Verifies and decrypts; only entries with the right tag are written to. */
  readonly openBatch: (table: number, count: number) => void;
  /** Poly1305 keys of the entries to `to`, 32 bytes each; sets their status. The caller wipes the keys. */
  readonly oneTimeKeyBatch: (table: number, count: number, to: number, isSealing: boolean) => void;
  readonly blake2sBegin: (outSize: number, keySize: number) => void;
  readonly blake2sAbsorb: () => void;
  readonly blake2sEnd: (size: number) => void;
  readonly blake2sMask: (mask: number) => void;
  /** As `Checksums` of core/checksums, folded to 16 bits. The caller checks the bounds. */
  readonly sum: (at: number, length: number) => number;
  /** The same while copying; the ranges must not overlap. */
  readonly copySum: (to: number, from: number, length: number) => number;
  /** Only for tests. */
  readonly computeTags: (count: number) => void;
}

/** Constants that the module exports. */
type LayoutName =
  | 'BLAKE2S_HASH'
  | 'BLAKE2S_IN'
  | 'BLAKE2S_IN_SIZE'
  | 'KEY_LIVE'
  | 'KEY_SLOT_SIZE'
  | 'LIVE'
  | 'WORK_SIZE'
  | 'GROUP'
  | 'ONE_TIME_KEYS'
  | 'TAGS';

export interface Kernels {
  readonly arena: Arena;
  readonly exports: KernelExports;
  /** Arena offset of this instance's working area. */
  readonly scratch: number;
  readonly layout: Readonly<Record<LayoutName, number>>;
  readonly keys: KeyTable;
}

const modules = new Map<string, WebAssembly.Module>();

function moduleFor(memory: WebAssembly.Memory): WebAssembly.Module {
  const isShared = Object.prototype.toString.call(memory.buffer) === '[object SharedArrayBuffer]';
  const name = isShared ? 'kernels-shared.wasm' : 'kernels.wasm';
  let module = modules.get(name);
  if (module === undefined) {
    module = new WebAssembly.Module(readFileSync(new URL(name, import.meta.url)));
    modules.set(name, module);
  }
  return module;
}

const loaded = new WeakMap<WebAssembly.Memory, (Kernels | undefined)[]>();

/**
 * The kernels on this arena's memory; loaded once for each memory and slot. Threads that share a memory each take a
 * slot of their own (0 .. KERNEL_SLOTS - 1), as an instance keeps its working state there.
 */
export function loadKernels(arena: Arena, slot: number = arena.share.index): Kernels {
  if (!Number.isInteger(slot) || slot < 0 || slot >= KERNEL_SLOTS) {
    throw new RangeError(`kernel slot ${slot}: expected 0 to ${KERNEL_SLOTS - 1}`);
  }
  const slots = loaded.get(arena.memory) ?? [];
  loaded.set(arena.memory, slots);
  const kernels = slots[slot] ?? instantiate(arena, slot);
  slots[slot] = kernels;
  return kernels;
}

function instantiate(arena: Arena, slot: number): Kernels {
  const scratch = slot * KERNEL_SLOT_SIZE;
  const { exports } = new WebAssembly.Instance(moduleFor(arena.memory), {
    env: { memory: arena.memory, scratch, reserved: KERNEL_RESERVED },
  });
  const constants = Object.entries(exports).filter(([, value]) => typeof value === 'object');
  const layout = Object.fromEntries(
    constants.map(([name, global]) => [name, (global as { readonly value: number }).value]),
  ) as Record<LayoutName, number>;
  const keys = new KeyTable(arena, {
    from: scratch + layout.WORK_SIZE,
    to: scratch + KERNEL_SLOT_SIZE,
    slotSize: layout.KEY_SLOT_SIZE,
    liveAt: layout.KEY_LIVE,
    live: layout.LIVE,
  });
  return { arena, exports: exports as unknown as KernelExports, scratch, layout, keys };
}
