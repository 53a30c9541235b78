import { lookup } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { silentLogger } from '../../core/log.ts';
import { addLogFlags, cliLogger, type LogFlags } from '../cli-log.ts';
import type { ReloadReport } from '../config/reload.ts';
import { addSettings } from '../config/setting.ts';
import { checkDroppable, dropTo, findUser } from '../drop-user.ts';
import { detach, type Starter, takeStarter } from '../daemonize.ts';
import { findConf, type FoundConf } from '../find-conf.ts';
import { addPageFlag, type PageFlag, readPageFlag } from '../api/page-flag.ts';
import { deviceOpener, type DeviceServices } from '../device-services.ts';
import { type MetricsFlags, addMetricsFlags, readMetricsFlags } from '../metrics/metrics-options.ts';
import { createNetworkSystem } from '../network-system.ts';
import { runHook } from '../programs.ts';
import { serveReload } from '../reload-socket.ts';
import { reportError } from '../report-error.ts';
import { resolutionRetries, type Resolver } from '../resolve.ts';
import { type RuntimeOptions, startDevice } from '../runtime.ts';
import { announce, serviceManager } from '../sd-notify.ts';
import { serveDevice } from '../serve-device.ts';
import { stopOnSignals } from '../signals.ts';
import { readTuningFlags, type TuningFlags, TUNING_SETTINGS } from '../tuning-settings.ts';
import type { Tuning } from '../tuning.ts';
import { UndoStore } from '../undo-store.ts';
import { bringUp } from '../up.ts';
import { upReload } from '../up-reload.ts';
import type { WgConf } from '../wg-conf.ts';
import { systemZones } from '../zones.ts';

interface UpFlags extends LogFlags, MetricsFlags, PageFlag, TuningFlags {
  readonly detach?: true;
  readonly runHooks?: true;
  readonly user?: string;
  readonly gso: boolean;
  readonly gro: boolean;
}

/** `culvert up FILE|INTERFACE`, as `wg-quick up` with a device of our own. */
export function configureUp(command: Command): void {
  command
    .argument('<file|interface>', 'a wg-quick file NAME.conf, or NAME for /etc/wireguard/NAME.conf')
    .option('-d, --detach', 'return when the interface is up and leave it running in the background')
    .option('--run-hooks', 'run PreUp, PostUp, PreDown and PostDown of the file')
    .option('--user <name>', 'become this user when the interface is up, with CAP_NET_ADMIN and nothing else')
    .option('--no-gso', 'send UDP datagrams one by one: for a network card that cannot segment them')
    .option('--no-gro', 'receive UDP datagrams one by one');
  addLogFlags(addPageFlag(addMetricsFlags(addSettings(command, TUNING_SETTINGS))))
    .addHelpText(
      'after',
      `
Examples:
  culvert up wg0                  in the foreground; Ctrl-C takes it down
  culvert up ./office.conf -d     in the background; "culvert down office" takes it down
  culvert up wg0 --log-level debug --log-format pretty
  culvert up wg0 --user nobody
  culvert up wg0 --no-gso         where a network card sends nothing or damaged datagrams
  culvert up wg0 --metrics 127.0.0.1:9586
  culvert up wg0 --http 9587      then "culvert page wg0" prints the address of its status page
  culvert up wg0 --lanes 2        a thread for each direction; docs/PERFORMANCE.md says when

"culvert reload wg0", and SIGHUP to a program without a terminal, apply what has changed in the file to peers, keys, port and mark,
as "wg syncconf"; addresses, DNS, MTU, routes and hooks need "culvert down" and "up".

Environment: WG_LOG_FILE, WG_ENDPOINT_RESOLUTION_RETRIES, CULVERT_GSO, CULVERT_GRO, CULVERT_TUN_OFFLOAD`,
    )
    .action(async (fileOrInterface: string, flags: UpFlags) => {
      const starter = takeStarter(process.env);
      const services = { metrics: readMetricsFlags(flags), page: readPageFlag(flags) };
      const chosen = readTuningFlags(flags, process.env);
      const tuning = { ...chosen, gso: chosen.gso && flags.gso, gro: chosen.gro && flags.gro };
      const found = findConf(fileOrInterface);
      for (const warning of found.warnings) if (!starter) warn(warning);
      if (flags.detach === true && !starter) return detach();
      try {
        await run(found, () => findConf(fileOrInterface).conf, { flags, services, tuning, starter });
      } catch (error) {
        if (!starter) throw error;
        starter.failed(reportError(error, 'culvert', process.env).text);
        process.exitCode = 1;
      }
      return undefined;
    });
}

function warn(text: string): void {
  process.stderr.write(`culvert: warning: ${text}\n`);
}

interface UpOptions {
  readonly flags: UpFlags;
  readonly services: DeviceServices;
  readonly tuning: Tuning;
  readonly starter: Starter | undefined;
}

async function run(
  { interfaceName, conf, path }: FoundConf,
  readConf: () => WgConf,
  { flags, services, tuning, starter }: UpOptions,
): Promise<void> {
  // A daemon's standard error is closed, so it logs to WG_LOG_FILE or not at all.
  const isMute = starter !== undefined && (process.env['WG_LOG_FILE'] ?? '') === '';
  const logger = isMute ? silentLogger : cliLogger(flags, interfaceName);
  const user = flags.user === undefined ? undefined : findUser(flags.user);
  if (user) checkDroppable(conf, flags.runHooks === true);
  // Before anything is started that could take it for its own.
  const service = serviceManager(process.env);
  const say = (text: string) => (starter ? starter.note(`culvert: warning: ${text}\n`) : warn(text));
  const start = (options: RuntimeOptions) => startDevice({ ...options, tuning });
  const resolver: Resolver = {
    lookup: async (host) => (await lookup(host)).address,
    zones: systemZones,
    sleep: (ms) => sleep(ms),
    retries: resolutionRetries(process.env),
    onRetry: say,
  };
  let latest = conf;
  const names = friendlyNames(conf);
  let reload: (() => Promise<ReloadReport>) | undefined;
  const reloadNow = async (): Promise<ReloadReport> => {
    if (!reload) throw new AppError('unavailable', `${interfaceName} is not up yet`);
    return reload();
  };
  const up = await bringUp(
    { interfaceName, conf, latest: () => latest, path, runsHooks: flags.runHooks === true },
    {
      serve: async (options) => {
        const openDevice = await deviceOpener(services, start, names);
        const served = await serveDevice({ ...options, openDevice, zones: systemZones });
        // What went wrong is in the log.
        stopOnSignals(served, () => void reloadNow().catch(() => {}));
        // While there are still the rights for it.
        await serveReload(interfaceName, reloadNow, { ended: served.ended, logger });
        return served;
      },
      system: createNetworkSystem(),
      undoStore: new UndoStore(),
      resolver,
      runHook,
      ...(user ? { drop: () => dropTo(user, interfaceName) } : {}),
      warn: say,
      logger,
    },
  );
  reload = upReload({
    conf,
    read: readConf,
    device: up.device,
    resolver,
    onApplied: (next) => {
      latest = next;
      names.clear();
      for (const [key, name] of friendlyNames(next)) names.set(key, name);
    },
    logger,
  });
  starter?.ready();
  announce(service, `${interfaceName} is up`);
  await up.ended;
}

function friendlyNames({ peers }: WgConf): Map<string, string> {
  return new Map(peers.flatMap(({ publicKey, name }) => (name === undefined ? [] : [[publicKey.hex, name]])));
}
