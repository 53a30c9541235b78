/** What a device may have beside it: metrics and a status page. Loaded only where they are wanted. */
import type { ListenAddress } from './http/listen-address.ts';
import type { MetricsOptions } from './metrics/metrics-options.ts';
import type { RunningDevice, RuntimeOptions } from './runtime.ts';

export interface DeviceServices {
  readonly metrics: MetricsOptions | undefined;
  readonly page: ListenAddress | undefined;
}

export type StartDevice = (options: RuntimeOptions) => RunningDevice | Promise<RunningDevice>;

/**
 * `start`, or what does the same and serves what is wanted. `names` are friendly names of peers, by their public key in
 * hexadecimal.
 */
export async function deviceOpener(
  { metrics, page }: DeviceServices,
  start: StartDevice,
  names?: ReadonlyMap<string, string>,
): Promise<StartDevice> {
  let opener = start;
  if (metrics) {
    const { startMeteredDevice } = await import('./metrics/metered-device.ts');
    const inner = opener;
    opener = (options) => startMeteredDevice(options, metrics, inner, names);
  }
  if (page) {
    const { startPagedDevice } = await import('./api/device-api.ts');
    const inner = opener;
    opener = (options) => startPagedDevice(options, page, inner, names);
  }
  return opener;
}
