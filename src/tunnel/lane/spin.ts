/**
 * Whether to look for an answer a while before the thread goes to sleep. Falling asleep and waking up again takes longer
 * than a near peer needs to answer, and the caches are cold then. As with the halt polling of virtual processors
 * (Documentation/virt/guest-halt-polling.rst), what happened lately decides: each look in vain halves how often there is one.
 */
const MAX_VAIN = 6;

export class Spin {
  /** Looks in vain since the last answer, MAX_VAIN at most. */
  #vain = 0;
  /** Occasions to let go by. */
  #pause = 0;

  /** A packet left and its answer may come: is it worth waiting awake for it? */
  isWorth(): boolean {
    if (this.#pause === 0) return true;
    this.#pause--;
    return false;
  }

  /** How it ended. */
  note(hasAnswer: boolean): void {
    this.#vain = hasAnswer ? 0 : Math.min(this.#vain + 1, MAX_VAIN);
    this.#pause = (1 << this.#vain) - 1;
  }
}
