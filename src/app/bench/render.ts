/** Benchmark rows for people: a table for each operation, with bars that compare its rows. */
import type { Palette } from '../show-values.ts';
import type { MachineFacts } from './facts.ts';
import type { Row } from './measure.ts';
import type { NoiseReport } from './noise.ts';

const BAR_COLUMNS = 24;
const NAME_COLUMNS = 18;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

export interface RenderOptions {
  readonly colours: Palette;
  /** Whether the terminal takes block characters; `#` otherwise. */
  readonly hasBlocks: boolean;
}

/** Each operation with its rows, in the order of their first appearance. */
export function renderRows(rows: readonly Row[], options: RenderOptions): string {
  const groups = new Map<string, Row[]>();
  for (const row of rows) groups.set(row.operation, [...(groups.get(row.operation) ?? []), row]);
  return Array.from(groups, ([operation, group]) => renderGroup(operation, group, options)).join('\n');
}

function renderGroup(operation: string, rows: readonly Row[], { colours, hasBlocks }: RenderOptions): string {
  const { bold, green, reset } = colours;
  const best = Math.max(...rows.map(merit));
  const lines = rows.map((row) => {
    const share = merit(row) / best;
    const colour = share === 1 && rows.length > 1 ? green : '';
    const drawn = bar(share, hasBlocks);
    return [
      `  ${row.backend.padEnd(NAME_COLUMNS)}`,
      figure(row).padStart(18),
      `  ${colour}${drawn}${colour === '' ? '' : reset}${' '.repeat(BAR_COLUMNS - drawn.length)}`,
      time(row).padStart(12),
      spread(row).padStart(8),
      row.note === undefined ? '' : `  ${row.note}`,
    ]
      .join('')
      .trimEnd();
  });
  return `${bold}${operation}${reset}\n${lines.join('\n')}\n`;
}

/** More is better: amounts by second, and for round trips the inverse. */
function merit(row: Row): number {
  return (row.unit === 'packets/s' ? 1 : (row.bytes ?? 1)) / row.ns;
}

function figure({ ns, bytes, unit }: Row): string {
  switch (unit) {
    case 'ms':
      return `${(ns / 1e6).toFixed(2)} ms`;
    case 'Gbit/s':
      return `${(((bytes ?? 0) * 8) / ns).toFixed(2)} Gbit/s`;
    case 'packets/s':
      return `${Math.round(1e9 / ns).toLocaleString('en')} packets/s`;
    case undefined:
      return bytes === undefined
        ? `${Math.round(1e9 / ns).toLocaleString('en')}/s`
        : `${Math.round((bytes * 1e3) / ns).toLocaleString('en')} MB/s`;
    default:
      return unit satisfies never;
  }
}

/** Of one operation; a whole transfer and a round trip have none that is not in their figure. */
function time({ ns, unit }: Row): string {
  if (unit === 'Gbit/s' || unit === 'ms') return '';
  return ns < 9_999.5 ? `${Math.round(ns).toLocaleString('en')} ns` : `${(ns / 1_000).toFixed(1)} us`;
}

function spread(row: Row): string {
  return row.spread === undefined ? '' : `+${Math.round(row.spread * 100)} %`;
}

function bar(share: number, hasBlocks: boolean): string {
  const length = share * BAR_COLUMNS;
  if (!hasBlocks) return '#'.repeat(Math.max(1, Math.round(length)));
  const eighths = Math.max(1, Math.round(length * 8));
  return '█'.repeat(eighths >> 3) + (EIGHTHS[eighths & 7] as string);
}

export function renderFacts(facts: MachineFacts): string {
  const { cpu, cores, memoryGiB, kernel, node, openssl, culvert, commit } = facts;
  return [
    `culvert ${culvert}${commit === undefined ? '' : ` (${commit})`}, Node.js ${node}, OpenSSL ${openssl}`,
    `${cpu}, ${cores} ${cores === 1 ? 'core' : 'cores'}, ${memoryGiB} GiB, Linux ${kernel}`,
    '',
  ].join('\n');
}

export function renderNoise({ warnings, otherLoad, spread: typical }: NoiseReport, colours: Palette): string {
  const { yellow, green, reset } = colours;
  if (warnings.length > 0) {
    const lines = warnings.map((warning) => `  ${warning}`);
    return `${yellow}The machine was too noisy for absolute figures; ratios of one run may still hold:${reset}\n${lines.join('\n')}\n`;
  }
  if (otherLoad === undefined && typical === undefined) return '';
  return `${green}The machine was quiet.${reset}\n`;
}
