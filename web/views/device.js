/** Whether a device works, at a glance. */
import { busiestCard, rateTiles, tile, trafficAndDrops } from '../cards.js';
import { h, Live } from '../dom.js';
import { count, date, duration } from '../format.js';
import { card, factList, peerName, peerPath, peerText, peerTone, titleBar } from '../parts.js';

/** @import { Context, View } from '../parts.js' */
/** @import { State } from '../state.js' */

/**
 * @param {Context} context
 * @returns {View}
 */
export function device({ state }) {
  const live = new Live();
  const badge = h('span', { class: 'badge' });
  live.each(() => {
    const isUp = state.device?.isUp ?? false;
    badge.className = `badge ${isUp ? 'good' : 'warn'}`;
    badge.textContent = isUp ? 'Up' : 'Down';
  });
  const element = h(
    'div',
    { class: 'view' },
    titleBar(
      [live.text(() => state.device?.interface ?? ''), ' ', badge],
      live.text(() => subtitle(state)),
    ),
    h(
      'div',
      { class: 'tiles' },
      tile(
        'Active',
        live.text(() => count(state.countOf('active'))),
        live.text(() => `of ${count(state.peers.size)} ${state.peers.size === 1 ? 'peer' : 'peers'}`),
        '#/peers',
      ),
      tile(
        'Stale',
        live.text(() => count(state.countOf('stale'))),
        'older than 180 s',
        '#/peers',
      ),
      ...rateTiles(live, state, 'peers'),
    ),
    trafficAndDrops(live, state, 'peers'),
    h(
      'div',
      { class: 'columns' },
      busiestCard(live, state, {
        title: 'Busiest peers',
        all: 'All peers',
        href: '#/peers',
        nobody: 'The device has no peers yet: “wg set” and “culvert up” give it some.',
        shown: {
          isConnected: ({ view }) => view.state === 'active',
          path: ({ view }) => peerPath(view),
          name: ({ view }) => peerName(view),
          note: ({ view }) => view.allowedIps.join(', '),
          isMono: ({ view }) => view.name === null,
          text: ({ view }) => peerText(view),
          tone: ({ view }) => peerTone(view),
        },
      }),
      card('Device', deviceFacts(live, state)),
    ),
  );
  return {
    get title() {
      return state.device?.interface ?? 'Device';
    },
    element,
    update: () => live.update(),
  };
}

/** @param {State} state */
function subtitle(state) {
  const status = state.device;
  return status ? `WireGuard device, running for ${duration(state.now - Date.parse(status.started))}` : '';
}

/** @type {Readonly<Record<string, string>>} */
const LANES = { worker: 'on a thread of their own', inline: 'on the main thread' };

/**
 * @param {Live} live
 * @param {State} state
 */
function deviceFacts(live, state) {
  const text = (/** @type {(status: NonNullable<State['device']>) => string} */ read) =>
    live.text(() => (state.device ? read(state.device) : ''));
  const engine = (/** @type {(view: NonNullable<State['datapath']>['device']) => string} */ read) =>
    live.text(() => (state.datapath ? read(state.datapath.device) : ''));
  const mono = (/** @type {Node} */ node) => h('span', { class: 'mono' }, node);
  return factList([
    ['Public key', mono(text(({ publicKey }) => publicKey ?? 'none: it has no private key'))],
    ['Listen port', text(({ listenPort }) => (listenPort === 0 ? '–' : String(listenPort)))],
    ['MTU', text(({ mtu }) => String(mtu))],
    ['Packets are moved', engine(({ lanes }) => LANES[lanes] ?? lanes)],
    ['Cipher', engine(({ backends }) => backends.transport ?? 'choosing …')],
    ['Version', text(({ version }) => version)],
    ['Since', text(({ started }) => `${date(started)} UTC`)],
  ]);
}
