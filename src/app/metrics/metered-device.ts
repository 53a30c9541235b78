/** A device with a metrics server beside it: both or none. */
import { setImmediate as turn } from 'node:timers/promises';
import { formatListenAddress } from '../http/listen-address.ts';
import type { StartDevice } from '../device-services.ts';
import type { RunningDevice, RuntimeOptions } from '../runtime.ts';
import { version } from '../version.ts';
import { deviceMetrics } from './device-metrics.ts';
import type { MetricsOptions } from './metrics-options.ts';
import { serveMetrics } from './device-server.ts';
import { processMetrics } from './process-metrics.ts';

/** Opens a device as `start` does and serves its metrics until it has ended. */
export async function startMeteredDevice(
  runtime: RuntimeOptions,
  metrics: MetricsOptions,
  start: StartDevice,
  names: ReadonlyMap<string, string> = new Map(),
): Promise<RunningDevice> {
  const running = await start(runtime);
  const ofProcess = processMetrics();
  const options = {
    name: running.name,
    version: version(),
    engine: () => running.engine(),
    withMindFlavor: metrics.withMindFlavor,
    perPeer: metrics.perPeer,
    names,
    wall: Date.now,
    pause: () => turn(),
  };
  try {
    const server = await serveMetrics(metrics.address, {
      collect: async () => [
        ...(await deviceMetrics(running.device, options)),
        Buffer.from(await ofProcess()),
      ],
      problems: () => (running.device.isUp ? [] : [`interface ${running.name} is down`]),
    });
    void running.closed.then(() => server.close());
    const address = formatListenAddress(server.address);
    runtime.logger.log('info', 'metrics_served', { address });
  } catch (error) {
    await running.close('the metrics server cannot listen');
    throw error;
  }
  return running;
}
