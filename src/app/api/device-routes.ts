/** What can be asked about a device, as routes. Nothing changes it: that is what `wg` and the UAPI are for. */
import { AppError } from '../../core/errors.ts';
import type { Input } from '../gateway/admin-operations.ts';
import type { DatapathView } from './datapath-view.ts';
import { type DeviceStatusView, PEER_STATES, type PeerView } from './device-views.ts';
import type { LiveFeed } from './live-feed.ts';
import { queryPage, type Route } from './route.ts';

export interface DeviceApi {
  readonly status: (peers?: readonly PeerView[]) => DeviceStatusView;
  readonly peers: () => readonly PeerView[];
  readonly datapath: () => DatapathView;
  readonly feed: LiveFeed<PeerView>;
}

export function deviceRoutes({ status, peers, datapath, feed }: DeviceApi): readonly Route[] {
  return [
    { kind: 'json', id: 'getStatus', method: 'GET', path: '/status', answer: () => status() },
    { kind: 'json', id: 'getDatapath', method: 'GET', path: '/datapath', answer: () => datapath() },
    { kind: 'stream', id: 'watch', method: 'GET', path: '/live', open: (_call, stream) => feed.open(stream) },
    {
      kind: 'json',
      id: 'listPeers',
      method: 'GET',
      path: '/peers',
      query: ['state', 'search', 'offset', 'limit'],
      answer: ({ query }) => listPeers(peers(), query),
    },
    {
      kind: 'json',
      id: 'showPeer',
      method: 'GET',
      path: '/peers/{peer}',
      answer: ({ path }) => findPeer(peers(), path.text('peer')),
    },
  ];
}

/** One page of the peers that match. */
export interface PeersView {
  readonly peers: readonly PeerView[];
  /** How many match in all. */
  readonly total: number;
}

function listPeers(all: readonly PeerView[], query: Input): PeersView {
  const state = query.optionalText('state') === undefined ? undefined : query.choice('state', PEER_STATES);
  const search = query.optionalText('search') ?? '';
  const matching = all.filter(
    (view) => (state === undefined || view.state === state) && isFound(view, search),
  );
  return { peers: queryPage(query, matching), total: matching.length };
}

/** Keys differ by case, too. */
function isFound({ publicKey, name, endpoint, allowedIps }: PeerView, search: string): boolean {
  const lower = search.toLowerCase();
  return (
    publicKey.includes(search) ||
    [name ?? '', endpoint ?? '', ...allowedIps].some((text) => text.toLowerCase().includes(lower))
  );
}

/** By public key or name. Throws AppError `not_found`, or `usage` when several have the name. */
function findPeer(all: readonly PeerView[], text: string): PeerView {
  const [found, ...others] = all.filter(({ publicKey, name }) => publicKey === text || name === text);
  if (!found) {
    throw new AppError('not_found', `no peer has the public key or name ${JSON.stringify(text)}`, {
      hint: 'GET /api/v1/peers lists all',
    });
  }
  if (others.length > 0) {
    throw new AppError('usage', `${others.length + 1} peers have the name ${JSON.stringify(text)}`, {
      hint: 'name one by its public key',
    });
  }
  return found;
}
