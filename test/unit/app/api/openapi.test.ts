// docs/api/openapi.yaml against the server, both ways.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { gatewayRoutes } from '../../../../src/app/api/gateway-routes.ts';
import type { Route } from '../../../../src/app/api/route.ts';
import { ERROR_CODES } from '../../../../src/core/errors.ts';
import { type Schema, SchemaChecker } from '../../../kit/json-schema.ts';
import { key } from '../../link/provision-kit.ts';
import { join, uuid } from '../gateway/kit.ts';
import { type Answer, startApi } from './kit.ts';

interface Operation {
  readonly operationId: string;
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

/** Routes are data: nothing of a gateway is touched before one answers. */
const routes: readonly Route[] = gatewayRoutes({} as never);

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
  assert.deepEqual(
    operations.map(({ operation, method, path }) => describe(operation.operationId, method, path)).toSorted(),
    routes.map(({ id, method, path }) => describe(id, method, path)).toSorted(),
  );
});

test('OpenAPI: parameters, bodies and kinds of answers are those of the routes', () => {
  for (const route of routes) {
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

test('OpenAPI: every answer fits its schema, and every member of every schema occurs in an answer', async (t) => {
  const api = await startApi(t, { config: { accept: 'manual' } });
  const { running, overlay, journal, followers } = api;
  const called = new Set<string>();
  const expected = new Set<string>();

  const call = async (id: string, parameters: Record<string, string> = {}, body?: unknown) => {
    const documented = operations.find(({ operation }) => operation.operationId === id);
    assert.ok(documented, id);
    called.add(id);
    const query = new URLSearchParams(
      Object.entries(parameters).filter(([name]) => !documented.path.includes(`{${name}}`)),
    );
    const path = documented.path.replace(/\{(\w+)\}/g, (_, name: string) =>
      encodeURIComponent(parameters[name] ?? ''),
    );
    const answer = await api.call(
      documented.method,
      query.size > 0 ? `${path}?${query.toString()}` : path,
      body,
    );
    checkAnswer(documented, answer);
    return answer.body;
  };
  function checkAnswer(documented: Documented, { status, type, body }: Answer): void {
    const found = media(documented, status < 400 ? String(status) : 'default');
    if (!found) {
      assert.equal(body, '');
      return;
    }
    const [contentType, { schema }] = found;
    assert.equal(type, contentType);
    const name = `${documented.operation.operationId} ${status < 400 ? status : 'problem'}`;
    assert.deepEqual(checker.check(body, schema, name), [], name);
    checker.members(schema, name, expected);
  }

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

  const watch = async (id: string, path: string, needed: readonly string[], act: () => void) => {
    called.add(id);
    const watcher = await api.watch(path);
    act();
    const documented = operations.find(({ operation }) => operation.operationId === id);
    assert.ok(documented);
    const events = media(documented, '200')?.[1]['x-events'] ?? {};
    assert.deepEqual(Object.keys(events).toSorted(), needed.toSorted());
    await watcher.until(`${id}: every event`, () => needed.every((name) => watcher.of(name).length > 0));
    for (const { name, data } of watcher.events) {
      const schema = events[name];
      assert.ok(schema, `${id} sends the event ${name}`);
      assert.deepEqual(checker.check(data, schema, `${id} ${name}`), []);
      checker.members(schema, `${id} ${name}`, expected);
    }
  };
  const topics = ['status', 'datapath', 'tokens', 'denied', 'machines', 'tick'];
  await watch('watch', '/live', topics, () => {});
  await watch('watchEntries', `/machines/${uuid(3)}/entries/live?count=3`, ['log', 'event'], () => {
    for (const [kind, body] of [
      ['log', 'x'],
      ['event', JSON.stringify({ ...event, id: 'e2' })],
    ] as const) {
      journal.append({ machine: uuid(3), kind, atMs: 3, body });
      followers.tell(uuid(3), kind);
    }
  });

  assert.deepEqual([...called].toSorted(), routes.map(({ id }) => id).toSorted());
  assert.deepEqual(
    [...expected].filter((name) => !checker.seen.has(name)),
    [],
    'documented, and in no answer',
  );
});
