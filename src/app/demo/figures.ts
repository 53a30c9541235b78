/** Numbers as the demonstration writes them. Decimal units, as networks are measured. */

/** `2.41 Gbit/s`. */
export function formatRate(bytes: number, ms: number): string {
  const bits = ms > 0 ? (bytes * 8_000) / ms : 0;
  return scaled(bits, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s']);
}

/** `1.51 GB`. */
export function formatAmount(bytes: number): string {
  return scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB']);
}

/** Three digits that count. */
function scaled(value: number, units: readonly string[]): string {
  let [scale, unit] = [1, 0];
  while (value / scale >= 999.5 && unit < units.length - 1) [scale, unit] = [scale * 1_000, unit + 1];
  const short = value / scale;
  const digits = unit === 0 || short >= 99.95 ? 0 : short >= 9.995 ? 1 : 2;
  return `${short.toFixed(digits)} ${units[unit]}`;
}

/** `1,103,412`. */
export function formatCount(count: number | bigint): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Milliseconds below a second with three digits that count, else seconds: `0.14 ms`, `12.3 ms`, `1.2 s`. */
export function formatTime(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 9.995 ? 2 : ms < 99.95 ? 1 : 0)} ms`;
}
