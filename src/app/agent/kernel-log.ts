/** Records of /dev/kmsg (Documentation/ABI/testing/dev-kmsg) as the JSON lines that Talos sends. */

export interface KernelRecord {
  readonly facility: number;
  /** 0 emerg to 7 debug. */
  readonly priority: number;
  readonly sequence: number;
  /** Microseconds since the machine started. */
  readonly clockUs: number;
  readonly message: string;
}

/** syslog.h. */
const FACILITIES: readonly string[] = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
];
const FIRST_LOCAL_FACILITY = 16;
const PRIORITIES: readonly string[] = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'];
const LEVELS: readonly string[] = ['error', 'error', 'error', 'error', 'warn', 'info', 'info', 'debug'];

/** `6,339,5140900,-;text` and lines of properties, which begin with a space. Undefined for anything else. */
export function parseKernelRecord(text: string): KernelRecord | undefined {
  const match = /^(\d+),(\d+),(\d+),[^;]*;([^\n]*)/.exec(text);
  if (!match) return undefined;
  const prefix = Number(match[1]);
  return {
    facility: prefix >> 3,
    priority: prefix & 7,
    sequence: Number(match[2]),
    clockUs: Number(match[3]),
    message: unescapeMessage(match[4] as string),
  };
}

/** Unprintable bytes come as `\xHH`, the backslash as `\x5c`. */
function unescapeMessage(text: string): string {
  if (!text.includes('\\x')) return text;
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  const plain = bytes.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(plain, 'latin1').toString('utf8');
}

/** One JSON object without a line end. `bootMs`: wall clock of the machine's start, milliseconds since the Unix epoch. */
export function formatKernelRecord(record: KernelRecord, bootMs: number): string {
  return JSON.stringify({
    clock: record.clockUs,
    facility: facilityName(record.facility),
    msg: record.message,
    priority: PRIORITIES[record.priority],
    seq: record.sequence,
    'talos-level': LEVELS[record.priority],
    'talos-time': formatTime(bootMs, record.clockUs),
  });
}

function facilityName(facility: number): string {
  return (
    FACILITIES[facility] ??
    (facility >= FIRST_LOCAL_FACILITY ? `local${facility - FIRST_LOCAL_FACILITY}` : String(facility))
  );
}

/** RFC 3339 with microseconds, trailing zeros left out, as Go's RFC3339Nano has it. */
function formatTime(bootMs: number, clockUs: number): string {
  const totalUs = Math.round(bootMs * 1_000) + clockUs;
  const seconds = Math.floor(totalUs / 1_000_000);
  const fraction = String(totalUs - seconds * 1_000_000)
    .padStart(6, '0')
    .replace(/0+$/, '');
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19)}${fraction === '' ? '' : `.${fraction}`}Z`;
}
