/** Lets packets to one IPv6 address pass and nothing else: peers reach this machine, and nobody through it. */
import type { Arena } from '../core/arena.ts';
import type { Address } from '../core/ip.ts';
import { IPV6, ipVersion } from './packet.ts';

export class DestinationFilter {
  /** Big endian. */
  readonly #words: Uint32Array;

  /** `destination` has 16 bytes. */
  constructor(destination: Address) {
    const view = new DataView(destination.buffer, destination.byteOffset, 16);
    this.#words = Uint32Array.from([0, 4, 8, 12], (at) => view.getUint32(at));
  }

  /** `length` is that of the packet, at least what its header states. */
  passes(arena: Arena, at: number, length: number): boolean {
    if (length < IPV6.headerSize || ipVersion(arena, at) !== 6) return false;
    const destination = at + IPV6.destination;
    for (let i = 0; i < 4; i++) {
      if (arena.view.getUint32(destination + 4 * i) !== this.#words[i]) return false;
    }
    return true;
  }
}
