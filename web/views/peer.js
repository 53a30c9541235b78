/** One peer: what is known of it, and what it does. */
import { totals, trafficCard } from '../cards.js';
import { h, Live } from '../dom.js';
import { bytes } from '../format.js';
import { card, factList, handshakeAge, peerName, peerText, peerTone, titleBar } from '../parts.js';

/** @import { PeerView } from '../../src/app/api/device-views.ts' */
/** @import { Context, View } from '../parts.js' */

const TRANSPORTS = { udp: 'UDP', grpc: 'a gRPC stream' };

/**
 * @param {Context} context
 * @param {string} key
 * @returns {View}
 */
export function peer({ state }, key) {
  const live = new Live();
  const found = () => state.peers.get(key);
  const read = (/** @type {(view: PeerView) => string} */ text) =>
    live.text(() => {
      const view = found()?.view;
      return view ? text(view) : '–';
    });
  const mono = (/** @type {Node} */ node) => h('span', { class: 'mono' }, node);
  const badge = h('span', { class: 'badge' });
  const age = h('span', {});
  live.each(() => {
    const view = found()?.view;
    badge.className = `badge ${view ? peerTone(view) : 'quiet'}`;
    badge.textContent = view ? peerText(view) : 'Gone';
    const { text, tone } = handshakeAge(view ?? { lastHandshake: null }, state);
    age.className = `age ${tone}`;
    age.textContent = view?.lastHandshake ? `${text} ago` : 'never';
  });
  const element = h(
    'div',
    { class: 'view' },
    h('p', { class: 'crumbs' }, h('a', { href: '#/peers' }, 'Peers')),
    titleBar([read(peerName), ' ', badge], h('span', { class: 'mono wrap' }, key)),
    h(
      'div',
      { class: 'columns' },
      card(
        'Facts',
        factList([
          ['Reached through', read(({ transport }) => (transport === null ? '–' : TRANSPORTS[transport]))],
          ['Endpoint', mono(read(({ endpoint }) => endpoint ?? 'not known: it has to call'))],
          [
            'Allowed IPs',
            live.children(
              h('ul', { class: 'mono' }),
              () => found()?.view.allowedIps.join() ?? '',
              () => (found()?.view.allowedIps ?? []).map((prefix) => h('li', {}, prefix)),
            ),
          ],
          ['Last handshake', age],
          ['Received', read(({ rxBytes }) => bytes(rxBytes))],
          ['Sent', read(({ txBytes }) => bytes(txBytes))],
          [
            'Persistent keepalive',
            read(({ persistentKeepalive }) =>
              persistentKeepalive === 0 ? 'off' : `every ${persistentKeepalive} s`,
            ),
          ],
          ['Preshared key', read(({ hasPresharedKey }) => (hasPresharedKey ? 'yes' : 'no'))],
        ]),
      ),
      trafficCard(live, 'Traffic of this peer in the last two minutes', found, () => {
        const view = found()?.view;
        return view ? `Since it was added: ${totals(view)}` : '';
      }),
    ),
  );
  return {
    title: found() ? peerName(/** @type {any} */ (found()).view) : 'Peer',
    element,
    update: () => live.update(),
  };
}
