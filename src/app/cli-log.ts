/** `--log-level` and `--log-format` for commands that run for long. */
import { openSync } from 'node:fs';
import type { Command } from 'commander';
import type { Logger } from '../core/log.ts';
import { createLogger, parseLogFormat, parseLogLevel, writerTo } from './log.ts';
import { wantsColour } from './show-values.ts';

export interface LogFlags {
  readonly logLevel?: string;
  readonly logFormat?: string;
}

export function addLogFlags(command: Command): Command {
  return command
    .option('--log-level <level>', 'silent, error, warn, info or debug', 'info')
    .option('--log-format <format>', 'json or pretty (default: pretty on a terminal, else json)');
}

/** Logs to standard error, or to the file named by WG_LOG_FILE. */
export function cliLogger({ logLevel = 'info', logFormat }: LogFlags, interfaceName: string): Logger {
  const file = process.env['WG_LOG_FILE'] ?? '';
  const isTty = file === '' && process.stderr.isTTY;
  const logger = createLogger({
    format: logFormat === undefined ? (isTty ? 'pretty' : 'json') : parseLogFormat(logFormat),
    level: parseLogLevel(logLevel),
    isColoured: wantsColour(process.env, isTty),
    write: writerTo(file === '' ? 2 : openSync(file, 'a', 0o600)),
    now: () => new Date(),
    interfaceName,
  });
  return logger.child({ iface: interfaceName });
}
