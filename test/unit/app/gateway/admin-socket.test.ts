import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { test, type TestContext } from 'node:test';
import { AdminClient, NoGateway } from '../../../../src/app/gateway/admin-client.ts';
import { AdminSocket, adminSocketPath } from '../../../../src/app/gateway/admin-socket.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import { eventually } from '../../../kit/eventually.ts';
import { join, startTestGateway, temporaryDirectory, uuid } from './kit.ts';

async function start(t: TestContext) {
  const directory = temporaryDirectory(t);
  const gateway = await startTestGateway(t, { parts: { adminSocket: adminSocketPath(directory) } });
  return {
    ...gateway,
    socketDirectory: directory,
    client: new AdminClient(directory),
    link: gateway.running.gateway,
  };
}

/** Whatever a stranger sends. */
function raw(
  path: string,
  method: string,
  url: string,
  body: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: path, path: url, method }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end(body);
  });
}

test('the socket is for its owner alone', async (t) => {
  const { socketDirectory } = await start(t);
  assert.equal(statSync(adminSocketPath(socketDirectory)).mode & 0o777, 0o600);
});

test('operations answer over the socket as they do in the process', async (t) => {
  const { client, running, link } = await start(t);
  await join(link, 1);
  assert.deepEqual(await client.call('machines.list', {}), {
    machines: running.admin.machines(),
    denied: [],
  });
  assert.equal((await client.call('machines.tunnel', { machine: uuid(1), tunnel: 'on' })).tunnel, 'on');
  const created = await client.call('tokens.create', { name: 'one', useLimit: 1 });
  assert.deepEqual(await client.call('tokens.join', { name: 'one' }), created);
  assert.equal(await client.call('tokens.remove', { name: 'one' }), null);
  assert.equal((await client.call('status', {})).version, '1.2.3');
});

test('errors cross with code, message and hint', async (t) => {
  const { client } = await start(t);
  await assert.rejects(client.call('machines.show', { machine: 'nobody' }), {
    name: 'AppError',
    code: 'not_found',
    message: 'no machine is called "nobody"',
    hint: /culvert machines ls/,
  });
});

test('wrong requests are refused in words', async (t) => {
  const { socketDirectory } = await start(t);
  const path = adminSocketPath(socketDirectory);
  const cases: readonly (readonly [string, string, string, RegExp])[] = [
    ['GET', '/v1/status', '', /expected POST/],
    ['POST', '/elsewhere', '', /expected POST/],
    ['POST', '/v1/machines.lst', '', /did you mean machines\.list\?/],
    ['POST', '/v1/__proto__', '', /unknown operation/],
    ['POST', '/v1/machines.show', '', /input \\"machine\\" is missing/],
    ['POST', '/v1/machines.show', '{"machine":1}', /is not a text/],
    ['POST', '/v1/machines.show', '[]', /not a JSON object/],
    ['POST', '/v1/machines.show', '{', /not JSON/],
    ['POST', '/v1/machines.tunnel', '{"machine":"x","tunnel":"maybe"}', /expected auto, on, off/],
    ['POST', '/v1/machines.show', `{"machine":"${'x'.repeat(70_000)}"}`, /larger than 65536 bytes/],
  ];
  for (const [method, url, body, expected] of cases) {
    const { status, text } = await raw(path, method, url, body);
    assert.equal(status, 400, `${method} ${url} ${text}`);
    assert.match(text, expected);
  }
});

test('a follower gets what is there and then what comes, in order, until the machine is removed', async (t) => {
  const { client, link, running, journal, followers } = await start(t);
  await join(link, 1);
  const say = (line: string) => {
    journal.append({ machine: uuid(1), kind: 'log', atMs: 0, body: line });
    followers.tell(uuid(1), 'log');
  };
  say('before');
  const lines: string[] = [];
  const following = (async () => {
    for await (const entry of client.follow({ machine: uuid(1), kind: 'log', count: 10 })) {
      lines.push(entry.kind === 'log' ? entry.line : '');
    }
  })();
  await eventually('the first line comes', () => lines.length === 1);
  for (let i = 0; i < 300; i++) say(`line ${i}`);
  await eventually('all lines come', () => lines.length === 301);
  assert.deepEqual(lines, ['before', ...Array.from({ length: 300 }, (_, i) => `line ${i}`)]);
  await running.stop('the end');
  await following;
});

test('following begins with the newest entries that were asked for', async (t) => {
  const { client, link, journal } = await start(t);
  await join(link, 1);
  for (const body of ['a', 'b', 'c']) journal.append({ machine: uuid(1), kind: 'log', atMs: 0, body });
  const seen: string[] = [];
  for await (const entry of client.follow({ machine: uuid(1), kind: 'log', count: 2 })) {
    seen.push(entry.kind === 'log' ? entry.line : '');
    if (seen.length === 2) break;
  }
  assert.deepEqual(seen, ['b', 'c']);
});

test('without a gateway the client says so', async (t) => {
  const directory = temporaryDirectory(t);
  await assert.rejects(new AdminClient(directory).call('status', {}), NoGateway);
});

test('a stale socket is taken over, a live one is not', async (t) => {
  const directory = temporaryDirectory(t);
  const path = adminSocketPath(directory);
  writeFileSync(path, '');
  const { running } = await start(t);
  const first = new AdminSocket(path, running.admin, silentLogger);
  await first.listen();
  t.after(() => first.close());
  const second = new AdminSocket(path, running.admin, silentLogger);
  await assert.rejects(second.listen(), { code: 'in_use' });
  await second.close();
  assert.equal((await new AdminClient(directory).call('status', {})).version, '1.2.3');
});
