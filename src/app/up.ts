/** `culvert up` apart from its command line: what wg-quick does, around a device of our own. */
import { AppError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Configurable } from '../tunnel/config.ts';
import type { Endpoint } from '../tunnel/endpoint.ts';
import { type NetworkSystem, applyNetwork, undoNetwork } from './network-apply.ts';
import { planNetwork } from './network-plan.ts';
import { type Resolver, resolveEndpoint } from './resolve.ts';
import { saveConfig } from './save-config.ts';
import type { ServedDevice, ServeOptions } from './serve-device.ts';
import type { UndoStore } from './undo-store.ts';
import type { PeerSection, WgConf } from './wg-conf.ts';
import { toDeviceChange } from './wg-conf-print.ts';

export interface UpRequest {
  readonly interfaceName: string;
  readonly conf: WgConf;
  /** The file as it was read last, when it may have been read again. */
  readonly latest?: () => WgConf;
  /** Where SaveConfig writes to. */
  readonly path: string;
  /** Whether PreUp and the other hooks are run. */
  readonly runsHooks: boolean;
}

export interface UpDependencies {
  readonly serve: (
    options: Pick<ServeOptions, 'name' | 'mtu' | 'beforeStop' | 'logger'>,
  ) => Promise<ServedDevice>;
  readonly system: NetworkSystem;
  readonly undoStore: UndoStore;
  readonly resolver: Resolver;
  readonly runHook: (command: string, interfaceName: string) => Promise<void>;
  /** A sentence for the user. */
  readonly warn: (text: string) => void;
  /**
   * Called when the interface is up: gives up the rights to take back what was set up, and sees to it that somebody
   * else does when this process has ended.
   */
  readonly drop?: () => void;
  readonly logger: Logger;
}

/**
 * Brings the interface up and returns when it is. `ended` of the result resolves when everything is taken down again,
 * hooks and all. When it throws everything is taken back.
 */
export async function bringUp(request: UpRequest, dependencies: UpDependencies): Promise<ServedDevice> {
  const { interfaceName, conf, runsHooks } = request;
  const { system, undoStore, logger } = dependencies;
  const { device } = conf;
  if (system.hasInterface(interfaceName))
    throw new AppError('in_use', `interface ${interfaceName} exists already`, {
      hint: `"culvert down ${interfaceName}" removes it`,
    });
  await undoLeftovers(interfaceName, dependencies);
  warnOfHooks(request, dependencies);
  const hooks = async (commands: readonly string[]) => {
    if (runsHooks) for (const command of commands) await dependencies.runHook(command, interfaceName);
  };
  // A hook that fails on the way down must not keep the rest from being taken down.
  const lateHooks = async (commands: readonly string[]) => {
    await hooks(commands).catch((error: unknown) =>
      logger.log('error', 'hook_failed', { reason: error instanceof Error ? error.message : String(error) }),
    );
  };

  let isUp = false;
  let isDropped = false;
  await hooks(device.preUp);
  const endpoints = await resolveAll(conf.peers, dependencies.resolver);
  const served = await dependencies.serve({
    name: interfaceName,
    ...(device.mtu === undefined ? {} : { mtu: device.mtu }),
    logger,
    beforeStop: async (running) => {
      // Half-way up there is nothing that PreDown could know, or that is worth saving over the file.
      if (!isUp) return;
      await lateHooks(device.preDown);
      if (device.saveConfig === true) save(request, running, dependencies);
    },
  });
  let settle = () => {};
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const ended = served.ended.then(async (reason) => {
    // Whoever is still setting things up notices that the interface is gone; only then is it known what to undo.
    await settled;
    if (isDropped) return reason;
    await undoLeftovers(interfaceName, dependencies);
    if (isUp) await lateHooks(device.postDown);
    undoStore.markEnded(interfaceName);
    return reason;
  });
  undoStore.markRunning(interfaceName);
  try {
    await served.device.configure(toDeviceChange(conf, (peer) => endpoints.get(peer)));
    const addresses = Array.from(endpoints.values(), ({ address }) => address);
    const plan = planNetwork(interfaceName, conf, system.facts(addresses));
    for (const warning of plan.warnings) dependencies.warn(warning);
    await applyNetwork(plan, system, {
      setFwmark: (fwmark) => served.device.configure({ fwmark, peers: [] }),
      remember: (undo) => undoStore.save(undo),
    });
    isUp = true;
    await hooks(device.postUp);
    if (dependencies.drop) {
      dependencies.drop();
      isDropped = true;
    }
  } catch (error) {
    isUp = false;
    settle();
    await served.abort('it could not be brought up');
    await ended;
    throw error;
  }
  settle();
  return { ...served, ended };
}

/**
 * Takes back what this or an earlier process left in the network settings. False when there was nothing, or somebody
 * else does it.
 */
export async function undoLeftovers(
  interfaceName: string,
  { system, undoStore, logger }: Pick<UpDependencies, 'system' | 'undoStore' | 'logger'>,
): Promise<boolean> {
  const undo = undoStore.take(interfaceName);
  if (!undo) return false;
  for (const failure of await undoNetwork(undo, system))
    logger.log('warn', 'not_undone', {
      reason: failure instanceof Error ? failure.message : String(failure),
    });
  return true;
}

function warnOfHooks({ conf, runsHooks }: UpRequest, { warn }: UpDependencies): void {
  const { preUp, postUp, preDown, postDown } = conf.device;
  const named = Object.entries({ PreUp: preUp, PostUp: postUp, PreDown: preDown, PostDown: postDown })
    .filter(([, commands]) => commands.length > 0)
    .map(([name]) => name);
  if (named.length > 0 && !runsHooks)
    warn(`the hooks of the file are not run (${named.join(', ')}); --run-hooks runs them`);
}

/** The endpoints of those that have one. */
export async function resolveAll(
  peers: readonly PeerSection[],
  resolver: Resolver,
): Promise<Map<PeerSection, Endpoint>> {
  const resolved = peers.map(async (peer): Promise<[PeerSection, Endpoint][]> =>
    peer.endpoint ? [[peer, await resolveEndpoint(peer.endpoint, resolver)]] : [],
  );
  return new Map((await Promise.all(resolved)).flat());
}

function save(
  { conf, latest, path, interfaceName }: UpRequest,
  device: Configurable,
  { logger, resolver }: UpDependencies,
): void {
  try {
    saveConfig(path, interfaceName, latest?.() ?? conf, device.state(), resolver.zones);
  } catch (error) {
    logger.log('error', 'config_not_saved', {
      reason: error instanceof Error ? error.message : String(error),
    });
  }
}
