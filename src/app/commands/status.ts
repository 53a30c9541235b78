import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { askStatus, statusNames, statusPath } from '../agent/status-socket.ts';
import { formatStatus, type MachineStatus } from '../agent/status.ts';
import { wantsColour } from '../show-values.ts';
import { addWatchFlag, watch, type WatchFlags } from '../watch.ts';

/** `culvert status [INTERFACE]`: the links of `culvert join`. */
export function configureStatus(command: Command): void {
  addWatchFlag(
    command
      .argument('[interface]', 'one interface; all of them without it')
      .option('--json', 'print JSON: one object, or an array of all'),
  )
    .addHelpText(
      'after',
      `
Examples:
  culvert status                          every link of "culvert join" on this machine
  culvert status --watch                  a screen that follows
  culvert status siderolink --json        docs/reference/json.md
  culvert status siderolink >/dev/null && echo connected

On a terminal the age of a handshake is green up to 180 s, while a session lives, yellow up to 275 s and red beyond.
Exit status: 0 when everything shown is connected, 1 when not. Environment: NO_COLOR`,
    )
    .action(async (name: string | undefined, { json, watch: everySeconds }: StatusFlags) => {
      const ask = async () => (name === undefined ? await askAll() : [await askOne(name)]);
      const print = (found: readonly MachineStatus[]) =>
        json === true
          ? `${JSON.stringify(name === undefined ? found : found[0], undefined, 2)}\n`
          : found
              .map((status) => formatStatus(status, wantsColour(process.env, process.stdout.isTTY)))
              .join('\n');
      const isNone = (found: readonly MachineStatus[]) => found.length === 0 && json !== true;
      if (everySeconds !== undefined)
        return watch(everySeconds, async () => {
          const found = await ask();
          return isNone(found) ? NONE : print(found);
        });
      const found = await ask();
      process.stdout.write(print(found));
      if (isNone(found)) process.stderr.write(`culvert: ${NONE}`);
      if (found.length === 0 || found.some(({ isConnected }) => !isConnected)) process.exitCode = 1;
      return undefined;
    });
}

const NONE = 'no link is running; "culvert machines ls" lists those of a gateway\n';

interface StatusFlags extends WatchFlags {
  readonly json?: true;
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
