/** Cards that the overviews of a gateway and of a device share. */
import { Sparkline, TrafficChart } from './chart.js';
import { h } from './dom.js';
import { bitRate, bytes, count, words } from './format.js';
import { card, handshakeAge } from './parts.js';

/** @import { Live } from './dom.js' */
/** @import { Row, State, Ring } from './state.js' */

const BUSIEST = 8;
const LARGEST_DROPS = 6;

/**
 * A number with what it counts; with `href` it leads there.
 * @param {string} label
 * @param {Node} value
 * @param {Node | string} note
 * @param {string} [href]
 * @returns {HTMLElement}
 */
export function tile(label, value, note, href) {
  const inner = [
    h('span', { class: 'label' }, label),
    h('strong', {}, value),
    h('span', { class: 'quiet' }, note),
  ];
  return href === undefined
    ? h('div', { class: 'tile' }, ...inner)
    : h('a', { class: 'tile', href }, ...inner);
}

/**
 * Two minutes of received and sent, with the rates of now.
 * @param {Live} live
 * @param {string} label for screen readers
 * @param {() => { rx: Ring, tx: Ring } | undefined} read
 * @param {() => string} note below the chart
 * @returns {HTMLElement}
 */
export function trafficCard(live, label, read, note) {
  const chart = new TrafficChart(label);
  live.each(() => {
    const traffic = read();
    if (traffic) chart.show(traffic.rx.values(), traffic.tx.values());
  });
  return card(
    'Traffic',
    h(
      'p',
      { class: 'legend' },
      h('span', { class: 'key rx' }),
      live.text(() => `received ${bitRate(read()?.rx.last ?? 0)} `),
      h('span', { class: 'key tx' }),
      live.text(() => `sent ${bitRate(read()?.tx.last ?? 0)}`),
    ),
    chart.element,
    h('p', { class: 'axis quiet' }, h('span', {}, '2 min ago'), h('span', {}, 'now')),
    h('p', { class: 'quiet' }, live.text(note)),
  );
}

/**
 * @param {{ rxBytes: number | null, txBytes: number | null }} view
 * @returns {string}
 */
export function totals({ rxBytes, txBytes }) {
  return `${bytes(rxBytes ?? 0)} received, ${bytes(txBytes ?? 0)} sent`;
}

/**
 * What is received and sent now.
 * @param {Live} live
 * @param {State} state
 * @param {string} rows what rows are, several of them
 * @returns {HTMLElement[]}
 */
export function rateTiles(live, state, rows) {
  return [
    tile(
      'Received',
      live.text(() => bitRate(state.rx.last)),
      `from ${rows}`,
    ),
    tile(
      'Sent',
      live.text(() => bitRate(state.tx.last)),
      `to ${rows}`,
    ),
  ];
}

/**
 * Traffic of all rows, and what was dropped.
 * @param {Live} live
 * @param {State} state
 * @param {string} rows
 * @returns {HTMLElement}
 */
export function trafficAndDrops(live, state, rows) {
  return h(
    'div',
    { class: 'columns' },
    trafficCard(
      live,
      `Traffic of all ${rows} in the last two minutes`,
      () => state,
      () => '',
    ),
    dropsCard(live, state),
  );
}

/**
 * The most frequent reasons.
 * @param {Live} live
 * @param {State} state
 * @returns {HTMLElement}
 */
function dropsCard(live, state) {
  return card(
    'Dropped packets',
    live.children(
      h('div', {}),
      () => state.datapath?.device.drops.map(({ packets }) => packets).join() ?? '',
      () => drops(state),
    ),
  );
}

/**
 * @param {State} state
 * @returns {Node[]}
 */
function drops({ datapath }) {
  const happened = (datapath?.device.drops ?? []).filter(({ packets }) => packets > 0);
  if (happened.length === 0) return [h('p', { class: 'quiet' }, 'None since the start.')];
  const largest = happened.toSorted((a, b) => b.packets - a.packets).slice(0, LARGEST_DROPS);
  return [
    h(
      'ul',
      { class: 'rows' },
      ...largest.map(({ reason, direction, packets }) =>
        h(
          'li',
          {},
          h('span', {}, words(reason)),
          h('span', { class: 'quiet' }, direction === 'in' ? 'received' : 'to send'),
          h('span', { class: 'number' }, count(packets)),
        ),
      ),
    ),
    h('p', {}, h('a', { href: '#/data-path' }, 'Data path')),
  ];
}

/**
 * How a row is shown.
 * @template {Row<any>} R
 * @typedef {object} Shown
 * @property {(row: R) => boolean} isConnected
 * @property {(row: R) => string} path
 * @property {(row: R) => string} name
 * @property {(row: R) => string} note
 * @property {(row: R) => boolean} isMono whether the name is an id or a key
 * @property {(row: R) => string} text of the badge
 * @property {(row: R) => string} tone of the badge
 */

/**
 * @template {Row<any>} R
 * @param {Live} live
 * @param {State} state
 * @param {{ title: string, all: string, href: string, nobody: string, shown: Shown<R> }} options
 * @returns {HTMLElement}
 */
export function busiestCard(live, state, { title, all, href, nobody, shown }) {
  const items = Array.from({ length: BUSIEST }, () => new BusyRow(state, shown));
  live.each(() => {
    const top = busiest(state, shown);
    for (const [i, item] of items.entries()) item.show(top[i]);
  });
  return card(
    title,
    h('ul', { class: 'rows' }, ...items.map(({ element }) => element)),
    live.attribute(h('p', { class: 'quiet' }, nobody), 'hidden', () => state.rows.size > 0),
    live.attribute(h('p', {}, h('a', { href }, all)), 'hidden', () => state.rows.size === 0),
  );
}

/**
 * @template {Row<any>} R
 * @param {State} state
 * @param {Shown<R>} shown
 * @returns {R[]}
 */
function busiest({ rows }, { isConnected }) {
  /** @type {R[]} */
  const top = [];
  for (const row of /** @type {Map<string, R>} */ (rows).values()) {
    if (!isConnected(row)) continue;
    if (top.length === BUSIEST && row.rate <= (top[BUSIEST - 1]?.rate ?? 0)) continue;
    top.push(row);
    top.sort((a, b) => b.rate - a.rate);
    if (top.length > BUSIEST) top.pop();
  }
  return top;
}

/** @template {Row<any>} R */
class BusyRow {
  #name = h('a', {});
  #note = h('span', { class: 'quiet clip' });
  #badge = h('span', { class: 'badge' });
  #age = h('span', { class: 'quiet age' });
  #rate = h('span', { class: 'number' });
  #line = new Sparkline();
  element = h(
    'li',
    { hidden: true },
    this.#name,
    this.#note,
    this.#badge,
    this.#age,
    this.#line.element,
    this.#rate,
  );

  /**
   * @param {State} state
   * @param {Shown<R>} shown
   */
  constructor(state, shown) {
    this.state = state;
    this.shown = shown;
  }

  /** @param {R | undefined} row */
  show(row) {
    this.element.hidden = row === undefined;
    if (!row) return;
    const { path, name, note, isMono, text, tone } = this.shown;
    this.#name.href = path(row);
    this.#name.textContent = name(row);
    this.#name.className = isMono(row) ? 'mono' : '';
    this.#note.textContent = note(row);
    this.#badge.className = `badge ${tone(row)}`;
    this.#badge.textContent = text(row);
    const age = handshakeAge(row.view, this.state);
    this.#age.textContent = age.text;
    this.#age.className = `age ${age.tone}`;
    this.#rate.textContent = bitRate(row.rate);
    this.#line.show(row.sum());
  }
}
