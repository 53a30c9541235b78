/** How a running program is ended, or told to read its configuration again, from outside. */

export const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

interface Stoppable {
  stop(reason: string): Promise<void>;
}

/**
 * The first signal ends it in good order, a second one of its kind at once. SIGHUP means `reload`, if there is one, to a
 * program without a terminal: with one, the terminal has gone.
 */
export function stopOnSignals(
  program: Stoppable,
  reload?: () => void,
  hasTerminal: boolean = process.stdin.isTTY,
): void {
  for (const signal of ENDING_SIGNALS) {
    if (signal === 'SIGHUP' && reload && !hasTerminal) process.on(signal, reload);
    else process.once(signal, () => void program.stop(signal));
  }
}
