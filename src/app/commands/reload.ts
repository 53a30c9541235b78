import type { Command } from 'commander';
import { usageError } from '../../core/errors.ts';
import { formatReload } from '../config/reload.ts';
import { addAdminFlags, adminClient, type AdminFlags, print } from '../gateway/session.ts';
import { askReload } from '../reload-socket.ts';

/** `culvert reload [INTERFACE]`: of the gateway, or of the program that runs the interface. */
export function configureReload(command: Command): void {
  addAdminFlags(command)
    .argument('[interface]', 'of "culvert join" or "culvert up"; without it the gateway is meant')
    .addHelpText(
      'after',
      `
Examples:
  culvert reload                  the gateway, after a change in /etc/culvert/config.yaml
  culvert reload siderolink       "culvert join"
  culvert reload wg0              "culvert up wg0": peers, keys, port and mark as the file has them now

Prints one line for each change, and what needs a restart. A file that is wrong changes nothing. Environment and flags are
those that the program was started with. SIGHUP to a program without a terminal does the same.
Exit code 0: applied, 1: something could not be applied, or nobody runs, 2: the configuration is wrong.`,
    )
    .action(async (name: string | undefined, flags: AdminFlags) => {
      if (name !== undefined && flags.state !== undefined) {
        throw usageError(
          '--state is for the gateway, INTERFACE for "culvert join" and "culvert up": give one',
        );
      }
      const report = name === undefined ? await adminClient(flags).call('reload', {}) : await askReload(name);
      print(flags, report, formatReload);
      if (report.failed.length > 0) process.exitCode = 1;
    });
}
