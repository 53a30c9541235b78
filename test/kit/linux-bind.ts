/** A Linux bind with its data half on this thread, for tests. */
import type { Address } from '../../src/core/ip.ts';
import { silentLogger } from '../../src/core/log.ts';
import { fdWatcher } from '../../src/sys/readiness.ts';
import { InlineSocketUser, LinuxBind } from '../../src/tunnel/bind-linux.ts';
import { LinuxDatagrams } from '../../src/tunnel/linux-datagrams.ts';
import type { BindSide } from '../contracts/bind.ts';
import { GuardedArena } from './guarded-arena.ts';

export interface Offloads {
  readonly gso: boolean;
  readonly gro: boolean;
}

export function linuxSide(
  addresses: { readonly [Family in 4 | 6]: Address },
  offloads: Offloads = { gso: true, gro: true },
): BindSide & { bind: LinuxBind; datagrams: LinuxDatagrams } {
  const arena = new GuardedArena({ bytes: 4 << 20 });
  const datagrams = new LinuxDatagrams(arena, { ...offloads, maxWaitMs: 0 });
  const bind = new LinuxBind({
    user: new InlineSocketUser(datagrams, fdWatcher),
    watcher: fdWatcher,
    gro: offloads.gro,
    logger: silentLogger,
    onRoutesChanged: () => datagrams.routesChanged(),
  });
  return { arena, bind, datagrams, addresses };
}
