/** The overlay as a WireGuard device of this process with a TUN interface. */
import { readFileSync, writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { AppError, SystemError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { OVERLAY_PREFIX, SERVER_ADDRESS } from '../../link/addresses.ts';
import { OVERLAY_MTU } from '../../link/constants.ts';
import { DeviceOverlay } from '../../link/overlay-device.ts';
import { tableSource } from '../../link/stream-source.ts';
import type { PrivateKey } from '../../noise/keys.ts';
import { EADDRINUSE } from '../../sys/errno.ts';
import type { BandwidthLimits } from '../../tunnel/lane/bandwidth.ts';
import { deviceView } from '../api/datapath-view.ts';
import { deviceMetrics } from '../metrics/device-metrics.ts';
import { linkIndex, withRoutes } from '../routes.ts';
import { type RunningDevice, startDevice } from '../runtime.ts';
import type { Tuning } from '../tuning.ts';
import { version } from '../version.ts';
import type { Overlay } from './overlay.ts';

export interface DeviceOverlayOptions {
  readonly interfaceName: string;
  /** UDP. */
  readonly port: number;
  readonly bandwidth: BandwidthLimits | undefined;
  readonly privateKey: PrivateKey;
  /** That of the environment when absent. */
  readonly lanes?: Tuning['lanes'];
  readonly logger: Logger;
}

/** Makes the interface with its address and opens the port. Throws AppError, and then nothing is left. */
export async function openDeviceOverlay(options: DeviceOverlayOptions): Promise<Overlay> {
  const { interfaceName, port, bandwidth = {}, privateKey, lanes, logger } = options;
  const running = startDevice({
    name: interfaceName,
    mtu: OVERLAY_MTU,
    streams: true,
    ...(lanes === undefined ? {} : { tuning: { lanes } }),
    policy: { onlyDestination: SERVER_ADDRESS, bandwidth },
    logger,
  });
  try {
    setUpInterface(running.name);
    await running.device.configure({ privateKey, listenPort: port, peers: [] });
    await running.device.up();
  } catch (error) {
    await running.close('the overlay cannot be set up');
    throw explain(error, port);
  }
  return overlayOf(running);
}

/** Of a device that is up and has its key. */
export function overlayOf(
  running: Pick<RunningDevice, 'name' | 'device' | 'streams' | 'engine' | 'closed' | 'close'>,
): Overlay {
  const { name, device, streams, closed } = running;
  const { publicKey } = device.state();
  if (!streams || !publicKey) throw new AppError('internal', 'the device has no streams or no key');
  return {
    name,
    publicKey: publicKey.base64,
    device: new DeviceOverlay(device),
    sink: streams,
    connect: (table) => streams.connect(tableSource(table)),
    traffic: () =>
      new Map(
        device
          .state()
          .peers.map((peer) => [
            peer.publicKey.base64,
            { rxBytes: Number(peer.rxBytes), txBytes: Number(peer.txBytes) },
          ]),
      ),
    metrics: () =>
      deviceMetrics(device, {
        name,
        version: version(),
        engine: () => running.engine(),
        withMindFlavor: false,
        perPeer: 'auto',
        names: new Map(),
        wall: Date.now,
        pause: () => turn(),
      }),
    view: () => deviceView(name, device, running.engine()),
    isUp: () => device.isUp,
    limitBandwidth: (limits) => device.setBandwidth(limits),
    closed,
    close: (reason) => running.close(reason),
  };
}

/** IN6_ADDR_GEN_MODE_NONE (linux/if_link.h): nobody could answer to such an address, or to what the kernel asks from it. */
const NO_LINK_LOCAL = 1;

/** Packets that the device does not drop are for the gateway itself, and the kernel shall not pass any on either. */
function setUpInterface(name: string): void {
  setIpv6(name, 'disable_ipv6', 0);
  setIpv6(name, 'forwarding', 0);
  setIpv6(name, 'addr_gen_mode', NO_LINK_LOCAL);
  withRoutes((routes) => {
    const index = linkIndex(routes, name);
    routes.setLinkMtu(index, OVERLAY_MTU);
    routes.addAddress(index, SERVER_ADDRESS, OVERLAY_PREFIX.length);
    routes.setLinkUp(index, true);
  });
}

/** Containers often have /proc/sys read-only, and the right values all the same. */
function setIpv6(name: string, setting: string, value: number): void {
  const path = `/proc/sys/net/ipv6/conf/${name}/${setting}`;
  try {
    if (Number(readFileSync(path, 'utf8')) !== value) writeFileSync(path, String(value));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (setting === 'addr_gen_mode') return;
    if (code === 'ENOENT') {
      throw new AppError('unavailable', 'this machine has no IPv6, which the overlay is made of', {
        cause: error,
      });
    }
    throw new AppError('permission', `${path} cannot be set to ${value}: ${code ?? message}`, {
      hint: `in a container: --sysctl net.ipv6.conf.all.${setting}=${value}`,
      cause: error,
    });
  }
}

function explain(error: unknown, port: number): unknown {
  if (error instanceof SystemError && error.errno === EADDRINUSE) {
    return new AppError('in_use', `UDP port ${port} is in use`, {
      hint: 'choose another with --wg-listen',
      cause: error,
    });
  }
  return error;
}
