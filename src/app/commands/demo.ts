import { constants as system } from 'node:os';
import type { Command } from 'commander';
import { usageError } from '../../core/errors.ts';
import { runDemo } from '../demo/demo.ts';
import { standardScreen } from '../demo/screen.ts';
import { invocation } from '../invocation.ts';

const MAX_SECONDS = 60;

/** `culvert demo`, which is also `npm start`. */
export function configureDemo(command: Command): void {
  command
    .option('--seconds <n>', 'how long to transfer, 1 to 60', '5')
    .option('--memory', 'both devices in memory, even where they could be real')
    .addHelpText(
      'after',
      `
Examples:
  sudo culvert demo            real interfaces and sockets, in network namespaces made for it
  culvert demo                 the same in memory where rights are missing
  culvert demo --seconds 1

Needs no configuration and no other program, changes nothing on the machine, and leaves nothing behind.
Environment: NO_COLOR`,
    )
    .action(async (options: { seconds: string; memory?: true }) => {
      const durationMs = parseSeconds(options.seconds) * 1_000;
      const interruption = new AbortController();
      let received: NodeJS.Signals | undefined;
      const interrupt = (signal: NodeJS.Signals) => {
        received = signal;
        interruption.abort();
      };
      // A second one ends this process at once; the others notice and follow.
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, interrupt);
      try {
        await runDemo({
          screen: standardScreen(),
          durationMs,
          inMemory: options.memory === true,
          program: invocation(),
          signal: interruption.signal,
        });
      } catch (error) {
        if (received === undefined) throw error;
        process.stderr.write('culvert: interrupted; everything is cleaned up\n');
        process.exitCode = 128 + system.signals[received];
      }
    });
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_SECONDS) return seconds;
  throw usageError(
    `--seconds ${JSON.stringify(text)}: expected a whole number from 1 to ${MAX_SECONDS}`,
    'for example --seconds 5',
  );
}
