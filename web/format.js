/** Numbers and times for people. */

const UNITS = ['', 'k', 'M', 'G', 'T', 'P'];

/**
 * @param {number} value
 * @param {string} unit
 */
function scaled(value, unit) {
  let power = 0;
  let rest = value;
  while (rest >= 999.5 && power < UNITS.length - 1) {
    rest /= 1000;
    power++;
  }
  const digits = rest >= 99.5 || (power === 0 && Number.isInteger(rest)) ? 0 : rest >= 9.95 ? 1 : 2;
  return `${rest.toFixed(power === 0 ? 0 : digits)} ${UNITS[power]}${unit}`;
}

/** @param {number} count */
export function bytes(count) {
  return scaled(count, 'B');
}

/**
 * @param {number} bytesPerSecond
 */
export function bitRate(bytesPerSecond) {
  return scaled(bytesPerSecond * 8, 'bit/s');
}

/** @param {number} value */
export function count(value) {
  return value.toLocaleString('en-US');
}

/**
 * `12 s`, `3 min`, `5 h`, `2 d`.
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** @param {string} iso */
export function date(iso) {
  return iso.slice(0, 16).replace('T', ' ');
}

/** @param {string} iso */
export function time(iso) {
  return iso.slice(11, 23);
}

/**
 * The beginning of a key or id.
 * @param {string} text
 */
export function short(text) {
  return text.length > 14 ? `${text.slice(0, 8)}…${text.slice(-4)}` : text;
}

/**
 * `expired_keypair` as words.
 * @param {string} name
 */
export function words(name) {
  return name.replaceAll('_', ' ');
}
