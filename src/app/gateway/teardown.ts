/** What has been started, to be ended in the opposite order. */
export class Teardown {
  readonly #steps: { readonly what: string; readonly end: () => void | Promise<void> }[] = [];
  #running: Promise<void> | undefined;

  defer(what: string, end: () => void | Promise<void>): void {
    this.#steps.push({ what, end });
  }

  /** Takes every step, whatever fails; `failed` is told. Idempotent. */
  run(failed: (what: string, error: unknown) => void): Promise<void> {
    this.#running ??= this.#run(failed);
    return this.#running;
  }

  async #run(failed: (what: string, error: unknown) => void): Promise<void> {
    for (const { what, end } of this.#steps.toReversed()) {
      try {
        await end();
      } catch (error) {
        failed(what, error);
      }
    }
  }
}
