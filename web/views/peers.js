/** All peers of a device. */
import { handshakeColumn, listView, nameColumn, stateColumn, textOf, TRAFFIC_COLUMN } from '../list.js';
import { peerName, peerPath, peerText, peerTone } from '../parts.js';
import { bytes, short } from '../format.js';

/** @import { PeerView } from '../../src/app/api/device-views.ts' */
/** @import { Context, View } from '../parts.js' */
/** @import { Row } from '../state.js' */
/** @import { Column } from '../grid.js' */

/**
 * @param {Context} context
 * @returns {View}
 */
export function peers(context) {
  /** @type {readonly Column<Row<PeerView>>[]} */
  const columns = [
    nameColumn('Peer', {
      path: ({ view }) => peerPath(view),
      name: ({ view }) => peerName(view),
      hover: ({ view }) => view.publicKey,
      // A key without a name is its name already.
      note: ({ view }) => (view.name === null ? '' : short(view.publicKey)),
      isMono: ({ view }) => view.name === null,
    }),
    stateColumn(
      ({ view }) => peerText(view),
      ({ view }) => peerTone(view),
    ),
    handshakeColumn(context.state),
    {
      title: 'Endpoint',
      compare: (a, b) => (a.view.endpoint ?? '').localeCompare(b.view.endpoint ?? ''),
      make: textOf(({ view }) => view.endpoint ?? '–'),
    },
    { title: 'Allowed IPs', make: textOf(({ view }) => view.allowedIps.join(', ') || '–') },
    TRAFFIC_COLUMN,
    {
      title: 'Total',
      isRight: true,
      compare: (a, b) => total(b) - total(a),
      make: textOf((row) => bytes(total(row))),
    },
  ];
  return listView(context, {
    title: 'Peers',
    nouns: ['peer', 'peers'],
    placeholder: 'Search name, key, endpoint, allowed IP',
    filters: [
      ['active', 'Active'],
      ['stale', 'Stale'],
      ['never', 'Never'],
    ],
    columns,
    path: ({ view }) => peerPath(view),
    texts: ({ view }) => [view.name ?? '', view.endpoint ?? '', ...view.allowedIps, view.publicKey],
  });
}

/** @param {Row<PeerView>} row */
function total({ view }) {
  return view.rxBytes + view.txBytes;
}
