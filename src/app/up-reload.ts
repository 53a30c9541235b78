/** What `culvert up` does when its file is read again. */
import type { Logger } from '../core/log.ts';
import type { Configurable } from '../tunnel/config.ts';
import { reloading, type ReloadReport } from './config/reload.ts';
import { restartChanges, syncChange } from './conf-sync.ts';
import type { Resolver } from './resolve.ts';
import { resolveAll } from './up.ts';
import type { WgConf } from './wg-conf.ts';

export interface UpReloadOptions {
  /** As it was brought up. */
  readonly conf: WgConf;
  /** Reads the file again. Throws AppError. */
  readonly read: () => WgConf;
  readonly device: Configurable;
  readonly resolver: Resolver;
  readonly onApplied: (conf: WgConf) => void;
  readonly logger: Logger;
}

export function upReload(options: UpReloadOptions): () => Promise<ReloadReport> {
  const { read, device, resolver, onApplied, logger } = options;
  let running = options.conf;
  return reloading(async () => {
    const next = read();
    // A name is looked up for those only whose endpoint is of use.
    const known = new Map(running.peers.map((peer) => [peer.publicKey.hex, peer.endpoint]));
    const present = new Set(device.state().peers.map(({ publicKey }) => publicKey.hex));
    const moved = next.peers.filter(
      ({ publicKey: { hex }, endpoint }) =>
        !present.has(hex) || JSON.stringify(known.get(hex)) !== JSON.stringify(endpoint),
    );
    const endpoints = await resolveAll(moved, resolver);
    const { change, changed } = syncChange(running, next, device.state(), (peer) => endpoints.get(peer));
    if (changed.length > 0) await device.configure(change);
    const needsRestart = restartChanges(options.conf, next);
    running = next;
    onApplied(next);
    return { changed, needsRestart, failed: [] };
  }, logger);
}
