/** Families about the process itself, by prom-client's names: process_*, nodejs_*. */
import { Registry, collectDefaultMetrics } from 'prom-client';

/** Starts to watch the event loop and the garbage collector; returns what writes the page. */
export function processMetrics(): () => Promise<string> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return () => registry.metrics();
}
