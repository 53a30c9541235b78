/** `--watch`: a command's output again and again, on a terminal as a screen that follows. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { usageError } from '../core/errors.ts';

const MAX_WATCH_SECONDS = 3_600;
/** To the upper left corner; then what is left of the line, and of the screen, is erased as it is written. */
const HOME = '\x1b[H';
const ERASE_SCREEN = '\x1b[2J';
const ERASE_REST_OF_LINE = '\x1b[K';
const ERASE_REST_OF_SCREEN = '\x1b[J';

export interface WatchFlags {
  readonly watch?: string | true;
}

export function addWatchFlag(command: Command): Command {
  return command.option(
    '-w, --watch [seconds]',
    'print again every so many seconds, 2 by default, until Ctrl-C',
  );
}

/**
 * Until a signal ends the process. What cannot be asked is said on the screen and asked again. Throws usage errors;
 * `text` is what standard output would get.
 */
export async function watch(flag: string | true, text: () => Promise<string>): Promise<never> {
  const seconds = parseSeconds(flag);
  const { stdout } = process;
  if (stdout.isTTY) stdout.write(ERASE_SCREEN);
  for (;;) {
    const shown = await text().catch(
      (error: unknown) => `${error instanceof Error ? error.message : String(error)}\n`,
    );
    stdout.write(stdout.isTTY ? screen(shown, stdout.rows) : shown);
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
