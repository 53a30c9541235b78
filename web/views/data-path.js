/** A map of the data path: from the interface through lane and cipher to the network, and back. */
import {
  backendFacts,
  handshakeFacts,
  of,
  OFFLOAD_WORDS,
  streamFacts,
  TUN_WORDS,
} from '../data-path-facts.js';
import { h, Live } from '../dom.js';
import { bitRate, count, words } from '../format.js';
import { card, titleBar } from '../parts.js';
import { dropped, loadGauge, queueGauge, stage } from '../stage.js';

/** @import { Context, View } from '../parts.js' */
/** @import { DeviceView } from '../../src/app/api/datapath-view.ts' */
/** @import { State } from '../state.js' */

/** Where reasons for dropping belong; what is not here is the lane's. */
const BEFORE_OPENING = new Set([
  ...['too_short', 'unknown_type', 'unknown_index', 'expired_keypair', 'counter_too_large'],
  ...['bad_tag', 'replayed'],
]);
const HANDSHAKES = new Set([
  ...['bad_mac1', 'no_cookie', 'rate_limited', 'handshake_queue_full', 'unknown_peer', 'bad_handshake'],
  ...['replayed_timestamp', 'initiation_flood', 'bad_cookie_reply'],
]);

/**
 * @param {Context} context
 * @returns {View}
 */
export function dataPath({ state }) {
  const live = new Live();
  const element = h(
    'div',
    { class: 'view' },
    titleBar(
      ['Data path'],
      'The way of a packet: what waits where, who is busy, what is lost since the start.',
    ),
    h(
      'div',
      { class: 'map' },
      h('h2', {}, 'Sending'),
      h('ol', { class: 'flow', 'aria-label': 'From the interface to the network' }, ...sending(live, state)),
      h('h2', {}, 'Receiving'),
      h(
        'ol',
        { class: 'flow back', 'aria-label': 'From the network to the interface' },
        ...receiving(live, state),
      ),
    ),
    h(
      'div',
      { class: 'columns' },
      card(
        'Main thread and handshakes',
        h(
          'div',
          { class: 'gauges' },
          loadGauge(live, state, 'main'),
          queueGauge(live, state, 'handshake_in_flight'),
          queueGauge(live, state, 'handshake'),
        ),
        live.children(
          h('ul', { class: 'drops' }),
          () => handshakeDrops(state).join(),
          () => handshakeDrops(state).map((text) => h('li', {}, text)),
        ),
        handshakeFacts(live, state),
      ),
      card('Who does what', backendFacts(live, state)),
      live.attribute(
        card('Tunnel streams', streamFacts(live, state)),
        'hidden',
        () => !state.datapath?.streams,
      ),
    ),
  );
  return { title: 'Data path', element, update: () => live.update() };
}

/**
 * @param {Live} live
 * @param {State} state
 * @returns {HTMLElement[]}
 */
function sending(live, state) {
  const outbound = (/** @type {string} */ reason) =>
    state.datapath?.device.drops.find((drop) => drop.reason === reason)?.direction === 'out';
  return [
    stage(live, state, {
      label: 'Interface',
      value: () => of(state, ({ interface: name }) => name),
      note: () => of(state, ({ tun, isUp }) => `${isUp ? 'up' : 'down'}, ${TUN_WORDS[tun] ?? words(tun)}`),
      queues: ['tun'],
      drops: (reason) => reason === 'malformed_read',
    }),
    stage(live, state, {
      label: 'Outbound lane',
      value: () => bitRate(state.tx.last),
      note: () => 'allowed IPs, session, nonce',
      queues: ['staged'],
      hasLanes: true,
      drops: (reason) => outbound(reason) && reason !== 'malformed_read',
    }),
    cipherStage(live, state, 'Seal', () => false),
    exits(
      stage(live, state, {
        label: 'UDP',
        value: () => udpRows(state),
        note: () => of(state, ({ offloads }) => `joined by GSO: ${OFFLOAD_WORDS[offloads.gso]}`),
        queues: ['udp4_out', 'udp6_out'],
        lost: () => unsent(state),
      }),
      stage(live, state, {
        label: 'gRPC',
        value: () => openStreams(state),
        note: () => 'WireGuard inside gRPC',
        queues: ['streams_out'],
        isThere: () => hasStreams(state),
      }),
    ),
  ];
}

/**
 * @param {Live} live
 * @param {State} state
 * @returns {HTMLElement[]}
 */
function receiving(live, state) {
  const inbound = (/** @type {string} */ reason) =>
    state.datapath?.device.drops.find((drop) => drop.reason === reason)?.direction === 'in';
  return [
    exits(
      stage(live, state, {
        label: 'UDP',
        value: () => udpRows(state),
        note: () => of(state, ({ offloads }) => `joined by GRO: ${OFFLOAD_WORDS[offloads.gro]}`),
        queues: ['udp4_in', 'udp6_in'],
      }),
      stage(live, state, {
        label: 'gRPC',
        value: () => openStreams(state),
        note: () => 'WireGuard inside gRPC',
        queues: ['streams_in'],
        isThere: () => hasStreams(state),
      }),
    ),
    cipherStage(live, state, 'Open', (reason) => BEFORE_OPENING.has(reason)),
    stage(live, state, {
      label: 'Inbound lane',
      value: () => bitRate(state.rx.last),
      note: () => 'replay window, inner source, ECN',
      hasLanes: true,
      drops: (reason) =>
        inbound(reason) && !BEFORE_OPENING.has(reason) && !HANDSHAKES.has(reason) && reason !== 'tun_refused',
    }),
    stage(live, state, {
      label: 'Interface',
      value: () => of(state, ({ interface: name }) => name),
      note: () => of(state, ({ tun }) => TUN_WORDS[tun] ?? words(tun)),
      drops: (reason) => reason === 'tun_refused',
    }),
  ];
}

/**
 * @param {Live} live
 * @param {State} state
 * @param {string} label
 * @param {(reason: string) => boolean} drops
 * @returns {HTMLElement}
 */
function cipherStage(live, state, label, drops) {
  return stage(live, state, {
    label,
    value: () => of(state, ({ backends }) => backends.transport ?? 'choosing …'),
    note: () => of(state, ({ backends }) => bySize(backends)),
    drops,
  });
}

/** @param {DeviceView['backends']} backends */
function bySize({ transportBySize }) {
  const [first, second] = transportBySize;
  return first?.longest && second
    ? `${first.backend} up to ${count(first.longest)} bytes, then ${second.backend}`
    : 'ChaCha20-Poly1305, packets of any size';
}

/**
 * Both ways to the network in one place.
 * @param {...HTMLElement} ways
 * @returns {HTMLElement}
 */
function exits(...ways) {
  return h('li', { class: 'fork' }, h('ul', {}, ...ways));
}

/** @param {State} state */
function hasStreams({ datapath }) {
  return (
    (datapath?.streams ?? null) !== null ||
    (datapath?.device.queues ?? []).some(({ name }) => name === 'streams_in')
  );
}

/** How many speak UDP now. @param {State} state */
function udpRows({ rows, device }) {
  let found = 0;
  for (const { view } of rows.values())
    if (view.transport === 'udp' && view.state !== 'stale' && view.state !== 'never') found++;
  return `${count(found)} active ${device ? 'peer' : 'machine'}${found === 1 ? '' : 's'}`;
}

/** @param {State} state */
function openStreams({ datapath }) {
  const open = datapath?.streams?.open;
  return open === undefined ? 'streams' : `${count(open)} open ${open === 1 ? 'stream' : 'streams'}`;
}

/** @param {State} state */
function unsent({ datapath }) {
  return Object.entries(datapath?.device.sendErrors ?? {})
    .filter(([, datagrams]) => datagrams > 0)
    .map(([cause, datagrams]) => `${count(datagrams)} ${UNSENT_WORDS[cause] ?? words(cause)}`);
}

/** @type {Readonly<Record<string, string>>} */
const UNSENT_WORDS = {
  full: 'not sent: full',
  tooLarge: 'not sent: too large for the path',
  unreachable: 'not sent: unreachable',
  other: 'not sent: refused, by a firewall for instance',
};

/** @param {State} state */
function handshakeDrops(state) {
  return dropped(state, (reason) => HANDSHAKES.has(reason));
}
