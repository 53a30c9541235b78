/** The way of a packet through the gateway, and how each part of it fares. */
import { h, Live } from '../dom.js';
import { bytes, count, words } from '../format.js';
import { card, factList, meter } from '../parts.js';

/** @import { Context, View } from '../parts.js' */
/** @import { DeviceView, StreamsView } from '../../src/app/api/datapath-view.ts' */
/** @import { State } from '../state.js' */

/**
 * @param {Context} context
 * @returns {View}
 */
export function dataPath({ state }) {
  const live = new Live();
  const device = (/** @type {(device: DeviceView) => string | number} */ read) =>
    live.text(() => (state.datapath ? read(state.datapath.device) : ''));
  const streams = (/** @type {(streams: StreamsView) => string | number} */ read) =>
    live.text(() => (state.datapath?.streams ? read(state.datapath.streams) : '–'));
  const element = h(
    'div',
    { class: 'view' },
    h(
      'div',
      { class: 'title' },
      h(
        'div',
        {},
        h('h1', {}, 'Data path'),
        h('p', { class: 'quiet' }, 'The way of a packet, and who carries it.'),
      ),
    ),
    h(
      'ol',
      { class: 'flow', 'aria-label': 'From the interface to the network' },
      node(
        'Interface',
        device(({ interface: name }) => name),
        device(({ tun, isUp }) => `${isUp ? 'up' : 'down'}, ${TUN_WORDS[tun] ?? words(tun)}`),
      ),
      node(
        'Lanes',
        device(({ lanes }) => (lanes === 'worker' ? 'own thread' : 'main thread')),
        device(({ peers }) => `${count(peers)} peers`),
      ),
      node(
        'Cipher',
        device(({ backends }) => backends.transport ?? 'choosing …'),
        'ChaCha20-Poly1305',
      ),
      h(
        'li',
        { class: 'fork' },
        way(
          'UDP',
          live.text(() => count(udpPeers(state))),
          'machines',
        ),
        way(
          'gRPC',
          streams(({ open }) => count(open)),
          'open streams',
        ),
      ),
    ),
    h(
      'div',
      { class: 'columns' },
      card(
        'Load',
        live.children(
          h('div', { class: 'stack' }),
          () => state.datapath?.device.threads.map(({ name }) => name).join() ?? '',
          () => loads(live, state),
        ),
        factList([
          ['Transport AEAD', device(({ backends }) => backends.transport ?? 'choosing …')],
          ['X25519', device(({ backends }) => backends.x25519)],
          ['BLAKE2s', device(({ backends }) => backends.blake2s)],
        ]),
      ),
      card(
        'Handshakes',
        factList([
          ['Completed, machine began', device(({ handshakes }) => count(handshakes.completedAsResponder))],
          ['Completed, gateway began', device(({ handshakes }) => count(handshakes.completedAsInitiator))],
          ['Initiations received', device(({ handshakes }) => count(handshakes.initiationsReceived))],
          ['Initiations sent', device(({ handshakes }) => count(handshakes.initiationsSent))],
          ['Given up after 90 s', device(({ handshakes }) => count(handshakes.gaveUp))],
          [
            'Under load',
            device(({ isUnderLoad }) => (isUnderLoad ? 'yes: cookies are demanded first' : 'no')),
          ],
        ]),
      ),
    ),
    h(
      'div',
      { class: 'columns' },
      card(
        'Dropped when received',
        live.children(
          h('div', {}),
          () => key(state, 'in'),
          () => drops(state, 'in'),
        ),
      ),
      card(
        'Dropped when sending',
        live.children(
          h('div', {}),
          () => key(state, 'out'),
          () => drops(state, 'out'),
        ),
      ),
    ),
    h(
      'div',
      { class: 'columns' },
      card(
        'Tunnel streams',
        factList([
          ['Opened, refused', streams(({ opened, refused }) => `${count(opened)}, ${count(refused)}`)],
          [
            'Received',
            streams(
              ({ receivedBytes, receivedDatagrams }) =>
                `${bytes(receivedBytes)} in ${count(receivedDatagrams)} datagrams`,
            ),
          ],
          [
            'Sent',
            streams(
              ({ sentBytes, sentDatagrams }) => `${bytes(sentBytes)} in ${count(sentDatagrams)} datagrams`,
            ),
          ],
          ['Dropped', streams((view) => counts(view.drops))],
          ['Ended', streams((view) => counts(view.ends))],
        ]),
      ),
    ),
  );
  return { title: 'Data path', element, update: () => live.update() };
}

/** @type {Readonly<Record<string, string>>} */
const TUN_WORDS = { tcp_and_udp: 'TCP and UDP in batches', tcp: 'TCP in batches', plain: 'packet by packet' };

/**
 * @param {string} label
 * @param {Node} value
 * @param {string} note
 * @returns {HTMLElement}
 */
function way(label, value, note) {
  return h(
    'div',
    {},
    h('span', { class: 'label' }, label),
    h('strong', {}, value),
    h('span', { class: 'quiet' }, note),
  );
}

/** @param {State} state */
function udpPeers({ machines }) {
  let found = 0;
  for (const { view } of machines.values()) if (view.transport === 'udp') found++;
  return found;
}

/**
 * @param {string} label
 * @param {Node} value
 * @param {Node | string} note
 * @returns {HTMLElement}
 */
function node(label, value, note) {
  return h(
    'li',
    {},
    h('span', { class: 'label' }, label),
    h('strong', {}, value),
    h('span', { class: 'quiet' }, note),
  );
}

/**
 * @param {Live} live
 * @param {State} state
 * @returns {HTMLElement[]}
 */
function loads(live, state) {
  const threads = (state.datapath?.device.threads ?? []).map(({ name }) =>
    gauge(
      live,
      name === 'main' ? 'Main thread' : words(name),
      () => state.loads.get(name) ?? 0,
      (share) => `${Math.round(share * 100)} %`,
    ),
  );
  const queues = (state.datapath?.device.queues ?? []).map(({ name }) => {
    const queue = () => state.datapath?.device.queues.find((each) => each.name === name);
    return gauge(
      live,
      `Queue of ${name}s`,
      () => (queue()?.depth ?? 0) / (queue()?.capacity ?? 1),
      () => `${count(queue()?.depth ?? 0)} of ${count(queue()?.capacity ?? 0)}`,
    );
  });
  return [...threads, ...queues];
}

/**
 * @param {Live} live
 * @param {string} label
 * @param {() => number} read
 * @param {(share: number) => string} text
 * @returns {HTMLElement}
 */
function gauge(live, label, read, text) {
  return h(
    'div',
    { class: 'gauge' },
    h('span', {}, label),
    meter(live, label, read),
    h(
      'span',
      { class: 'number' },
      live.text(() => text(read())),
    ),
  );
}

/**
 * @param {State} state
 * @param {'in' | 'out'} direction
 */
function key({ datapath }, direction) {
  return datapath?.device.drops.map((drop) => (drop.direction === direction ? drop.packets : 0)).join() ?? '';
}

/**
 * @param {State} state
 * @param {'in' | 'out'} direction
 * @returns {Node[]}
 */
function drops({ datapath }, direction) {
  const all = (datapath?.device.drops ?? []).filter((drop) => drop.direction === direction);
  const happened = all.filter(({ packets }) => packets > 0).toSorted((a, b) => b.packets - a.packets);
  if (happened.length === 0) return [h('p', { class: 'quiet' }, 'None since the start.')];
  return [
    h(
      'ul',
      { class: 'rows' },
      ...happened.map(({ reason, packets }) =>
        h('li', {}, h('span', {}, words(reason)), h('span', { class: 'number' }, count(packets))),
      ),
    ),
  ];
}

/** @param {Readonly<Record<string, number>>} values */
function counts(values) {
  const parts = Object.entries(values).filter(([, value]) => value > 0);
  return parts.length === 0
    ? 'none'
    : parts.map(([name, value]) => `${count(value)} ${words(name)}`).join(', ');
}
