import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { usageError } from '../../core/errors.ts';
import { parseShowRequest, showReport } from '../show-report.ts';
import { SHOW_FIELDS } from '../show.ts';
import { wantsColour } from '../show-values.ts';
import { getDevice, listInterfaces } from '../uapi-client.ts';

const MAX_WATCH_SECONDS = 3_600;
/** To the upper left corner; then what is left of the line, and of the screen, is erased as it is written. */
const HOME = '\x1b[H';
const ERASE_SCREEN = '\x1b[2J';
const ERASE_REST_OF_LINE = '\x1b[K';
const ERASE_REST_OF_SCREEN = '\x1b[J';

/** `culvert show [INTERFACE|all|interfaces] [FIELD]`, as `wg show`. */
export function configureShow(command: Command): void {
  command
    .argument('[interface]', 'an interface, "all" or "interfaces"', 'all')
    .argument('[field]', `one of ${SHOW_FIELDS.join(', ')}`)
    .option('--json', 'print JSON; secrets only with WG_HIDE_KEYS=never')
    .option('-w, --watch [seconds]', 'print again every so many seconds, 2 by default, until Ctrl-C')
    .addHelpText(
      'after',
      `
Examples:
  culvert show                       all devices
  culvert show wg0 latest-handshakes one field, for scripts
  culvert show all dump              everything, tab-separated
  culvert show wg0 --watch           a screen that follows
  culvert show wg0 --json            the shape of wg-json: docs/reference/json.md

On a terminal the age of a handshake is green up to 180 s, while a session lives, yellow up to 275 s and red beyond.
Environment: WG_COLOR_MODE=always|never|auto (colours exactly as wg), NO_COLOR, WG_HIDE_KEYS=never`,
    )
    .action(async (target: string, field: string | undefined, options: ShowFlags) => {
      const request = parseShowRequest(target, field, options.json === true);
      const source = {
        list: () => listInterfaces(),
        get: (name: string) => getDevice(name),
        publicKeyOf: (await import('../public-key.ts')).publicKeyOf,
      };
      const once = () =>
        showReport(request, source, {
          isColoured: wantsColour(process.env, process.stdout.isTTY),
          coloursAge: (process.env['WG_COLOR_MODE'] ?? '') === '',
          showsKeys: process.env['WG_HIDE_KEYS'] === 'never',
          nowSeconds: Math.floor(Date.now() / 1000),
        });
      if (options.watch !== undefined) return watch(once, parseSeconds(options.watch));
      const { text, failures } = await once();
      process.stdout.write(text);
      for (const failure of failures) process.stderr.write(`culvert: ${failure.message}\n`);
      if (failures.length > 0 && text === '') process.exitCode = 1;
      return undefined;
    });
}

interface ShowFlags {
  readonly json?: true;
  readonly watch?: string | true;
}

/** Until a signal ends the process. A device that is not there, or not yet, is said on the screen and asked again. */
async function watch(once: () => Promise<{ readonly text: string }>, seconds: number): Promise<never> {
  const { stdout } = process;
  if (stdout.isTTY) stdout.write(ERASE_SCREEN);
  for (;;) {
    const text = await once().then(
      ({ text: shown }) => shown,
      (error: unknown) => `${error instanceof Error ? error.message : String(error)}\n`,
    );
    if (stdout.isTTY) stdout.write(screen(text, stdout.rows));
    else stdout.write(text);
    await pause(seconds * 1_000);
  }
}

/** One frame in place of the last one, without a flash. What is below the screen is cut, or the terminal would scroll. */
export function screen(text: string, rows: number | undefined): string {
  const lines = text.split('\n').slice(0, Math.max(1, (rows ?? 24) - 1));
  return `${HOME}${lines.map((line) => `${line}${ERASE_REST_OF_LINE}\n`).join('')}${ERASE_REST_OF_SCREEN}`;
}

function parseSeconds(text: string | true): number {
  if (text === true) return 2;
  const seconds = Number(text);
  if (seconds >= 0.1 && seconds <= MAX_WATCH_SECONDS) return seconds;
  throw usageError(`--watch ${JSON.stringify(text)}: expected seconds, 0.1 to ${MAX_WATCH_SECONDS}`);
}
