// docs/api/openapi.yaml against the server, both ways.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { deviceRoutes } from '../../../../src/app/api/device-routes.ts';
import { gatewayRoutes } from '../../../../src/app/api/gateway-routes.ts';
import { outerQueues } from '../../../../src/app/queues.ts';
import { ERROR_CODES } from '../../../../src/core/errors.ts';
import { type Address, parseAddress } from '../../../../src/core/ip.ts';
import { type Schema, SchemaChecker } from '../../../kit/json-schema.ts';
import { meteredOptions, meteredPeer } from '../../../kit/metrics.ts';
import { key } from '../../link/provision-kit.ts';
import { join, uuid } from '../gateway/kit.ts';
import { type Answer, type ApiClient, startApi, startDeviceApi } from './kit.ts';

interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Schema[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, Schema>>;
}

interface MediaType {
  readonly schema: Schema;
  readonly 'x-events'?: Readonly<Record<string, Schema>>;
}

const file = fileURLToPath(new URL('../../../../../docs/api/openapi.yaml', import.meta.url));
const document = parse(readFileSync(file, 'utf8'), { merge: true }) as Schema & {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
};
const checker = new SchemaChecker(document);

interface Documented {
  readonly operation: Operation;
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Schema[];
}

const operations: readonly Documented[] = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([name]) => name !== 'parameters')
    .map(([method, operation]) => ({
      operation: operation as Operation,
      method: method.toUpperCase(),
      path,
      parameters: [
        ...((item['parameters'] ?? []) as Schema[]),
        ...((operation as Operation).parameters ?? []),
      ].map(resolved),
    })),
);

function resolved(schema: Schema): Schema {
  const reference = schema['$ref'] as string | undefined;
  return reference === undefined ? schema : checker.resolve(reference);
}

/** Routes are data: nothing of a gateway or device is touched before one answers. */
const SERVERS = { gateway: gatewayRoutes({} as never), device: deviceRoutes({} as never) };

/** Who has an operation, as its tags say. */
function serversOf({ tags }: Operation): string[] {
  const isOfDevice = tags.includes('device');
  return [...(tags.some((tag) => tag !== 'device') ? ['gateway'] : []), ...(isOfDevice ? ['device'] : [])];
}

function bodyMembers({ operation }: Documented): string[] {
  const schema = operation.requestBody?.content['application/json']?.schema;
  return Object.keys((schema?.['properties'] ?? {}) as object).toSorted();
}

function parameterNames({ parameters }: Documented, place: string): string[] {
  return parameters
    .filter((each) => each['in'] === place)
    .map((each) => String(each['name']))
    .toSorted();
}

function media({ operation }: Documented, status: string): readonly [string, MediaType] | undefined {
  const response = operation.responses[status];
  assert.ok(response, `${operation.operationId} answers ${status}, which is not documented`);
  const content = (resolved(response)['content'] ?? {}) as Record<string, MediaType>;
  return Object.entries(content)[0];
}

test('OpenAPI: every route is in the file and every path of the file is a route', () => {
  const describe = (id: string, method: string, path: string) => `${id}: ${method} ${path}`;
  for (const [server, routes] of Object.entries(SERVERS)) {
    assert.deepEqual(
      operations
        .filter(({ operation }) => serversOf(operation).includes(server))
        .map(({ operation, method, path }) => describe(operation.operationId, method, path))
        .toSorted(),
      routes.map(({ id, method, path }) => describe(id, method, path)).toSorted(),
      server,
    );
  }
});

test('OpenAPI: parameters, bodies and kinds of answers are those of the routes', () => {
  for (const route of Object.values(SERVERS).flat()) {
    const documented = operations.find(({ operation }) => operation.operationId === route.id);
    assert.ok(documented);
    assert.deepEqual(parameterNames(documented, 'query'), [...(route.query ?? [])].toSorted(), route.id);
    const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => String(name)).toSorted();
    assert.deepEqual(parameterNames(documented, 'path'), inPath, route.id);
    assert.deepEqual(bodyMembers(documented), [...(route.body ?? [])].toSorted(), route.id);
    const status = route.kind === 'json' ? String(route.status ?? 200) : '200';
    const type = media(documented, status)?.[0];
    const expected = {
      json: status === '204' ? undefined : 'application/json',
      text: 'image/svg+xml',
      stream: 'text/event-stream',
    };
    assert.equal(type, expected[route.kind], route.id);
    assert.deepEqual(Object.keys(documented.operation.responses).toSorted(), [status, 'default'], route.id);
  }
});

test('OpenAPI: the codes of problems are those of the catalogue', () => {
  const codes = checker.resolve('#/components/schemas/Problem/properties/code')['enum'];
  assert.deepEqual((codes as string[]).toSorted(), Object.keys(ERROR_CODES).toSorted());
});

interface Seen {
  /** Members that are documented for what was called. */
  readonly members: Set<string>;
  /** Names of events by operation. */
  readonly events: Map<string, Set<string>>;
}

/** Calls a server by operation and holds what it answers against the document. */
class Caller {
  readonly #api: ApiClient;
  readonly #seen: Seen;
  readonly called = new Set<string>();

  constructor(api: ApiClient, seen: Seen) {
    this.#api = api;
    this.#seen = seen;
  }

  async call(id: string, parameters: Record<string, string> = {}, body?: unknown): Promise<unknown> {
    const documented = this.#find(id);
    const query = new URLSearchParams(
      Object.entries(parameters).filter(([name]) => !documented.path.includes(`{${name}}`)),
    );
    const path = documented.path.replace(/\{(\w+)\}/g, (_, name: string) =>
      encodeURIComponent(parameters[name] ?? ''),
    );
    const whole = query.size > 0 ? `${path}?${query.toString()}` : path;
    const answer = await this.#api.call(documented.method, whole, body);
    this.#check(documented, answer);
    return answer.body;
  }

  /** Follows the stream at `path` until each of `needed` has come. */
  async watch(id: string, path: string, needed: readonly string[], act: () => void): Promise<void> {
    const documented = this.#find(id);
    const watcher = await this.#api.watch(path);
    act();
    const events = media(documented, '200')?.[1]['x-events'] ?? {};
    await watcher.until(`${id}: every event`, () => needed.every((name) => watcher.of(name).length > 0));
    assert.deepEqual([...new Set(watcher.events.map(({ name }) => name))].toSorted(), needed.toSorted());
    this.#seen.events.set(id, new Set([...(this.#seen.events.get(id) ?? []), ...needed]));
    for (const { name, data } of watcher.events) {
      const schema = events[name];
      assert.ok(schema, `${id} sends the event ${name}`);
      assert.deepEqual(checker.check(data, schema, `${id} ${name}`), []);
      checker.members(schema, `${id} ${name}`, this.#seen.members);
    }
  }

  #find(id: string): Documented {
    const documented = operations.find(({ operation }) => operation.operationId === id);
    assert.ok(documented, id);
    this.called.add(id);
    return documented;
  }

  #check(documented: Documented, { status, type, body }: Answer): void {
    const found = media(documented, status < 400 ? String(status) : 'default');
    if (!found) {
      assert.equal(body, '');
      return;
    }
    const [contentType, { schema }] = found;
    assert.equal(type, contentType);
    const name = `${documented.operation.operationId} ${status < 400 ? status : 'problem'}`;
    assert.deepEqual(checker.check(body, schema, name), [], name);
    checker.members(schema, name, this.#seen.members);
  }
}

test('OpenAPI: every answer fits its schema, and every member of every schema occurs in an answer', async (t) => {
  const seen: Seen = { members: new Set(), events: new Map() };
  for (const [server, called] of [
    ['gateway', await callGateway(t, seen)],
    ['device', await callDevice(t, seen)],
  ] as const) {
    assert.deepEqual([...called].toSorted(), SERVERS[server].map(({ id }) => id).toSorted());
  }
  for (const documented of operations) {
    const { operationId } = documented.operation;
    const sent = seen.events.get(operationId);
    if (!sent) continue;
    const events = media(documented, '200')?.[1]['x-events'] ?? {};
    assert.deepEqual(Object.keys(events).toSorted(), [...sent].toSorted(), operationId);
  }
  assert.deepEqual(
    [...seen.members].filter((name) => !checker.seen.has(name)),
    [],
    'documented, and in no answer',
  );
});

const GATEWAY_EVENTS = ['status', 'datapath', 'tokens', 'denied', 'machines', 'tick'];
const DEVICE_EVENTS = ['status', 'datapath', 'peers', 'tick'];

async function callGateway(t: TestContext, seen: Seen): Promise<ReadonlySet<string>> {
  const api = await startApi(t, { config: { accept: 'manual' } });
  const { running, overlay, journal, followers } = api;
  const caller = new Caller(api, seen);
  const call = caller.call.bind(caller);

  // A machine that waits, one that is in and talks, one over gRPC, one that is turned away.
  for (const number of [1, 2, 3, 4]) {
    await join(running.gateway, number, { wireguardOverGrpc: number === 3 }).catch(() => {});
  }
  const waiting = await call('listPending');
  assert.equal((waiting as { machines: unknown[] }).machines.length, 4);
  const first = { machine: uuid(1) };
  await call('acceptMachine', first);
  await call('denyMachine', { machine: uuid(4) });
  await call('acceptMachine', { machine: uuid(3) });
  overlay.states.set(key('machine 1'), { handshakeAgeMs: 1_000, udpEndpoint: '192.0.2.1:4' });
  overlay.bytes.set(key('machine 1'), { rxBytes: 10, txBytes: 20 });
  journal.append({ machine: uuid(1), kind: 'log', atMs: 1, body: '{"msg":"hello"}' });
  const event = { id: 'e1', actorId: 'a', type: 'machine.MachineStatusEvent', value: '' };
  journal.append({ machine: uuid(1), kind: 'event', atMs: 2, body: JSON.stringify(event) });

  for (const id of ['getStatus', 'getDatapath', 'listDenied', 'listMachines']) await call(id);
  await call('listMachines', { state: 'connected', search: '192.0.2.1:4', offset: '0', limit: '1' });
  await call('showMachine', first);
  await call('setTunnel', first, { tunnel: 'on' });
  await call('resetUniqueToken', first);
  await call('listEntries', { ...first, kind: 'log', count: '5', after: '0' });
  await call('listEntries', { ...first, kind: 'event' });
  const expires = '2099-01-01T00:00:00Z';
  await call('createToken', {}, { name: 'one', description: 'first', expires, useLimit: 3, isDefault: true });
  await call('listTokens');
  await call('revokeToken', { name: 'one' });
  await call('restoreToken', { name: 'one' });
  await call('setDefaultToken', { name: 'initial token' });
  await call('getJoin', { name: 'one', tunnel: 'true' });
  assert.match(String(await call('getJoinQr')), /^<svg/);
  await call('removeToken', { name: 'one' });
  await call('showMachine', { machine: 'nobody' });
  await call('removeMachine', first);

  await caller.watch('watch', '/live', GATEWAY_EVENTS, () => {});
  await caller.watch('watchEntries', `/machines/${uuid(3)}/entries/live?count=3`, ['log', 'event'], () => {
    for (const [kind, body] of [
      ['log', 'x'],
      ['event', JSON.stringify({ ...event, id: 'e2' })],
    ] as const) {
      journal.append({ machine: uuid(3), kind, atMs: 3, body });
      followers.tell(uuid(3), kind);
    }
  });

  return caller.called;
}

async function callDevice(t: TestContext, seen: Seen): Promise<ReadonlySet<string>> {
  const named = meteredPeer(1, {
    endpoint: { address: parseAddress('192.0.2.1') as Address, port: 4, scope: 0, carrier: 0 },
    lastHandshakeMs: Date.now(),
    rxBytes: 10n,
    persistentKeepalive: 25,
  });
  const names = new Map([[named.publicKey.hex, 'laptop']]);
  const transport = { transport: 'wasm+openssl-core', longestShort: 512 };
  const queues = outerQueues({
    tun: { depth: undefined, capacity: 500, dropped: 3 },
    sockets: [],
    streams: undefined,
  });
  const engine = () => ({ ...meteredOptions().engine(), ...transport, queues });
  const caller = new Caller(await startDeviceApi(t, { peers: [named, meteredPeer(2)], names, engine }), seen);
  for (const id of ['getStatus', 'getDatapath', 'listPeers']) await caller.call(id);
  const query = { state: 'active', search: '192.0.2.1:4', offset: '0', limit: '1' };
  const found = await caller.call('listPeers', query);
  assert.equal((found as { total: number }).total, 1);
  await caller.call('showPeer', { peer: named.publicKey.base64 });
  await caller.call('showPeer', { peer: 'nobody' });
  await caller.watch('watch', '/live', DEVICE_EVENTS, () => {});
  return caller.called;
}
