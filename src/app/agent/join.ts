/** `culvert join` apart from its command line: a machine on its gateway's overlay, from start to end. */
import { AppError } from '../../core/errors.ts';
import { OVERLAY_MTU } from '../../link/constants.ts';
import { type RunningDevice, startDevice } from '../runtime.ts';
import { serveDevice, type ServedDevice } from '../serve-device.ts';
import { systemZones } from '../zones.ts';
import { FirewallOpening, systemNft } from './firewall.ts';
import { Hooks } from './hooks.ts';
import { HERE, type JoinOptions, type LiveJoin, Machine } from './machine.ts';
import type { MachineStatus } from './status.ts';
import { openStatusSocket, statusPath } from './status-socket.ts';

export interface JoinedMachine {
  /** Resolves when the first handshake was answered. */
  readonly connected: Promise<void>;
  /** Resolves with the reason when everything is taken down. */
  readonly ended: Promise<string>;
  status(): MachineStatus;
  /** Applies what is another than before and can change; the session lives on. Resolves to what went wrong with the firewall. */
  reconfigure(next: LiveJoin): Promise<AppError | undefined>;
  /** Idempotent. */
  stop(reason: string): Promise<void>;
}

/** Rejects when the interface cannot be had; a gateway that does not answer is asked again for ever. */
export async function joinGateway(options: JoinOptions): Promise<JoinedMachine> {
  const { settings, logger, place = HERE } = options;
  const hooks = new Hooks(settings, logger);
  const firewall = settings.opensFirewall
    ? new FirewallOpening(settings.interfaceName, systemNft)
    : undefined;
  if (firewall) logger.log('info', 'firewall_opened', { chains: await firewall.open() });
  let machine: Machine | undefined;
  let running: RunningDevice | undefined;
  let served: ServedDevice;
  try {
    served = await serveDevice({
      name: settings.interfaceName,
      mtu: OVERLAY_MTU,
      logger,
      zones: systemZones,
      openDevice: (wanted) =>
        (running = place.run(() =>
          startDevice({ ...wanted, streams: true, tuning: { lanes: settings.lanes } }),
        )),
      beforeStop: async () => machine?.leave(),
    });
  } catch (error) {
    await firewall?.close();
    throw error;
  }
  if (!running?.streams) throw new AppError('internal', 'the device has no streams');
  machine = new Machine(options, running, hooks, firewall);
  const status = await openStatusSocket(statusPath(settings.interfaceName), () =>
    (machine as Machine).status(),
  ).catch(async (error: unknown) => {
    await served.abort('the status socket cannot be opened');
    await machine?.close();
    throw error;
  });
  const ended = served.ended.then(async (reason) => {
    await machine?.close();
    await status.close();
    return reason;
  });
  machine.start();
  return {
    connected: machine.connected,
    ended,
    status: () => (machine as Machine).status(),
    reconfigure: (next) => (machine as Machine).reconfigure(next),
    stop: (reason) => served.stop(reason),
  };
}
