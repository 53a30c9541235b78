import type { Command } from 'commander';
import { systemRandom } from '../../core/random.ts';
import { PrivateKey } from '../../noise/keys.ts';
import { printKey } from '../print-key.ts';

/** `culvert genkey`, as `wg genkey`. */
export function configureGenkey(command: Command): void {
  command
    .addHelpText(
      'after',
      '\nExamples:\n  (umask 077; culvert genkey > private.key)\n  culvert genkey | culvert pubkey',
    )
    .action(() => printKey(PrivateKey.generate(systemRandom)));
}
