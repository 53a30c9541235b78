/** Prometheus' text format, version 0.0.4. */

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
}

/** A family with its samples, which are whole lines. Empty when there are none. */
export function formatFamily(family: Family, samples: string): string {
  return samples === '' ? '' : formatHead(family) + samples;
}

export function formatHead({ name, type, help }: Family): string {
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
}

/** One line: `name{label="value"} 3`. `labels` is text as formatLabels makes it. */
export function formatSample(name: string, labels: string, value: number | bigint | string): string {
  return labels === '' ? `${name} ${value}\n` : `${name}{${labels}} ${value}\n`;
}

/** `a="1",b="2"`; undefined values are left out. */
export function formatLabels(labels: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(labels)
    .filter((entry): entry is [string, string] => entry[1] !== undefined)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(',');
}

/** A value for between the quotes. */
export function escapeLabel(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replace(/[\\"\n]/g, (character) => (character === '\n' ? String.raw`\n` : `\\${character}`))
    : value;
}

function escapeHelp(help: string): string {
  return help.replaceAll('\\', String.raw`\\`).replaceAll('\n', String.raw`\n`);
}

/** The samples of a histogram. `counts` has one place more than `bounds`, for what is above all of them. */
export function formatHistogram(name: string, labels: string, { bounds, counts, sum }: Histogram): string {
  const prefix = labels === '' ? '' : `${labels},`;
  let total = 0;
  const buckets = counts.map((count, i) => {
    total += count;
    return formatSample(`${name}_bucket`, `${prefix}le="${bounds[i] ?? '+Inf'}"`, total);
  });
  return `${buckets.join('')}${formatSample(`${name}_sum`, labels, sum)}${formatSample(`${name}_count`, labels, total)}`;
}

export interface Histogram {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}
