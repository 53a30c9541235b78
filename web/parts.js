/** What several views show. */
import { h, svg } from './dom.js';
import { duration, short } from './format.js';

/** @import { Live } from './dom.js' */
/** @import { MachineView } from '../src/app/gateway/admin-views.ts' */
/** @import { PeerView } from '../src/app/api/device-views.ts' */
/** @import { State } from './state.js' */

/**
 * @typedef {object} View
 * @property {string} title
 * @property {HTMLElement} element
 * @property {() => void} update brings it up to date
 * @property {() => void} [end]
 */

/**
 * @typedef {object} Context
 * @property {State} state
 * @property {(action: () => Promise<void>) => Promise<boolean>} act runs it and says what went wrong
 */

const STATE_WORDS = {
  connected: 'Connected',
  down: 'Down',
  pending: 'Waiting',
  removing: 'Leaving',
  unknown: 'Unknown',
};
const TRANSPORT_WORDS = { udp: 'UDP', grpc: 'gRPC' };

/** What a machine's badge says. @param {MachineView} view */
export function stateText({ state, transport }) {
  if (state === 'connected' && transport !== null) return TRANSPORT_WORDS[transport];
  return STATE_WORDS[state];
}

/** Its colour. @param {MachineView} view */
export function stateTone({ state, transport }) {
  if (state === 'connected') return transport === 'grpc' ? 'grpc' : 'good';
  return state === 'pending' ? 'warn' : 'quiet';
}

/** @param {MachineView} view */
export function machinePath({ id, publicKey, state }) {
  return `#/machines/${encodeURIComponent(state === 'pending' ? publicKey : id)}`;
}

const PEER_WORDS = { active: 'Active', stale: 'Stale', never: 'Never' };

/** What a peer's badge says. @param {PeerView} view */
export function peerText({ state, transport }) {
  return state === 'active' && transport !== null ? TRANSPORT_WORDS[transport] : PEER_WORDS[state];
}

/** Its colour. @param {PeerView} view */
export function peerTone({ state, transport }) {
  if (state === 'active') return transport === 'grpc' ? 'grpc' : 'good';
  return state === 'stale' ? 'warn' : 'quiet';
}

/** @param {PeerView} view */
export function peerName({ name, publicKey }) {
  return name ?? short(publicKey);
}

/** @param {PeerView} view */
export function peerPath({ publicKey }) {
  return `#/peers/${encodeURIComponent(publicKey)}`;
}

/** While a session lives, a handshake is younger than 180 s. */
const SESSION_MS = 180_000;

/**
 * @param {{ lastHandshake: string | null }} view
 * @param {State} state
 * @returns {{ text: string, tone: string }}
 */
export function handshakeAge({ lastHandshake }, state) {
  if (lastHandshake === null) return { text: '–', tone: 'quiet' };
  const age = state.now - Date.parse(lastHandshake);
  return { text: duration(age), tone: age < SESSION_MS ? 'good' : age < 275_000 ? 'warn' : 'quiet' };
}

/** Labels of a machine on one line. @param {MachineView} view */
export function labelText({ labels }) {
  return Object.entries(labels)
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join('  ');
}

export const PENDING_WORDS = {
  approval: 'new here: somebody has to let it in',
  no_unique_token: 'has no identity of its own',
  uuid_conflict: 'its UUID belongs to another machine',
};

/**
 * A card with a heading.
 * @param {string} title
 * @param {...(Node | string | null | false)} children
 * @returns {HTMLElement}
 */
export function card(title, ...children) {
  return h('section', { class: 'card' }, h('h2', {}, title), ...children);
}

/**
 * The head of a view: its heading, a line below it, and what can be done.
 * @param {readonly (Node | string)[]} heading
 * @param {Node | string} note
 * @param {...Node} actions
 * @returns {HTMLElement}
 */
export function titleBar(heading, note, ...actions) {
  return h(
    'div',
    { class: 'title' },
    h('div', {}, h('h1', {}, ...heading), h('p', { class: 'quiet' }, note)),
    ...actions,
  );
}

/**
 * Names and values.
 * @param {readonly (readonly [string, Node | string])[]} facts
 * @returns {HTMLElement}
 */
export function factList(facts) {
  return h(
    'dl',
    { class: 'facts' },
    ...facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}

/**
 * A bar from 0 to 1 that follows the state.
 * @param {Live} live
 * @param {string} label
 * @param {() => number} read
 * @returns {HTMLElement}
 */
export function meter(live, label, read) {
  const bar = h('div', { class: 'bar' });
  const element = h(
    'div',
    { class: 'meter', role: 'meter', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 },
    bar,
  );
  live.each(() => {
    const share = Math.max(0, Math.min(1, read()));
    bar.style.setProperty('transform', `scaleX(${share.toFixed(3)})`);
    element.setAttribute('aria-valuenow', String(Math.round(share * 100)));
    element.classList.toggle('high', share > 0.8);
  });
  return element;
}

/**
 * @param {string} path of a 24 by 24 drawing
 * @returns {SVGElement}
 */
export function icon(path) {
  return svg('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, svg('path', { d: path }));
}

export const ICONS = {
  light:
    'M12 4V2M12 22v-2M4 12H2M22 12h-2M6.3 6.3 4.9 4.9M19.1 19.1l-1.4-1.4M6.3 17.7l-1.4 1.4M19.1 4.9l-1.4 1.4M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z',
  out: 'M9 4H5v16h4M15 8l4 4-4 4M19 12H9',
};
