/** What `culvert serve` does when its configuration is read again. */
import { AppError } from '../../core/errors.ts';
import type { OpenedLog } from '../cli-log.ts';
import type { Effective } from '../config/effective.ts';
import { type ReloadReport, settingsReload } from '../config/reload.ts';
import { gatewayConfig } from './config.ts';
import type { UnappliedPart } from './live-config.ts';
import { httpPart } from './open.ts';
import { ownAddress } from './own-address.ts';
import type { Reconfigurable } from './run.ts';
import type { ServeTable } from './settings.ts';

const KEYS: Readonly<Record<UnappliedPart, readonly (keyof ServeTable)[]>> = {
  tls: ['tlsCert', 'tlsKey'],
  http: ['http', 'httpTokenFile'],
  metrics: ['metricsListen', 'metricsTokenFile'],
};

export interface GatewayReloadOptions {
  readonly settings: Effective<ServeTable>;
  readonly read: () => Effective<ServeTable>;
  /** Of the state. */
  readonly directory: string;
  readonly log: OpenedLog;
}

/** Of one gateway, for as long as it runs. */
export function gatewayReload(
  options: GatewayReloadOptions,
): (gateway: Reconfigurable) => Promise<ReloadReport> {
  let running: Reconfigurable | undefined;
  const reload = settingsReload({
    running: options.settings,
    read: options.read,
    // Plain HTTP/2 and TLS are two servers.
    frozen: ({ values: before }, { values: after }) =>
      (before.tlsCert === undefined) === (after.tlsCert === undefined) ? [] : ['tlsCert', 'tlsKey'],
    apply: async (settings) => {
      if (!running) throw new AppError('internal', 'there is no gateway to reload');
      const config = gatewayConfig(settings, ownAddress);
      const failed = await running.reconfigure({ config, http: httpPart(config, options.directory) });
      options.log.setLevel(settings.values.logLevel);
      return [...failed].map(([part, { message }]) => ({ keys: KEYS[part], reason: message }));
    },
    logger: options.log.logger,
  });
  return (gateway) => {
    running = gateway;
    return reload();
  };
}
