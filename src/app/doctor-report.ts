/** The findings of `culvert doctor` for people, in 80 columns, and for scripts. */
import { type Check, type Facts, isUsable, type Status } from './doctor.ts';
import type { Palette } from './show-values.ts';

const COLUMNS = 80;
const LABEL_COLUMN = 2 + 'problem'.length + 2;
const DETAIL_COLUMN: number = LABEL_COLUMN + 'socket buffers'.length + 2;

/** Lines with a newline each. */
export function doctorText(
  checks: readonly Check[],
  facts: Facts,
  version: string,
  colours: Palette,
): string {
  const { bold, reset } = colours;
  const lines = [
    `${bold}culvert ${version} doctor${reset}`,
    '',
    ...checks.flatMap((check) => describe(check, colours)),
    '',
    ...cryptoTable(facts, colours),
    '',
    verdict(checks, colours),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function describe({ status, label, detail, hint }: Check, colours: Palette): string[] {
  const room = COLUMNS - DETAIL_COLUMN;
  const hints = hint === undefined ? [] : wrap(`-> ${hint}`, room, '   ');
  return [...wrap(detail, room), ...hints].map((text, i) => {
    const word = i === 0 ? status : '';
    const name = i === 0 ? label : '';
    const padding = ' '.repeat(LABEL_COLUMN - 2 - word.length);
    return `  ${paint(word, status, colours)}${padding}${name.padEnd(DETAIL_COLUMN - LABEL_COLUMN)}${text}`;
  });
}

function paint(text: string, status: Status, { green, yellow, red, reset }: Palette): string {
  if (text === '') return '';
  return `${{ ok: green, warning: yellow, problem: red }[status]}${text}${reset}`;
}

/** Breaks at spaces; what has none stays whole, so that paths and commands can be copied. */
function wrap(text: string, room: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = indent + word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

const CELL = 16;

/** Speed of every backend, in MB/s and nanoseconds a packet. */
function cryptoTable({ crypto }: Facts, { bold, reset }: Palette): string[] {
  const { transport, handshake } = crypto;
  const head = transport.sizes.map((size) => `${size} B`.padStart(CELL)).join('');
  const rows = transport.candidates.map(({ name, result }) => {
    if (typeof result === 'string') return `  ${name.padEnd(10)} ${result}`;
    const cells = result.map((ns, i) => {
      const speed = Math.round(megabytesPerSecond(transport.sizes[i] as number, ns));
      return `${speed} (${Math.round(ns)} ns)`.padStart(CELL);
    });
    return `  ${name.padEnd(10)}${cells.join('')}`;
  });
  const choice =
    transport.longestShort === undefined
      ? transport.chosen
      : `${transport.chosen}, the latter above ${transport.longestShort} bytes`;
  return [
    `${bold}ChaCha20-Poly1305, MB/s and time for a packet${reset}`,
    `  ${''.padEnd(10)}${head}`,
    ...rows,
    `  chosen: ${choice}`,
    '',
    `${bold}Handshakes, time for one operation${reset}`,
    ...handshake.map(({ operation, chosen, candidates }) => {
      const times = candidates.map(
        ({ name, ns }) => `${name} ${ns === undefined ? 'fails' : microseconds(ns)}`,
      );
      return `  ${operation.padEnd(18)} ${times.join(', ')}; chosen: ${chosen}`;
    }),
  ];
}

function megabytesPerSecond(sizeBytes: number, ns: number): number {
  return (sizeBytes * 1_000) / ns;
}

function microseconds(ns: number): string {
  return `${(ns / 1_000).toFixed(1)} us`;
}

function verdict(checks: readonly Check[], { red, green, reset }: Palette): string {
  const count = (wanted: Status) => checks.filter(({ status }) => status === wanted).length;
  const parts = [
    [count('problem'), 'problem'],
    [count('warning'), 'warning'],
  ] as const;
  const counts = parts
    .filter(([number]) => number > 0)
    .map(([number, noun]) => `${number} ${noun}${number === 1 ? '' : 's'}`);
  const words = counts.length === 0 ? '' : ` (${counts.join(', ')})`;
  return isUsable(checks)
    ? `${green}A device can run here${reset}${words}.`
    : `${red}No device can run here${reset}${words}.`;
}

/** Documented in docs/DOCTOR.md. Members are added, never changed or removed, while `schema` is 1. */
export interface DoctorJson {
  readonly schema: 1;
  readonly culvert: string;
  readonly isUsable: boolean;
  readonly checks: readonly Check[];
  readonly facts: Facts;
}

export function doctorJson(checks: readonly Check[], facts: Facts, version: string): string {
  const document: DoctorJson = { schema: 1, culvert: version, isUsable: isUsable(checks), checks, facts };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}
