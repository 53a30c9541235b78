import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { BearerToken } from '../../../../src/app/http/bearer-token.ts';
import { type MetricsServer, serveMetrics } from '../../../../src/app/metrics/device-server.ts';
import { AppError } from '../../../../src/core/errors.ts';

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}

function ask(
  { address }: MetricsServer,
  path: string,
  { method = 'GET', host, authorization }: { method?: string; host?: string; authorization?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { ...(host === undefined ? {} : { host }), ...(authorization ? { authorization } : {}) };
    const asked = request({ ...address, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () =>
        resolve({
          status: response.statusCode,
          type: response.headers['content-type'],
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    asked.once('error', reject);
    asked.end();
  });
}

async function serve(
  t: TestContext,
  source: Partial<Parameters<typeof serveMetrics>[1]> = {},
): Promise<MetricsServer> {
  const server = await serveMetrics(
    { host: '127.0.0.1', port: 0 },
    {
      collect: () => Promise.resolve([Buffer.from('a 1\n'), Buffer.from('b 2\n')]),
      problems: () => [],
      ...source,
    },
  );
  t.after(() => server.close());
  return server;
}

test('metrics server: /metrics is the page in the text format', async (t) => {
  const answer = await ask(await serve(t), '/metrics');
  assert.deepEqual(answer, {
    status: 200,
    type: 'text/plain; version=0.0.4; charset=utf-8',
    body: 'a 1\nb 2\n',
  });
});

test('metrics server: HEAD has no body, other methods are refused, other paths do not exist', async (t) => {
  const server = await serve(t);
  assert.deepEqual(await ask(server, '/metrics', { method: 'HEAD' }).then(({ body }) => body), '');
  assert.equal((await ask(server, '/metrics', { method: 'POST' })).status, 405);
  assert.equal((await ask(server, '/etc/passwd')).status, 404);
  assert.equal((await ask(server, '/metrics?x=1')).status, 200);
});

test('metrics server: /healthz answers while the process lives, /readyz says why a device is not ready', async (t) => {
  const problems: string[] = [];
  const server = await serve(t, { problems: () => problems });
  assert.equal((await ask(server, '/healthz')).status, 200);
  assert.deepEqual(JSON.parse((await ask(server, '/readyz')).body), { ready: true, problems: [] });
  problems.push('interface wg0 is down');
  const answer = await ask(server, '/readyz');
  assert.equal(answer.status, 503);
  assert.deepEqual(JSON.parse(answer.body), { ready: false, problems });
});

test('metrics server: on loopback a foreign Host is refused, which stops DNS rebinding', async (t) => {
  const server = await serve(t);
  for (const host of ['evil.example', 'evil.example:9586', 'localhost.evil.example', '127.0.0.1.nip.io'])
    assert.equal((await ask(server, '/metrics', { host })).status, 421, host);
  for (const host of ['localhost:9586', '127.0.0.1', '[::1]:9586', '10.0.0.1:80', 'LOCALHOST'])
    assert.equal((await ask(server, '/metrics', { host })).status, 200, host);
});

test('metrics server: scrapes at the same time get one and the same page', async (t) => {
  let made = 0;
  const server = await serve(t, {
    collect: async () => {
      made++;
      await new Promise((resolve) => setImmediate(resolve));
      return [Buffer.from('a 1\n')];
    },
  });
  // In one write, so that both are read in one turn of the event loop.
  const socket = connect(server.address);
  socket.end('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(2));
  assert.equal((await text(socket)).split('a 1\n').length, 3);
  assert.equal(made, 1);
  await ask(server, '/metrics');
  assert.equal(made, 2);
});

test('metrics server: an address that is taken is an error with the address', async (t) => {
  const { address } = await serve(t);
  await assert.rejects(
    serveMetrics(address, { collect: () => Promise.resolve([]), problems: () => [] }),
    (error) =>
      error instanceof AppError &&
      error.code === 'in_use' &&
      error.message.includes(`127.0.0.1:${address.port}`),
  );
});

test('metrics server: a page that cannot be made closes the connection and the next is made anew', async (t) => {
  let isBroken = true;
  const server = await serve(t, {
    collect: () => (isBroken ? Promise.reject(new Error('no')) : Promise.resolve([Buffer.from('a 1\n')])),
  });
  await assert.rejects(ask(server, '/metrics'));
  isBroken = false;
  assert.equal((await ask(server, '/metrics')).status, 200);
});

test('metrics server: with a token the page is for those who show it, health is for all', async (t) => {
  const server = await serveMetrics(
    { host: '127.0.0.1', port: 0, token: new BearerToken('a-token-of-many-letters') },
    { collect: () => Promise.resolve([Buffer.from('a 1\n')]), problems: () => [] },
  );
  t.after(() => server.close());
  assert.equal((await ask(server, '/metrics')).status, 401);
  assert.equal((await ask(server, '/metrics', { authorization: 'Bearer a-token' })).status, 401);
  assert.equal(
    (await ask(server, '/metrics', { authorization: 'Bearer a-token-of-many-letters' })).body,
    'a 1\n',
  );
  assert.equal((await ask(server, '/healthz')).status, 200);
});
