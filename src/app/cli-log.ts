/** `--log-level` and `--log-format` for commands that run for long. */
import { openSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { Logger } from '../core/log.ts';
import {
  type LogFormat,
  calm,
  createLogger,
  isJournal,
  parseLogFormat,
  parseLogLevel,
  writerTo,
} from './log.ts';
import { wantsColour } from './show-values.ts';

export interface LogFlags {
  readonly logLevel?: string;
  readonly logFormat?: string;
}

export function addLogFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--log-level <level>', 'silent, error, warn, info or debug')
        .default('info')
        .env('CULVERT_LOG_LEVEL'),
    )
    .addOption(
      new Option(
        '--log-format <format>',
        'json, pretty or journal (default: pretty on a terminal, journal under systemd, else json)',
      ).env('CULVERT_LOG_FORMAT'),
    );
}

/** Logs to standard error, or to the file named by WG_LOG_FILE. */
export function cliLogger({ logLevel = 'info', logFormat }: LogFlags, interfaceName: string): Logger {
  const file = process.env['WG_LOG_FILE'] ?? '';
  const fd = file === '' ? 2 : openSync(file, 'a', 0o600);
  const isTty = file === '' && process.stderr.isTTY;
  const logger = createLogger({
    format: logFormat === undefined ? usualFormat(isTty, fd) : parseLogFormat(logFormat),
    level: parseLogLevel(logLevel),
    isColoured: wantsColour(process.env, isTty),
    write: writerTo(fd),
    now: () => new Date(),
    interfaceName,
  });
  return calm(logger.child({ iface: interfaceName }), Date.now);
}

function usualFormat(isTty: boolean, fd: number): LogFormat {
  if (isTty) return 'pretty';
  return isJournal(process.env, fd) ? 'journal' : 'json';
}

/** Says nothing of the ordinary course of things while `isHushed`: something else is on the screen. */
export function hushed(logger: Logger, isHushed: () => boolean): Logger {
  return {
    log: (level, event, fields) => {
      const isOrdinary = level === 'info' || level === 'debug';
      if (!isOrdinary || !isHushed()) logger.log(level, event, fields);
    },
    child: (fields) => hushed(logger.child(fields), isHushed),
  };
}
