/** A stage of the data path on the map: what it is, what waits in front of it, how busy it is, what it dropped. */
import { h } from './dom.js';
import { bytes, count, words } from './format.js';
import { meter } from './parts.js';

/** @import { Live } from './dom.js' */
/** @import { DeviceView, QueueView } from '../src/app/api/datapath-view.ts' */
/** @import { State } from './state.js' */

/** @type {Readonly<Record<QueueView['name'], string>>} */
export const QUEUE_WORDS = {
  tun: 'Queue of the kernel',
  staged: 'Without a session',
  udp4_out: 'Socket, IPv4',
  udp6_out: 'Socket, IPv6',
  streams_out: 'Ring to streams',
  udp4_in: 'Socket, IPv4',
  udp6_in: 'Socket, IPv6',
  streams_in: 'Ring from streams',
  handshake_in_flight: 'On their way from the lane',
  handshake: 'Waiting for the main thread',
};

/**
 * @typedef {object} StageOptions
 * @property {string} label
 * @property {() => string} value
 * @property {() => string} note
 * @property {readonly QueueView['name'][]} [queues] in front of it, or behind it for the last stage
 * @property {boolean} [hasLanes] it runs where lanes do: their load is shown
 * @property {(reason: string) => boolean} [drops] which reasons belong here
 * @property {() => readonly string[]} [lost] what else is lost here
 * @property {() => boolean} [isThere]
 */

/**
 * @param {Live} live
 * @param {State} state
 * @param {StageOptions} options
 * @returns {HTMLElement}
 */
export function stage(live, state, options) {
  const {
    label,
    value,
    note,
    queues = [],
    hasLanes = false,
    drops = () => false,
    lost = () => [],
    isThere,
  } = options;
  const losses = () => [...dropped(state, drops), ...lost()];
  const element = h(
    'li',
    { class: 'stage' },
    h('h3', { class: 'label' }, label),
    h('strong', {}, live.text(value)),
    h('span', { class: 'quiet' }, live.text(note)),
    ...queues.map((name) => queueGauge(live, state, name)),
    hasLanes &&
      live.children(
        h('div', { class: 'gauges' }),
        () => threadsOfLanes(state).join(),
        () => threadsOfLanes(state).map((name) => loadGauge(live, state, name)),
      ),
    live.children(
      h('ul', { class: 'drops' }),
      () => losses().join(),
      () => losses().map((text) => h('li', {}, text)),
    ),
  );
  return isThere ? live.attribute(element, 'hidden', () => !isThere()) : element;
}

/**
 * Names of the threads that lanes run on.
 * @param {State} state
 * @returns {readonly string[]}
 */
function threadsOfLanes({ datapath }) {
  const threads = datapath?.device.threads.map(({ name }) => name) ?? [];
  const lanes = threads.filter((name) => name !== 'main');
  return lanes.length > 0 ? lanes : threads;
}

/** Told with their queues. */
const OF_QUEUES = new Set(['staged_overflow', 'handshake_queue_full']);

/**
 * What was dropped for reasons that belong here, most frequent first.
 * @param {State} state
 * @param {(reason: string) => boolean} isHere
 * @returns {string[]}
 */
export function dropped({ datapath }, isHere) {
  return (datapath?.device.drops ?? [])
    .filter(({ reason, packets }) => packets > 0 && isHere(reason) && !OF_QUEUES.has(reason))
    .toSorted((a, b) => b.packets - a.packets)
    .map(({ reason, packets }) => `${count(packets)} ${words(reason)}`);
}

/**
 * Share of its time that a thread is busy.
 * @param {Live} live
 * @param {State} state
 * @param {string} name
 * @returns {HTMLElement}
 */
export function loadGauge(live, state, name) {
  const label = name === 'main' ? 'Main thread' : `Thread of ${words(name)}`;
  const load = () => state.loads.get(name) ?? 0;
  return gauge(
    live,
    label,
    load,
    () => `${Math.round(load() * 100)} % busy`,
    () => '',
  );
}

/**
 * How full a queue is; nothing where there is none.
 * @param {Live} live
 * @param {State} state
 * @param {QueueView['name']} name
 * @returns {HTMLElement}
 */
export function queueGauge(live, state, name) {
  const queue = () => state.datapath?.device.queues.find((each) => each.name === name);
  const share = () => {
    const { depth, capacity } = queue() ?? { depth: 0, capacity: 1 };
    return depth === null ? undefined : depth / Math.max(1, capacity);
  };
  const text = () => {
    const found = queue();
    return found && state.datapath ? depthText(found, state.datapath.device) : '';
  };
  const lost = () => {
    const found = queue();
    return found?.dropped ? `${count(found.dropped)} found it full` : '';
  };
  const element = gauge(live, QUEUE_WORDS[name], share, text, lost);
  return live.attribute(element, 'hidden', () => queue() === undefined);
}

/**
 * @param {QueueView} queue
 * @param {DeviceView} device
 */
function depthText({ name, unit, depth, capacity }, { staged }) {
  const amount = unit === 'bytes' ? bytes : count;
  const unitWord = unit === 'bytes' ? '' : ` ${unit}`;
  if (name === 'staged') {
    return staged.packets === 0
      ? 'none'
      : `${count(staged.packets)} packets, ${count(staged.peers)} ${staged.peers === 1 ? 'peer' : 'peers'}`;
  }
  if (depth === null) return `takes ${amount(capacity)}${unitWord}`;
  return depth === 0 ? 'empty' : `${amount(depth)} of ${amount(capacity)}${unitWord}`;
}

/**
 * @param {Live} live
 * @param {string} label
 * @param {() => number | undefined} share undefined where nobody tells
 * @param {() => string} text
 * @param {() => string} lost
 * @returns {HTMLElement}
 */
function gauge(live, label, share, text, lost) {
  const bar = meter(live, label, () => share() ?? 0);
  live.attribute(bar, 'hidden', () => share() === undefined);
  return h(
    'div',
    { class: 'gauge' },
    h('span', {}, label),
    h('span', { class: 'number' }, live.text(text)),
    bar,
    h('span', { class: 'lost' }, live.text(lost)),
  );
}
