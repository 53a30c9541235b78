import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { createLogger, writerTo } from '../log.ts';
import { createNetworkSystem } from '../network-system.ts';
import { SignInFiles } from '../api/sign-in-file.ts';
import { takeDown } from '../down.ts';
import { UndoStore } from '../undo-store.ts';
import { interfaceNameOf, isInterfaceName } from '../wg-conf.ts';

/** `culvert down INTERFACE|FILE`: ends the device and takes back what `culvert up` set. */
export function configureDown(command: Command): void {
  command
    .argument('<interface|file>', 'an interface, or the file that it was brought up with')
    .addHelpText(
      'after',
      `
Examples:
  culvert down wg0
  culvert down ./office.conf

Hooks run if they ran with "culvert up --run-hooks". Devices of other programs (culvert-go, wireguard-go) are ended,
too; what wg-quick set up for them is for "wg-quick down".`,
    )
    .action(async (target: string) => {
      const isName = isInterfaceName(target) && !target.endsWith('.conf');
      await takeDown(isName ? target : interfaceNameOf(target), {
        system: createNetworkSystem(),
        undoStore: new UndoStore(),
        signIns: new SignInFiles(),
        sleep: (ms) => sleep(ms),
        logger: createLogger({
          format: 'pretty',
          level: 'warn',
          isColoured: false,
          write: writerTo(2),
          now: () => new Date(),
          interfaceName: '',
        }),
      });
    });
}
