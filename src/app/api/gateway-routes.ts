/** The operations of a gateway as routes. They call the same Admin as the unix socket does. */
import { encodeQR } from 'qr';
import { usageError } from '../../core/errors.ts';
import type { EntryKind } from '../../link/journal.ts';
import type { Admin } from '../gateway/admin.ts';
import { type AdminOperation, type Input, MAX_ENTRIES, runOperation } from '../gateway/admin-operations.ts';
import { ENTRY_KINDS, followEntries } from '../gateway/entry-feed.ts';
import { MACHINE_STATES, type MachineState, type MachineView } from '../gateway/admin-views.ts';
import type { DatapathView } from './datapath-view.ts';
import type { LiveFeed } from './live-feed.ts';
import { queryFlag, queryNumber, queryPage, type Route } from './route.ts';

export interface GatewayApi {
  readonly admin: Admin;
  readonly datapath: () => DatapathView;
  readonly feed: LiveFeed<MachineView>;
}

const DEFAULT_ENTRIES = 100;

export function gatewayRoutes({ admin, datapath, feed }: GatewayApi): readonly Route[] {
  const run = (name: AdminOperation, input: object) => runOperation(admin, name, input);
  const machineOf = (path: Input) => ({ machine: path.text('machine') });
  const nameOf = (path: Input) => ({ name: path.text('name') });
  return [
    { kind: 'json', id: 'getStatus', method: 'GET', path: '/status', answer: () => run('status', {}) },
    { kind: 'json', id: 'getDatapath', method: 'GET', path: '/datapath', answer: () => datapath() },
    { kind: 'stream', id: 'watch', method: 'GET', path: '/live', open: (_call, stream) => feed.open(stream) },
    {
      kind: 'json',
      id: 'listMachines',
      method: 'GET',
      path: '/machines',
      query: ['state', 'search', 'offset', 'limit'],
      answer: ({ query }) => listMachines(admin.machines(), query),
    },
    {
      kind: 'json',
      id: 'showMachine',
      method: 'GET',
      path: '/machines/{machine}',
      answer: ({ path }) => run('machines.show', machineOf(path)),
    },
    {
      kind: 'json',
      id: 'removeMachine',
      method: 'DELETE',
      path: '/machines/{machine}',
      answer: ({ path }) => run('machines.remove', machineOf(path)),
    },
    {
      kind: 'json',
      id: 'acceptMachine',
      method: 'POST',
      path: '/machines/{machine}/accept',
      answer: async ({ path }) => ({ machine: await run('machines.accept', machineOf(path)) }),
    },
    {
      kind: 'json',
      id: 'denyMachine',
      method: 'POST',
      path: '/machines/{machine}/deny',
      answer: ({ path }) => run('machines.deny', machineOf(path)),
    },
    {
      kind: 'json',
      id: 'setTunnel',
      method: 'PUT',
      path: '/machines/{machine}/tunnel',
      body: ['tunnel'],
      answer: ({ path, body }) => run('machines.tunnel', { ...machineOf(path), tunnel: body.text('tunnel') }),
    },
    {
      kind: 'json',
      id: 'resetUniqueToken',
      method: 'POST',
      path: '/machines/{machine}/reset-token',
      answer: ({ path }) => run('machines.reset-token', machineOf(path)),
    },
    {
      kind: 'json',
      id: 'listEntries',
      method: 'GET',
      path: '/machines/{machine}/entries',
      query: ['kind', 'count', 'after'],
      answer: ({ path, query }) => ({
        entries: admin.entries(
          path.text('machine'),
          query.choice('kind', ENTRY_KINDS),
          entryCount(query),
          entriesAfter(query),
        ),
      }),
    },
    {
      kind: 'stream',
      id: 'watchEntries',
      method: 'GET',
      path: '/machines/{machine}/entries/live',
      query: ['kind', 'count', 'after'],
      open: ({ path, query }, stream) => {
        const machine = path.text('machine');
        const kinds: readonly EntryKind[] =
          query.optionalText('kind') === undefined ? ENTRY_KINDS : [query.choice('kind', ENTRY_KINDS)];
        const [count, after] = [entryCount(query), entriesAfter(query)];
        // Said in words instead of as the end of a stream.
        admin.member(machine);
        const end = { now: () => {} };
        stream.start(() => end.now());
        end.now = followEntries({ admin, machine, kinds, count, after }, stream);
      },
    },
    {
      kind: 'json',
      id: 'listPending',
      method: 'GET',
      path: '/pending',
      answer: () => ({ machines: admin.machines().filter(({ state }) => state === 'pending') }),
    },
    {
      kind: 'json',
      id: 'listDenied',
      method: 'GET',
      path: '/denied',
      answer: () => ({ denied: admin.denied() }),
    },
    {
      kind: 'json',
      id: 'listTokens',
      method: 'GET',
      path: '/tokens',
      answer: async () => ({ tokens: await run('tokens.list', {}) }),
    },
    {
      kind: 'json',
      id: 'createToken',
      method: 'POST',
      path: '/tokens',
      status: 201,
      body: ['name', 'description', 'expires', 'useLimit', 'isDefault'],
      answer: ({ body }) =>
        run('tokens.create', {
          name: body.text('name'),
          description: body.optionalText('description'),
          expiresAtMs: expiry(body.optionalText('expires')),
          useLimit: body.optionalNumber('useLimit'),
          isDefault: body.optionalFlag('isDefault'),
        }),
    },
    {
      kind: 'json',
      id: 'removeToken',
      method: 'DELETE',
      path: '/tokens/{name}',
      status: 204,
      answer: ({ path }) => run('tokens.remove', nameOf(path)),
    },
    {
      kind: 'json',
      id: 'revokeToken',
      method: 'POST',
      path: '/tokens/{name}/revoke',
      answer: ({ path }) => run('tokens.revoke', { ...nameOf(path), isRevoked: true }),
    },
    {
      kind: 'json',
      id: 'restoreToken',
      method: 'POST',
      path: '/tokens/{name}/restore',
      answer: ({ path }) => run('tokens.revoke', { ...nameOf(path), isRevoked: false }),
    },
    {
      kind: 'json',
      id: 'setDefaultToken',
      method: 'POST',
      path: '/tokens/{name}/default',
      answer: ({ path }) => run('tokens.default', nameOf(path)),
    },
    {
      kind: 'json',
      id: 'getJoin',
      method: 'GET',
      path: '/join',
      query: ['name', 'tunnel'],
      answer: ({ query }) => joinOf(admin, query),
    },
    {
      kind: 'text',
      id: 'getJoinQr',
      method: 'GET',
      path: '/join/qr',
      query: ['name', 'tunnel'],
      contentType: 'image/svg+xml',
      answer: ({ query }) => encodeQR(joinOf(admin, query).joinUrl, 'svg'),
    },
  ];
}

function joinOf(admin: Admin, query: Input): ReturnType<Admin['join']> {
  return admin.join(query.optionalText('name'), queryFlag(query, 'tunnel'));
}

/** One page of the machines that match. */
export interface MachinesView {
  readonly machines: readonly MachineView[];
  /** How many match in all. */
  readonly total: number;
}

function listMachines(all: readonly MachineView[], query: Input): MachinesView {
  const state: MachineState | undefined =
    query.optionalText('state') === undefined ? undefined : query.choice('state', MACHINE_STATES);
  const search = query.optionalText('search')?.toLowerCase() ?? '';
  const matching = all.filter(
    (view) => (state === undefined || view.state === state) && isFound(view, search),
  );
  return { machines: queryPage(query, matching), total: matching.length };
}

/** `search` is in lower case. */
function isFound(view: MachineView, search: string): boolean {
  if (search === '') return true;
  const texts = [
    view.id,
    view.address,
    view.publicKey,
    view.endpoint ?? '',
    view.talosVersion,
    ...Object.entries(view.labels).map(([name, value]) => `${name}=${value}`),
  ];
  return texts.some((text) => text.toLowerCase().includes(search));
}

function entryCount(query: Input): number {
  return queryNumber(query, 'count', DEFAULT_ENTRIES, 0, MAX_ENTRIES);
}

function entriesAfter(query: Input): number | undefined {
  return query.optionalText('after') === undefined
    ? undefined
    : queryNumber(query, 'after', 0, 0, Number.MAX_SAFE_INTEGER);
}

function expiry(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const atMs = Date.parse(text);
  if (Number.isNaN(atMs)) {
    throw usageError(
      `member "expires": expected a time, got ${JSON.stringify(text)}`,
      'for example 2030-01-31T12:00:00Z',
    );
  }
  return atMs;
}
