import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { askStatus, statusNames, statusPath } from '../agent/status-socket.ts';
import { formatStatus, type MachineStatus } from '../agent/status.ts';
import { wantsColour } from '../show-values.ts';

/** `culvert status [INTERFACE]`: the links of `culvert join`. */
export function configureStatus(command: Command): void {
  command
    .argument('[interface]', 'one interface; all of them without it')
    .option('--json', 'print JSON: one object, or an array of all')
    .addHelpText(
      'after',
      `
Examples:
  culvert status                          every link of "culvert join" on this machine
  culvert status siderolink --json
  culvert status siderolink >/dev/null && echo connected

Exit status: 0 when everything shown is connected, 1 when not.`,
    )
    .action(async (name: string | undefined, { json }: { json?: true }) => {
      const found = name === undefined ? await askAll() : [await askOne(name)];
      const text =
        json === true
          ? `${JSON.stringify(name === undefined ? found : found[0], undefined, 2)}\n`
          : found
              .map((status) => formatStatus(status, wantsColour(process.env, process.stdout.isTTY)))
              .join('\n');
      process.stdout.write(text);
      if (found.length === 0 && json !== true)
        process.stderr.write('culvert: no link is running; "culvert machines ls" lists those of a gateway\n');
      if (found.length === 0 || found.some(({ isConnected }) => !isConnected)) process.exitCode = 1;
    });
}

async function askOne(name: string): Promise<MachineStatus> {
  const answer = (await askStatus(statusPath(name))) as MachineStatus;
  if (answer.kind !== 'machine') throw new AppError('protocol', `${name} is no link of "culvert join"`);
  return answer;
}

/** Sockets of killed processes answer nobody. */
async function askAll(): Promise<MachineStatus[]> {
  const answers = await Promise.allSettled(statusNames().map(askOne));
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
}
