/**
 * Resolves when `condition` holds, looking again after every turn of the event loop. The bound is no expectation of
 * speed: it only turns a hang into a failure that names its line.
 */
export async function until(condition: () => boolean, giveUpAfterMs = 20_000): Promise<void> {
  const start = Date.now();
  while (!condition()) {
    if (Date.now() - start > giveUpAfterMs)
      throw new Error(`still not so after ${giveUpAfterMs} ms: ${String(condition)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
