/** Lines of the last two minutes. */
import { svg } from './dom.js';
import { HISTORY } from './state.js';

const WIDTH = 120;

/**
 * @param {readonly number[]} values
 * @param {number} max
 * @param {number} height
 */
function line(values, max, height) {
  let path = '';
  for (const [i, value] of values.entries()) {
    const x = ((i * WIDTH) / (HISTORY - 1)).toFixed(1);
    const y = (height - 1 - (value / max) * (height - 2)).toFixed(1);
    path += `${i === 0 ? 'M' : 'L'}${x} ${y}`;
  }
  return path;
}

/** A small line without words: the number stands beside it. */
export class Sparkline {
  #height = 20;
  #path = svg('path', { class: 'line' });
  element = svg(
    'svg',
    {
      class: 'spark',
      viewBox: `0 0 ${WIDTH} ${this.#height}`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    },
    this.#path,
  );

  /** @param {readonly number[]} values bytes a second */
  show(values) {
    // A keepalive now and then is no traffic.
    const max = Math.max(1_000, ...values);
    this.#path.setAttribute('d', line(values, max, this.#height));
  }
}

/** Two lines over an area each. */
export class TrafficChart {
  #height = 72;
  #rx = svg('path', { class: 'line rx' });
  #tx = svg('path', { class: 'line tx' });
  #rxArea = svg('path', { class: 'area rx' });
  #txArea = svg('path', { class: 'area tx' });
  /** @param {string} label */
  constructor(label) {
    this.element = svg(
      'svg',
      {
        class: 'chart',
        viewBox: `0 0 ${WIDTH} ${this.#height}`,
        preserveAspectRatio: 'none',
        role: 'img',
        'aria-label': label,
      },
      this.#rxArea,
      this.#txArea,
      this.#rx,
      this.#tx,
    );
  }

  /**
   * @param {readonly number[]} rx
   * @param {readonly number[]} tx
   */
  show(rx, tx) {
    const max = Math.max(1_000, ...rx, ...tx);
    for (const [values, path, area] of [
      [rx, this.#rx, this.#rxArea],
      [tx, this.#tx, this.#txArea],
    ]) {
      const d = line(values, max, this.#height);
      path.setAttribute('d', d);
      area.setAttribute('d', `${d}L${WIDTH} ${this.#height}L0 ${this.#height}Z`);
    }
  }
}
