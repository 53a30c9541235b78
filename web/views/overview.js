/** Whether a gateway works, at a glance. */
import { call } from '../api.js';
import { busiestCard, rateTiles, tile, trafficAndDrops } from '../cards.js';
import { showJoin } from '../dialogs.js';
import { h, Live } from '../dom.js';
import { count, duration, short } from '../format.js';
import { card, factList, labelText, machinePath, stateText, stateTone, titleBar } from '../parts.js';

/** @import { Context, View } from '../parts.js' */
/** @import { State } from '../state.js' */

/**
 * @param {Context} context
 * @returns {View}
 */
export function overview({ state, act }) {
  const live = new Live();
  const join = () => act(async () => showJoin(await call('GET', '/join')));
  const element = h(
    'div',
    { class: 'view' },
    titleBar(
      ['Overview'],
      live.text(() => subtitle(state)),
      h('button', { class: 'button primary', onclick: join }, 'Join a machine'),
    ),
    h(
      'div',
      { class: 'tiles' },
      tile(
        'Connected',
        live.text(() => count(state.countOf('connected'))),
        live.text(() => `of ${count(state.machines.size)} machines`),
        '#/machines',
      ),
      tile(
        'Waiting',
        live.text(() => count(state.countOf('pending'))),
        'to be let in',
        '#/waiting',
      ),
      ...rateTiles(live, state, 'machines'),
    ),
    trafficAndDrops(live, state, 'machines'),
    h(
      'div',
      { class: 'columns' },
      busiestCard(live, state, {
        title: 'Busiest machines',
        all: 'All machines',
        href: '#/machines',
        nobody: 'No machine has joined yet. “Join a machine” says how.',
        shown: {
          isConnected: ({ view }) => view.state === 'connected',
          path: ({ view }) => machinePath(view),
          name: ({ view }) => short(view.id),
          note: ({ view }) => labelText(view),
          isMono: () => true,
          text: ({ view }) => stateText(view),
          tone: ({ view }) => stateTone(view),
        },
      }),
      card('Gateway', gatewayFacts(live, state)),
    ),
  );
  return { title: 'Overview', element, update: () => live.update() };
}

/** @param {State} state */
function subtitle(state) {
  const { status, datapath } = state;
  if (!status || !datapath) return '';
  const up = datapath.device.isUp ? 'is up' : 'is down';
  return `${status.interface} ${up}, running for ${duration(state.now - Date.parse(status.started))}`;
}

/**
 * @param {Live} live
 * @param {State} state
 */
function gatewayFacts(live, state) {
  const text = (/** @type {(status: NonNullable<State['gateway']>) => string} */ read) =>
    live.text(() => (state.gateway ? read(state.gateway) : ''));
  return factList([
    ['Overlay address', text(({ address }) => address)],
    ['API', text(({ apiUrl }) => apiUrl)],
    ['WireGuard', text(({ wireGuardEndpoints }) => wireGuardEndpoints.join(', '))],
    ['New machines', text(({ accept }) => (accept === 'auto' ? 'join at once' : 'wait to be let in'))],
    ['Tunnel streams', text(({ streams }) => count(streams))],
    ['Version', text(({ version }) => version)],
  ]);
}
