/** What `culvert join` does when its configuration is read again. */
import type { OpenedLog } from '../cli-log.ts';
import { type ReloadReport, settingsReload } from '../config/reload.ts';
import { joinSettings } from './join-settings.ts';
import type { JoinedMachine } from './join.ts';
import type { JoinOrder } from './settings.ts';
import { TrustStore } from './trust.ts';

export interface JoinReloadOptions {
  readonly order: JoinOrder;
  readonly read: () => JoinOrder;
  readonly machine: Pick<JoinedMachine, 'reconfigure'>;
  readonly log: OpenedLog;
}

export function joinReload({ order, read, machine, log }: JoinReloadOptions): () => Promise<ReloadReport> {
  let { inputs } = order;
  // Transport and interface follow from it, and stay.
  const { wantsTunnel } = inputs.source.url;
  return settingsReload({
    running: order.settings,
    read: () => {
      const next = read();
      ({ inputs } = next);
      return next.settings;
    },
    apply: async (effective) => {
      const settings = joinSettings(effective, wantsTunnel);
      // Throws when a file of certificates cannot be used.
      const trust = new TrustStore(settings.caFiles, process.env);
      const problem = await machine.reconfigure({ inputs, settings, trust });
      log.setLevel(effective.values.logLevel);
      return problem === undefined ? [] : [{ keys: ['openFirewall'], reason: problem.message }];
    },
    logger: log.logger,
  });
}
