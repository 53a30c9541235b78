import { systemClock } from '../core/clock.ts';

/** One Node timer for all deadlines of a device. */
export class Alarm {
  readonly #advance: (now: number) => number;
  #timer: NodeJS.Timeout | undefined;
  #at: number = Number.POSITIVE_INFINITY;

  /** `advance` fires what is due and returns the next deadline. */
  constructor(advance: (now: number) => number) {
    this.#advance = advance;
  }

  set(at: number): void {
    if (at >= this.#at) return;
    this.#arm(at);
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#at = Number.POSITIVE_INFINITY;
  }

  #arm(at: number): void {
    this.cancel();
    if (at === Number.POSITIVE_INFINITY) return;
    this.#at = at;
    // Rounded up: a timer that fires early would only go round again.
    this.#timer = setTimeout(() => this.#ring(), Math.max(0, Math.ceil(at - systemClock.now())));
  }

  #ring(): void {
    this.#at = Number.POSITIVE_INFINITY;
    this.#arm(this.#advance(systemClock.now()));
  }
}
