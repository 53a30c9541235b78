import type { Command } from 'commander';
import { systemRandom } from '../../core/random.ts';
import { PresharedKey } from '../../noise/keys.ts';
import { printKey } from '../print-key.ts';

/** `culvert genpsk`, as `wg genpsk`. */
export function configureGenpsk(command: Command): void {
  command
    .addHelpText('after', '\nExamples:\n  (umask 077; culvert genpsk > preshared.key)')
    .action(() => printKey(PresharedKey.generate(systemRandom)));
}
