/** A view of all rows, however many: search, filters, and a grid that holds those in sight. */
import { Sparkline } from './chart.js';
import { h, Live } from './dom.js';
import { bitRate, count } from './format.js';
import { Grid } from './grid.js';
import { handshakeAge } from './parts.js';

/** @import { Context, View } from './parts.js' */
/** @import { Row, State } from './state.js' */
/** @import { Column } from './grid.js' */

/**
 * @template {Row<any>} R
 * @typedef {object} ListOptions
 * @property {string} title
 * @property {readonly [string, string]} nouns one, several
 * @property {string} placeholder of the search
 * @property {readonly (readonly [string, string])[]} filters states, and what they are called
 * @property {readonly Column<R>[]} columns
 * @property {(row: R) => string} path of the view of a row
 * @property {(row: R) => readonly string[]} texts that the search looks at
 */

/**
 * @template {Row<any>} R
 * @param {Context} context
 * @param {ListOptions<R>} options
 * @returns {View}
 */
export function listView({ state }, { title, nouns, placeholder, filters, columns, path, texts }) {
  const live = new Live();
  let filter = 'all';
  let shown = -1;
  const search = h('input', {
    type: 'search',
    placeholder,
    'aria-label': `Search ${nouns[1]}`,
    oninput: () => list(),
  });
  const grid = new Grid({
    label: title,
    class: nouns[1],
    columns,
    open: (/** @type {R} */ row) => (location.hash = path(row)),
    onSort: () => list(),
  });
  const found = h('p', { class: 'quiet', role: 'status' });
  /** @type {readonly HTMLElement[]} */
  const chips = [['all', 'All'], ...filters].map(([value = '', label = '']) =>
    h(
      'button',
      {
        class: 'chip',
        onclick: (/** @type {Event} */ event) => {
          filter = value;
          for (const each of chips) each.setAttribute('aria-pressed', String(each === event.currentTarget));
          list();
        },
        'aria-pressed': String(value === filter),
      },
      `${label} `,
      h(
        'span',
        { class: 'number' },
        live.text(() => count(value === 'all' ? state.rows.size : state.countOf(value))),
      ),
    ),
  );

  function list() {
    shown = state.version;
    const text = search.value.trim().toLowerCase();
    let rows = /** @type {R[]} */ ([...state.rows.values()]);
    if (filter !== 'all') rows = rows.filter(({ view }) => view.state === filter);
    if (text !== '')
      rows = rows.filter((row) => texts(row).some((each) => each.toLowerCase().includes(text)));
    const { compare } = grid;
    if (compare) rows.sort(compare);
    grid.setRows(rows);
    found.textContent = `${count(rows.length)} ${nouns[rows.length === 1 ? 0 : 1]}`;
  }

  const element = h(
    'div',
    { class: 'view fill' },
    h('div', { class: 'title' }, h('h1', {}, title), found),
    h(
      'div',
      { class: 'tools' },
      h('div', { class: 'chips', role: 'group', 'aria-label': 'State' }, ...chips),
      search,
    ),
    grid.element,
  );
  live.each(() => {
    if (shown !== state.version) list();
    else grid.update();
  });
  return { title, element, update: () => live.update() };
}

/**
 * A name that leads to the view of its row, and a word beside it.
 * @template {Row<any>} R
 * @param {string} title
 * @param {{ path: (row: R) => string, name: (row: R) => string, hover: (row: R) => string, note: (row: R) => string, isMono: (row: R) => boolean }} read
 * @returns {Column<R>}
 */
export function nameColumn(title, { path, name, hover, note, isMono }) {
  return {
    title,
    compare: (a, b) => name(a).localeCompare(name(b)),
    make: (cell) => {
      const link = h('a', { tabindex: -1 });
      const beside = h('span', { class: 'quiet clip' });
      cell.append(link, beside);
      return (row) => {
        set(link, name(row));
        link.href = path(row);
        link.title = hover(row);
        link.classList.toggle('mono', isMono(row));
        set(beside, note(row));
      };
    },
  };
}

/**
 * @template {Row<any>} R
 * @param {(row: R) => string} text
 * @param {(row: R) => string} tone
 * @returns {Column<R>}
 */
export function stateColumn(text, tone) {
  return {
    title: 'State',
    compare: (a, b) => text(a).localeCompare(text(b)),
    make: (cell) => {
      const badge = h('span', { class: 'badge' });
      cell.append(badge);
      return (row) => {
        set(badge, text(row));
        badge.className = `badge ${tone(row)}`;
      };
    },
  };
}

/**
 * @param {State} state
 * @returns {Column<Row<any>>}
 */
export function handshakeColumn(state) {
  return {
    title: 'Handshake',
    isRight: true,
    compare: (a, b) => (b.view.lastHandshake ?? '').localeCompare(a.view.lastHandshake ?? ''),
    make: (cell) => {
      const text = h('span', {});
      cell.append(text);
      return ({ view }) => {
        const age = handshakeAge(view, state);
        set(text, age.text);
        text.className = `age ${age.tone}`;
      };
    },
  };
}

/** @type {Column<Row<any>>} */
export const TRAFFIC_COLUMN = {
  title: 'Traffic',
  isRight: true,
  compare: (a, b) => b.rate - a.rate,
  make: (cell) => {
    const line = new Sparkline();
    const rate = h('span', { class: 'number' });
    cell.append(line.element, rate);
    return (row) => {
      line.show(row.sum());
      set(rate, bitRate(row.rate));
    };
  },
};

/**
 * @template {Row<any>} R
 * @param {(row: R) => string} read
 * @returns {(cell: HTMLElement) => (row: R) => void}
 */
export function textOf(read) {
  return (cell) => {
    cell.classList.add('clip');
    return (row) => {
      const text = read(row);
      set(cell, text);
      if (cell.title !== text) cell.title = text;
    };
  };
}

/**
 * Does nothing when it is there already: most rows do not change in a turn.
 * @param {HTMLElement} element
 * @param {string} text
 */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
