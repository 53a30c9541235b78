/** What the layers below app/ may say. Never called per packet; never given a secret. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  /** error = needs a human, warn = degraded, info = life cycle, debug = handshakes and timers. */
  log(level: LogLevel, event: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}

export const silentLogger: Logger = {
  log: () => {},
  child: () => silentLogger,
};
