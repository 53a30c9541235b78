/** How a gateway is ended from outside. */
import type { RunningGateway } from './run.ts';

export const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The first signal ends the gateway in good order, a second one of its kind at once. */
export function stopOnSignals(gateway: Pick<RunningGateway, 'stop'>): void {
  for (const signal of ENDING_SIGNALS) process.once(signal, () => void gateway.stop(signal));
}
