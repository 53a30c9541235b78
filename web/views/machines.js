/** All machines, however many. */
import { Sparkline } from '../chart.js';
import { h, Live } from '../dom.js';
import { bitRate, count, short } from '../format.js';
import { Grid } from '../grid.js';
import { handshakeAge, labelText, machinePath, stateText, stateTone } from '../parts.js';
import { sum } from './overview.js';

/** @import { Context, View } from '../parts.js' */
/** @import { Machine, State } from '../state.js' */
/** @import { Column } from '../grid.js' */

const FILTERS = /** @type {const} */ ([
  ['all', 'All'],
  ['connected', 'Connected'],
  ['down', 'Down'],
  ['pending', 'Waiting'],
]);

/**
 * @param {Context} context
 * @returns {View}
 */
export function machines({ state }) {
  const live = new Live();
  let filter = 'all';
  let shown = -1;
  const search = h('input', {
    type: 'search',
    placeholder: 'Search id, address, endpoint, label, version',
    'aria-label': 'Search machines',
    oninput: () => list(),
  });
  const grid = new Grid({
    label: 'Machines',
    class: 'machines',
    columns: columns(state),
    open: (/** @type {Machine} */ machine) => (location.hash = machinePath(machine.view)),
    onSort: () => list(),
  });
  const found = h('p', { class: 'quiet', role: 'status' });
  const chips = FILTERS.map(([value, label]) => {
    const chip = h(
      'button',
      {
        class: 'chip',
        onclick: () => {
          filter = value;
          for (const each of chips) each.setAttribute('aria-pressed', String(each === chip));
          list();
        },
        'aria-pressed': value === filter,
      },
      `${label} `,
      h(
        'span',
        { class: 'number' },
        live.text(() => count(value === 'all' ? state.machines.size : state.countOf(value))),
      ),
    );
    chip.setAttribute('aria-pressed', String(value === filter));
    return chip;
  });

  function list() {
    shown = state.version;
    const text = search.value.trim().toLowerCase();
    let rows = [...state.machines.values()];
    if (filter !== 'all') rows = rows.filter(({ view }) => view.state === filter);
    if (text !== '') rows = rows.filter((machine) => isFound(machine, text));
    const { compare } = grid;
    if (compare) rows.sort(compare);
    grid.setRows(rows);
    found.textContent = `${count(rows.length)} ${rows.length === 1 ? 'machine' : 'machines'}`;
  }

  const element = h(
    'div',
    { class: 'view fill' },
    h('div', { class: 'title' }, h('h1', {}, 'Machines'), found),
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
  return { title: 'Machines', element, update: () => live.update() };
}

/**
 * @param {Machine} machine
 * @param {string} text
 */
function isFound({ view }, text) {
  return [
    view.id,
    view.address,
    view.publicKey,
    view.endpoint ?? '',
    view.talosVersion,
    labelText(view),
  ].some((each) => each.toLowerCase().includes(text));
}

/**
 * @param {State} state
 * @returns {readonly Column<Machine>[]}
 */
function columns(state) {
  return [
    {
      title: 'Machine',
      compare: (a, b) => a.view.id.localeCompare(b.view.id),
      make: (cell) => {
        const link = h('a', { tabindex: -1 });
        const labels = h('span', { class: 'quiet clip' });
        cell.append(link, labels);
        return ({ view }) => {
          set(link, short(view.id));
          link.href = machinePath(view);
          link.title = view.id;
          set(labels, labelText(view));
        };
      },
    },
    {
      title: 'State',
      compare: (a, b) => stateText(a.view).localeCompare(stateText(b.view)),
      make: (cell) => {
        const badge = h('span', { class: 'badge' });
        cell.append(badge);
        return ({ view }) => {
          set(badge, stateText(view));
          badge.className = `badge ${stateTone(view)}`;
        };
      },
    },
    {
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
    },
    {
      title: 'Endpoint',
      compare: (a, b) => (a.view.endpoint ?? '').localeCompare(b.view.endpoint ?? ''),
      make: textOf(({ view }) => view.endpoint ?? '–'),
    },
    { title: 'Overlay address', make: textOf(({ view }) => view.address) },
    {
      title: 'Traffic',
      isRight: true,
      compare: (a, b) => b.rate - a.rate,
      make: (cell) => {
        const line = new Sparkline();
        const rate = h('span', { class: 'number' });
        cell.append(line.element, rate);
        return (machine) => {
          line.show(sum(machine));
          set(rate, bitRate(machine.rate));
        };
      },
    },
    {
      title: 'Version',
      compare: (a, b) => a.view.talosVersion.localeCompare(b.view.talosVersion, undefined, { numeric: true }),
      make: textOf(({ view }) => view.talosVersion || '–'),
    },
  ];
}

/**
 * @param {(machine: Machine) => string} read
 * @returns {(cell: HTMLElement) => (machine: Machine) => void}
 */
function textOf(read) {
  return (cell) => {
    cell.classList.add('clip');
    return (machine) => set(cell, read(machine));
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
