import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 20;

/**
 * Polls until `probe` gives something other than undefined or false, and returns that. Rejects at the deadline; the
 * latest exception of `probe`, which also means "not yet", is the cause.
 */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let cause: unknown;
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause });
    await pause(POLL_MS);
  }
}
