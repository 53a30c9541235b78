/**
 * Loaded by `node --import` into a program under test: SIGUSR2 ends its lane thread, as a fault in it would; of two the
 * one whose direction LANE_KILLER_VICTIM names. Nothing of the program itself knows of this.
 */
import workerThreads, { isMainThread, Worker } from 'node:worker_threads';
import { syncBuiltinESMExports } from 'node:module';

if (isMainThread) {
  const victim = process.env['LANE_KILLER_VICTIM'] ?? 'both';
  const workers = new Set<Worker>();
  workerThreads.Worker = class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      const setup = args[1]?.workerData as { readonly direction: string } | undefined;
      if (setup?.direction === victim) workers.add(this);
      this.once('exit', () => workers.delete(this));
    }
  };
  syncBuiltinESMExports();
  process.on('SIGUSR2', () => {
    for (const worker of workers) void worker.terminate();
  });
}
