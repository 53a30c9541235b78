import type { Command } from 'commander';
import { specOf } from '../docs/command-spec.ts';
import { SHELLS, completions } from '../docs/completions.ts';
import { oneOf } from '../flag-values.ts';

/** `culvert completions SHELL`. */
export function configureCompletions(command: Command): void {
  command
    .argument('<shell>', SHELLS.join(', '))
    .addHelpText(
      'after',
      `
Examples:
  source <(culvert completions bash)                                        for this shell
  culvert completions bash > /etc/bash_completion.d/culvert
  culvert completions zsh > /usr/local/share/zsh/site-functions/_culvert
  culvert completions fish > ~/.config/fish/completions/culvert.fish`,
    )
    .action(async (text: string) => {
      const shell = oneOf('shell', text, SHELLS);
      const { allCommands } = await import('../cli.ts');
      process.stdout.write(completions(shell, specOf(await allCommands())));
    });
}
