/**
 * Ends lane threads, as a fault in them would; nothing of the program itself knows of this. Imported before what starts
 * them. Loaded by `node --import` into a program under test, SIGUSR2 ends those whose direction LANE_KILLER_VICTIM names.
 */
import workerThreads, { isMainThread, Worker } from 'node:worker_threads';
import { syncBuiltinESMExports } from 'node:module';

const workers = new Map<Worker, string>();

if (isMainThread) {
  workerThreads.Worker = class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      const setup = args[1]?.workerData as { readonly direction?: string } | undefined;
      workers.set(this, setup?.direction ?? '');
      this.once('exit', () => workers.delete(this));
    }
  };
  syncBuiltinESMExports();
  process.on('SIGUSR2', () => killLanes(process.env['LANE_KILLER_VICTIM'] ?? 'both'));
}

/** Threads of this direction: `both`, `out` or `in`. */
export function killLanes(victim: string): void {
  for (const [worker, direction] of workers) if (direction === victim) void worker.terminate();
}
