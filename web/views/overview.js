/** Whether it works, at a glance. */
import { call } from '../api.js';
import { TrafficChart, Sparkline } from '../chart.js';
import { showJoin } from '../dialogs.js';
import { h, Live } from '../dom.js';
import { bitRate, count, duration, short, words } from '../format.js';
import { card, factList, handshakeAge, labelText, machinePath, stateText, stateTone } from '../parts.js';

/** @import { Context, View } from '../parts.js' */
/** @import { Machine, State } from '../state.js' */

const BUSIEST = 8;

/**
 * @param {Context} context
 * @returns {View}
 */
export function overview({ state, act }) {
  const live = new Live();
  const chart = new TrafficChart('Traffic of all machines in the last two minutes');
  live.each(() => chart.show(state.rx.values(), state.tx.values()));
  const join = () => act(async () => showJoin(await call('GET', '/join')));
  const busiest = h('ul', { class: 'rows' });
  const items = Array.from({ length: BUSIEST }, () => new BusyRow(state));
  busiest.append(...items.map(({ element }) => element));
  live.each(() => {
    const top = busy(state);
    for (const [i, item] of items.entries()) item.show(top[i]);
  });
  const element = h(
    'div',
    { class: 'view' },
    h(
      'div',
      { class: 'title' },
      h(
        'div',
        {},
        h('h1', {}, 'Overview'),
        h(
          'p',
          { class: 'quiet' },
          live.text(() => subtitle(state)),
        ),
      ),
      h('button', { class: 'button primary', onclick: join }, 'Join a machine'),
    ),
    h(
      'div',
      { class: 'tiles' },
      tile(
        'Connected',
        live.text(() => count(state.countOf('connected'))),
        live.text(() => `of ${count(total(state))} machines`),
        '#/machines',
      ),
      tile(
        'Waiting',
        live.text(() => count(state.countOf('pending'))),
        'to be let in',
        '#/waiting',
      ),
      tile(
        'Received',
        live.text(() => bitRate(state.rx.last)),
        'from machines',
      ),
      tile(
        'Sent',
        live.text(() => bitRate(state.tx.last)),
        'to machines',
      ),
    ),
    h(
      'div',
      { class: 'columns' },
      card(
        'Traffic',
        h(
          'p',
          { class: 'legend' },
          h('span', { class: 'key rx' }),
          'received ',
          h('span', { class: 'key tx' }),
          'sent',
        ),
        chart.element,
        h('p', { class: 'axis quiet' }, h('span', {}, '2 min ago'), h('span', {}, 'now')),
      ),
      card(
        'Dropped packets',
        live.children(
          h('div', {}),
          () => dropKey(state),
          () => drops(state),
        ),
      ),
    ),
    h(
      'div',
      { class: 'columns' },
      card(
        'Busiest machines',
        busiest,
        live.attribute(
          h('p', { class: 'quiet' }, 'No machine has joined yet. “Join a machine” says how.'),
          'hidden',
          () => total(state) > 0,
        ),
        live.attribute(
          h('p', {}, h('a', { href: '#/machines' }, 'All machines')),
          'hidden',
          () => total(state) === 0,
        ),
      ),
      card('Gateway', gatewayFacts(live, state)),
    ),
  );
  return { title: 'Overview', element, update: () => live.update() };
}

/** @param {State} state */
function total({ machines }) {
  return machines.size;
}

/** @param {State} state */
function subtitle(state) {
  const { status, datapath } = state;
  if (!status || !datapath) return '';
  const up = datapath.device.isUp ? 'is up' : 'is down';
  return `${status.interface} ${up}, running for ${duration(state.now - Date.parse(status.started))}`;
}

/**
 * @param {string} label
 * @param {Node} value
 * @param {Node | string} note
 * @param {string} [href]
 * @returns {HTMLElement}
 */
function tile(label, value, note, href) {
  const inner = [
    h('span', { class: 'label' }, label),
    h('strong', {}, value),
    h('span', { class: 'quiet' }, note),
  ];
  return href === undefined
    ? h('div', { class: 'tile' }, ...inner)
    : h('a', { class: 'tile', href }, ...inner);
}

/** @param {State} state */
function dropKey({ datapath }) {
  return datapath?.device.drops.map(({ packets }) => packets).join() ?? '';
}

/**
 * @param {State} state
 * @returns {Node[]}
 */
function drops({ datapath }) {
  const happened = (datapath?.device.drops ?? []).filter(({ packets }) => packets > 0);
  if (happened.length === 0) return [h('p', { class: 'quiet' }, 'None since the start.')];
  const largest = happened.toSorted((a, b) => b.packets - a.packets).slice(0, 6);
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
 * @param {Live} live
 * @param {State} state
 */
function gatewayFacts(live, state) {
  const text = (/** @type {(status: NonNullable<State['status']>) => string} */ read) =>
    live.text(() => (state.status ? read(state.status) : ''));
  return factList([
    ['Overlay address', text(({ address }) => address)],
    ['API', text(({ apiUrl }) => apiUrl)],
    ['WireGuard', text(({ wireGuardEndpoints }) => wireGuardEndpoints.join(', '))],
    ['New machines', text(({ accept }) => (accept === 'auto' ? 'join at once' : 'wait to be let in'))],
    ['Tunnel streams', text(({ streams }) => count(streams))],
    ['Version', text(({ version }) => version)],
  ]);
}

/**
 * @param {State} state
 * @returns {Machine[]}
 */
function busy({ machines }) {
  /** @type {Machine[]} */
  const top = [];
  for (const machine of machines.values()) {
    if (machine.view.state !== 'connected') continue;
    if (top.length === BUSIEST && machine.rate <= (top[BUSIEST - 1]?.rate ?? 0)) continue;
    top.push(machine);
    top.sort((a, b) => b.rate - a.rate);
    if (top.length > BUSIEST) top.pop();
  }
  return top;
}

class BusyRow {
  #name = h('a', {});
  #labels = h('span', { class: 'quiet clip' });
  #badge = h('span', { class: 'badge' });
  #age = h('span', { class: 'quiet age' });
  #rate = h('span', { class: 'number' });
  #line = new Sparkline();
  element = h(
    'li',
    { hidden: true },
    this.#name,
    this.#labels,
    this.#badge,
    this.#age,
    this.#line.element,
    this.#rate,
  );
  /** @param {State} state */
  constructor(state) {
    this.state = state;
  }

  /** @param {Machine | undefined} machine */
  show(machine) {
    this.element.hidden = machine === undefined;
    if (!machine) return;
    const { view } = machine;
    this.#name.href = machinePath(view);
    this.#name.textContent = short(view.id);
    this.#labels.textContent = labelText(view);
    this.#badge.className = `badge ${stateTone(view)}`;
    this.#badge.textContent = stateText(view);
    this.#age.textContent = handshakeAge(view, this.state).text;
    this.#rate.textContent = bitRate(machine.rate);
    this.#line.show(sum(machine));
  }
}

/** @param {Machine} machine */
export function sum({ rx, tx }) {
  const sent = tx.values();
  return rx.values().map((value, i) => value + (sent[i] ?? 0));
}
