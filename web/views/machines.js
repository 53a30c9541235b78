/** All machines of a gateway. */
import { short } from '../format.js';
import { handshakeColumn, listView, nameColumn, stateColumn, textOf, TRAFFIC_COLUMN } from '../list.js';
import { labelText, machinePath, stateText, stateTone } from '../parts.js';

/** @import { MachineView } from '../../src/app/gateway/admin-views.ts' */
/** @import { Context, View } from '../parts.js' */
/** @import { Row } from '../state.js' */
/** @import { Column } from '../grid.js' */

/**
 * @param {Context} context
 * @returns {View}
 */
export function machines(context) {
  /** @type {readonly Column<Row<MachineView>>[]} */
  const columns = [
    nameColumn('Machine', {
      path: ({ view }) => machinePath(view),
      name: ({ view }) => short(view.id),
      hover: ({ view }) => view.id,
      note: ({ view }) => labelText(view),
      isMono: () => true,
    }),
    stateColumn(
      ({ view }) => stateText(view),
      ({ view }) => stateTone(view),
    ),
    handshakeColumn(context.state),
    {
      title: 'Endpoint',
      compare: (a, b) => (a.view.endpoint ?? '').localeCompare(b.view.endpoint ?? ''),
      make: textOf(({ view }) => view.endpoint ?? '–'),
    },
    { title: 'Overlay address', make: textOf(({ view }) => view.address) },
    TRAFFIC_COLUMN,
    {
      title: 'Version',
      compare: (a, b) => a.view.talosVersion.localeCompare(b.view.talosVersion, undefined, { numeric: true }),
      make: textOf(({ view }) => view.talosVersion || '–'),
    },
  ];
  return listView(context, {
    title: 'Machines',
    nouns: ['machine', 'machines'],
    placeholder: 'Search id, address, endpoint, label, version',
    filters: [
      ['connected', 'Connected'],
      ['down', 'Down'],
      ['pending', 'Waiting'],
    ],
    columns,
    path: ({ view }) => machinePath(view),
    texts: ({ view }) => [
      view.id,
      view.address,
      view.publicKey,
      view.endpoint ?? '',
      view.talosVersion,
      labelText(view),
    ],
  });
}
