/** `--log-level` and `--log-format` for commands that run for long. */
import { openSync } from 'node:fs';
import type { Command } from 'commander';
import { type Logger, silentLogger } from '../core/log.ts';
import { addSettings, optional, setting, type ValuesOf } from './config/setting.ts';
import {
  type LogFormat,
  type LogOptions,
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

export const LOG_SETTINGS = {
  logLevel: setting(
    {
      flag: '--log-level <level>',
      env: 'CULVERT_LOG_LEVEL',
      description: 'silent, error, warn, info or debug',
      default: 'info',
      change: 'live',
    },
    parseLogLevel,
  ),
  logFormat: optional(
    {
      flag: '--log-format <format>',
      env: 'CULVERT_LOG_FORMAT',
      description:
        'json, pretty or journal (default: pretty on a terminal, journal under systemd, else json)',
      example: 'json',
      change: 'restart',
    },
    parseLogFormat,
  ),
};

export function addLogFlags(command: Command): Command {
  return addSettings(command, LOG_SETTINGS);
}

/** Logs to standard error, or to the file named by WG_LOG_FILE. */
export function cliLogger({ logLevel = 'info', logFormat }: LogFlags, interfaceName: string): Logger {
  return openLog(
    {
      logLevel: parseLogLevel('--log-level', logLevel),
      logFormat: logFormat === undefined ? undefined : parseLogFormat('--log-format', logFormat),
    },
    interfaceName,
  ).logger;
}

export interface OpenedLog {
  readonly logger: Logger;
  setLevel(level: LogOptions['level']): void;
}

/** Says nothing. */
export const mutedLog: OpenedLog = { logger: silentLogger, setLevel: () => {} };

/** As cliLogger. */
export function openLog(
  { logLevel, logFormat }: ValuesOf<typeof LOG_SETTINGS>,
  interfaceName: string,
): OpenedLog {
  const file = process.env['WG_LOG_FILE'] ?? '';
  const fd = file === '' ? 2 : openSync(file, 'a', 0o600);
  const isTty = file === '' && process.stderr.isTTY;
  const options: LogOptions = {
    format: logFormat ?? usualFormat(isTty, fd),
    level: logLevel,
    isColoured: wantsColour(process.env, isTty),
    write: writerTo(fd),
    now: () => new Date(),
    interfaceName,
  };
  return {
    logger: calm(createLogger(options).child({ iface: interfaceName }), Date.now),
    setLevel: (level) => (options.level = level),
  };
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
