/** An arena whose every allocation lies between canaries, so that tests notice a write beside what it was meant for. */
import assert from 'node:assert/strict';
import { Arena, type ArenaOptions, KERNEL_RESERVED } from '../../src/core/arena.ts';

/** Before and behind each allocation; a multiple of every alignment that is asked for. */
const ZONE = 256;
const CANARY = 0xa5a5_a5a5;

interface Allocation {
  readonly at: number;
  readonly size: number;
}

export class GuardedArena extends Arena {
  readonly #allocations: Allocation[] = [];

  constructor(options: ArenaOptions) {
    // Room for the zones of a few hundred allocations.
    super({ ...options, bytes: options.bytes + (1 << 18) });
  }

  override alloc(size: number, align = 64): number {
    const zone = Math.max(ZONE, align);
    // Whole words behind an odd size; the bytes in between are nobody's as well, but not looked at.
    const at = super.alloc(size + 2 * zone + 4, zone) + zone;
    this.u32.fill(CANARY, (at - zone) / 4, at / 4);
    this.u32.fill(CANARY, endOf({ at, size }) / 4, (endOf({ at, size }) + zone) / 4);
    this.#allocations.push({ at, size });
    return at;
  }

  /** The allocation that an offset lies in. */
  allocationOf(at: number): Allocation | undefined {
    return this.#allocations.find((each) => at >= each.at && at < each.at + each.size);
  }

  get largest(): Allocation {
    return this.#allocations.reduce((a, b) => (b.size > a.size ? b : a));
  }

  /** The zones are as they were made. */
  verify(): void {
    for (const each of this.#allocations) {
      const end = endOf(each);
      for (let i = 1; i <= ZONE / 4; i++) {
        if (this.u32[each.at / 4 - i] !== CANARY)
          assert.fail(`written ${4 * i} bytes before ${describe(each)}`);
        if (this.u32[end / 4 + i - 1] !== CANARY)
          assert.fail(`written ${end + 4 * i - 4 - each.at - each.size} bytes behind ${describe(each)}`);
      }
    }
  }

  /** And what was never given out is empty. Slower. */
  verifyAll(): void {
    this.verify();
    const last = this.#allocations.at(-1);
    const from = last === undefined ? KERNEL_RESERVED : endOf(last) + ZONE + 4;
    const at = this.u32.subarray(Math.ceil(from / 4)).findIndex((word) => word !== 0);
    assert.equal(at, -1, 'written to memory that was never given out');
  }
}

function endOf({ at, size }: Allocation): number {
  return Math.ceil((at + size) / 4) * 4;
}

function describe({ at, size }: Allocation): string {
  return `the ${size} bytes at ${at}`;
}
