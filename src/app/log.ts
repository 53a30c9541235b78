/** The ways in which the programs speak: JSON lines, text for people or the journal, and the lines of wireguard-go. */
import { fstatSync, writeSync } from 'node:fs';
import { usageError } from '../core/errors.ts';
import type { LogFields, LogLevel, Logger } from '../core/log.ts';
import { palette } from './show-values.ts';

export type LogFormat = 'json' | 'pretty' | 'journal' | 'wireguard-go';

export interface LogOptions {
  readonly format: LogFormat;
  /** The least important level that is still written; may become another at any time. */
  level: LogLevel | 'silent';
  readonly isColoured: boolean;
  readonly write: (line: string) => void;
  readonly now: () => Date;
  /** Of the wireguard-go form: stands in parentheses at the start of each line. */
  readonly interfaceName: string;
}

const RANK: Readonly<Record<LogLevel | 'silent', number>> = {
  silent: 0,
  error: 1,
  warn: 2,
  info: 3,
  debug: 4,
};

export function createLogger(options: LogOptions, bound: LogFields = {}): Logger {
  const line = LINES[options.format];
  return {
    log: (level, event, fields = {}) => {
      if (RANK[level] > RANK[options.level]) return;
      options.write(`${line({ level, event, fields: { ...bound, ...fields } }, options)}\n`);
    },
    child: (fields) => createLogger(options, { ...bound, ...fields }),
  };
}

interface LogEntry {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

const PRIORITY: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

const LINES: Readonly<Record<LogFormat, (entry: LogEntry, options: LogOptions) => string>> = {
  json: ({ level, event, fields }, { now }) =>
    JSON.stringify({ time: now().toISOString(), level, event, msg: sentence(event), ...fields }),

  pretty: ({ level, event, fields }, { now, isColoured }) => {
    const c = palette(isColoured);
    const colour = { error: c.red, warn: c.yellow, info: c.green, debug: c.cyan }[level];
    const time = now().toTimeString().slice(0, 8);
    return `${time} ${colour}${level.padEnd(5)}${c.reset} ${withPeer(event, fields)}`;
  },

  // sd-daemon(3): the journal takes the priority from the line, and has the time itself.
  journal: ({ level, event, fields }) => `<${PRIORITY[level]}>${withPeer(event, fields)}`,

  // Two levels only, and the date as Go's log package writes it.
  'wireguard-go': ({ level, event, fields }, { now, interfaceName }) => {
    const time = now();
    const two = (value: number) => String(value).padStart(2, '0');
    const date = `${time.getFullYear()}/${two(time.getMonth() + 1)}/${two(time.getDate())}`;
    const { iface: _iface, ...rest } = fields;
    const tag = level === 'error' ? 'ERROR' : 'DEBUG';
    return `${tag}: (${interfaceName}) ${date} ${time.toTimeString().slice(0, 8)} ${withPeer(event, rest)}`;
  },
};

/** `peer(abcd…wxyz) - Handshake initiation sent: attempt=2`. */
function withPeer(event: string, { peer, ...fields }: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(
      ([name, value]) =>
        `${name}=${typeof value === 'string' && /[\s"=]/.test(value) ? JSON.stringify(value) : value}`,
    );
  const text = [sentence(event), ...(rest.length === 0 ? [] : [rest.join(' ')])].join(': ');
  if (peer === undefined) return text;
  return `${String(peer).startsWith('peer(') ? String(peer) : `peer(${peer})`} - ${text}`;
}

const WORDS = new Map([
  ['uapi', 'UAPI'],
  ['udp', 'UDP'],
  ['tun', 'TUN'],
  ['mtu', 'MTU'],
  ['dns', 'DNS'],
  ['grpc', 'gRPC'],
  ['http', 'HTTP'],
  ['tls', 'TLS'],
]);

/** `uapi_listener_started` as `UAPI listener started`. */
function sentence(event: string): string {
  const [first = '', ...rest] = event.split('_');
  const begin = WORDS.get(first) ?? first.charAt(0).toUpperCase() + first.slice(1);
  return [begin, ...rest.map((word) => WORDS.get(word) ?? word)].join(' ');
}

/** Writes to a descriptor. Nobody listening, or a full disk, is no reason for a daemon to stop. */
export function writerTo(fd: number): (line: string) => void {
  return (line) => {
    try {
      writeSync(fd, line);
    } catch {
      // There is no other place to say it.
    }
  };
}

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];

/** The value of `--log-level`; `place` is put before error messages. */
export function parseLogLevel(place: string, text: string): LogLevel | 'silent' {
  const level = [...LEVELS, 'silent' as const].find((one) => one === text);
  if (level === undefined)
    throw usageError(`${place} ${JSON.stringify(text)}: expected silent, ${LEVELS.join(', ')}`);
  return level;
}

/** The value of `--log-format`; `place` is put before error messages. */
export function parseLogFormat(place: string, text: string): 'json' | 'pretty' | 'journal' {
  if (text === 'json' || text === 'pretty' || text === 'journal') return text;
  throw usageError(`${place} ${JSON.stringify(text)}: expected json, pretty or journal`);
}

/** Whether a descriptor is a stream into the journal (JOURNAL_STREAM in systemd.exec(5)): device and inode match. */
export function isJournal(env: Readonly<Record<string, string | undefined>>, fd: number): boolean {
  const [, device, inode] = /^(\d+):(\d+)$/.exec(env['JOURNAL_STREAM'] ?? '') ?? [];
  if (device === undefined || inode === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return dev === BigInt(device) && ino === BigInt(inode);
  } catch {
    return false;
  }
}

const CALM_MS = 60_000;
/** Different warnings that are remembered; beyond that all are let through. */
const MAX_REMEMBERED = 256;

/**
 * Says a warning with the same event, reason and peer at most once a minute; the next one that is said tells how many
 * were not. `now` in milliseconds.
 */
export function calm(logger: Logger, now: () => number): Logger {
  const said = new Map<string, { at: number; unsaid: number }>();
  const wrap = (inner: Logger, bound: LogFields): Logger => ({
    log: (level, event, fields = {}) => {
      if (level !== 'warn') {
        inner.log(level, event, fields);
        return;
      }
      const { peer, reason } = { ...bound, ...fields };
      const key = `${event}\n${String(peer)}\n${String(reason)}`;
      const before = said.get(key);
      if (before && now() - before.at < CALM_MS) {
        before.unsaid++;
        return;
      }
      if (said.size >= MAX_REMEMBERED) said.clear();
      said.set(key, { at: now(), unsaid: 0 });
      inner.log(level, event, before && before.unsaid > 0 ? { ...fields, repeated: before.unsaid } : fields);
    },
    child: (fields) => wrap(inner.child(fields), { ...bound, ...fields }),
  });
  return wrap(logger, {});
}

/** LOG_LEVEL (wireguard-go) or WG_LOG_LEVEL (boringtun, gotatun); `error` when both are unset or unknown. */
export function levelFromEnvironment(env: Readonly<Record<string, string | undefined>>): LogLevel | 'silent' {
  switch ((env['LOG_LEVEL'] ?? env['WG_LOG_LEVEL'] ?? '').toLowerCase()) {
    case 'verbose':
    case 'debug':
    case 'trace':
      return 'debug';
    case 'info':
      return 'info';
    case 'warn':
      return 'warn';
    case 'silent':
    case 'off':
      return 'silent';
    default:
      return 'error';
  }
}
