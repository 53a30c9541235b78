import { REJECT_AFTER_MESSAGES, REPLAY_WINDOW } from '../../src/noise/constants.ts';

/** What ReplayWindow should answer, plainly: BigInt counters and a set of all that were seen. */
export class ReplayModel {
  #greatest = -1n;
  readonly #seen = new Set<bigint>();

  accept(counter: bigint): boolean {
    if (counter >= REJECT_AFTER_MESSAGES) return false;
    if (this.#greatest - counter > BigInt(REPLAY_WINDOW) || this.#seen.has(counter)) return false;
    this.#seen.add(counter);
    if (counter > this.#greatest) this.#greatest = counter;
    return true;
  }
}
