/** A device with HTTP API and status page beside it: both or none. */
import { type Clock, systemClock } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import { systemRandom } from '../../core/random.ts';
import type { StartDevice } from '../device-services.ts';
import type { ListenAddress } from '../http/listen-address.ts';
import type { Engine, RunningDevice, RuntimeOptions } from '../runtime.ts';
import { version } from '../version.ts';
import { AdminToken } from './access.ts';
import { type DatapathView, deviceView } from './datapath-view.ts';
import { deviceRoutes } from './device-routes.ts';
import {
  type DeviceFacts,
  deviceStatusView,
  type PeerView,
  peerView,
  type ShownDevice,
} from './device-views.ts';
import { SignInFiles } from './sign-in-file.ts';
import { serveApi, type ServedApi } from './serve-api.ts';

export interface DeviceApiOptions {
  readonly address: ListenAddress;
  readonly token: AdminToken;
  readonly device: ShownDevice;
  readonly engine: () => Engine;
  readonly facts: DeviceFacts;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Rejects with AppError when it cannot listen. */
export function serveDeviceApi({ device, engine, facts, ...options }: DeviceApiOptions): Promise<ServedApi> {
  const peers = (): PeerView[] => {
    const now = options.clock.wall();
    return Array.from(device.peerStates(), (peer) =>
      peerView(peer, facts.names.get(peer.publicKey.hex), now),
    );
  };
  const status = (all: readonly PeerView[] = peers()) => deviceStatusView(device, facts, all);
  const datapath = (): DatapathView => ({
    device: deviceView(facts.name, device, engine()),
    streams: null,
  });
  return serveApi({
    ...options,
    tls: undefined,
    tokenHint: `"culvert page ${facts.name}" prints an address that signs in`,
    rowsEvent: 'peers',
    source: { rows: peers, topics: (all) => ({ status: status(all), datapath: datapath() }) },
    routes: (feed) => deviceRoutes({ status, peers, datapath, feed }),
  });
}

/** Opens a device as `start` does and serves its page until it has ended. Each run has a token of its own. */
export async function startPagedDevice(
  runtime: RuntimeOptions,
  address: ListenAddress,
  start: StartDevice,
  names: ReadonlyMap<string, string> = new Map(),
  files: SignInFiles = new SignInFiles(),
): Promise<RunningDevice> {
  const running = await start(runtime);
  const { name, device } = running;
  const token = AdminToken.make(systemRandom);
  const clock = systemClock;
  const facts = { name, version: version(), startedAtMs: clock.wall(), names };
  let api: ServedApi;
  try {
    const { logger } = runtime;
    api = await serveDeviceApi({
      address,
      token,
      device,
      engine: () => running.engine(),
      facts,
      clock,
      logger,
    });
  } catch (error) {
    await running.close('the status page cannot be served');
    throw error;
  }
  let isWritten = false;
  void running.closed.then(() => {
    if (isWritten) files.remove(name);
    return api.close();
  });
  return {
    ...running,
    onServed: () => {
      files.write(name, { url: api.url, token });
      isWritten = true;
    },
  };
}
