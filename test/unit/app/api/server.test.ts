import assert from 'node:assert/strict';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join as joinPath } from 'node:path';
import { inspect } from 'node:util';
import { test } from 'node:test';
import { AdminToken, originProblem, TOKEN_FILE } from '../../../../src/app/api/access.ts';
import { AdminClient } from '../../../../src/app/gateway/admin-client.ts';
import { adminSocketPath } from '../../../../src/app/gateway/admin-socket.ts';
import { systemRandom } from '../../../../src/core/random.ts';
import { eventually } from '../../../kit/eventually.ts';
import { CERTIFICATE } from '../../../kit/certificates.ts';
import { CONFIG, join, temporaryDirectory, uuid } from '../gateway/kit.ts';
import { raw, startApi, type TestApi } from './kit.ts';

const authorized = ({ token }: TestApi) => ({ authorization: `Bearer ${token.reveal()}` });

test('admin token: made once, for its owner alone, and never printed', (t) => {
  const directory = temporaryDirectory(t);
  const token = AdminToken.ofDirectory(directory, systemRandom);
  const path = joinPath(directory, TOKEN_FILE);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readFileSync(path, 'utf8'), `${token.reveal()}\n`);
  assert.equal(Buffer.from(token.reveal(), 'base64url').length, 32);
  assert.equal(AdminToken.ofDirectory(directory, systemRandom).reveal(), token.reveal());
  assert.ok(!JSON.stringify({ token }).includes(token.reveal()));
  assert.ok(!inspect(token).includes(token.reveal()));
});

test('admin token: a file that others can read, or that holds something else, is refused', (t) => {
  const directory = temporaryDirectory(t);
  assert.throws(() => AdminToken.read(directory), { code: 'not_found' });
  AdminToken.ofDirectory(directory, systemRandom);
  const path = joinPath(directory, TOKEN_FILE);
  chmodSync(path, 0o640);
  assert.throws(() => AdminToken.ofDirectory(directory, systemRandom), { code: 'permission' });
  chmodSync(path, 0o600);
  writeFileSync(path, 'secret\n');
  assert.throws(() => AdminToken.ofDirectory(directory, systemRandom), { code: 'config' });
});

test('admin token: only the whole token matches', () => {
  const token = new AdminToken('a'.repeat(43));
  assert.ok(token.matches('a'.repeat(43)));
  for (const wrong of ['', 'a', 'a'.repeat(42), 'a'.repeat(44), `${'a'.repeat(42)}b`]) {
    assert.ok(!token.matches(wrong));
  }
});

test('everything of the API needs the token, whatever the path and the method', async (t) => {
  const api = await startApi(t);
  const { token } = api;
  const half = token.reveal().slice(0, 20);
  const wrong = ['', 'Bearer', `Bearer ${half}`, `Bearer ${token.reveal()}x`, `Basic ${token.reveal()}`];
  for (const path of ['/api/v1/status', '/api/v1/live', '/api/v1/tokens/x', '/api/v1/nothing']) {
    for (const method of ['GET', 'POST', 'DELETE']) {
      for (const authorization of wrong) {
        const { status, headers, text } = await raw(api.url, {
          path,
          method,
          headers: authorization === '' ? {} : { authorization },
        });
        assert.equal(status, 401, `${method} ${path} ${authorization}`);
        assert.equal(headers['www-authenticate'], 'Bearer realm="culvert"');
        assert.equal((JSON.parse(text) as { code: string }).code, 'permission');
      }
    }
  }
  assert.equal((await raw(api.url, { path: '/api/v1/status', headers: authorized(api) })).status, 200);
  const inQuery = await raw(api.url, { path: `/api/v1/status?token=${token.reveal()}` });
  assert.equal(inQuery.status, 401, 'a token in the URL is none');
});

test('health and the files of the page need no token, and say nothing about machines', async (t) => {
  const api = await startApi(t);
  assert.deepEqual(
    [(await raw(api.url, { path: '/healthz' })).status, (await raw(api.url, { path: '/healthz' })).text],
    [200, 'ok\n'],
  );
  const page = await raw(api.url, {});
  assert.equal(page.status, 200);
  assert.match(String(page.headers['content-security-policy']), /default-src 'none'.*script-src 'self'/);
  assert.doesNotMatch(String(page.headers['content-security-policy']), /unsafe|https?:|\*/);
  assert.equal(page.headers['x-content-type-options'], 'nosniff');
  assert.equal(page.headers['referrer-policy'], 'no-referrer');
  const etag = String(page.headers['etag']);
  assert.equal((await raw(api.url, { headers: { 'if-none-match': etag } })).status, 304);
  assert.equal((await raw(api.url, { method: 'POST' })).status, 405);
  const head = await raw(api.url, { method: 'HEAD' });
  assert.deepEqual([head.status, head.text], [200, '']);
});

test('nothing beside the files of the page is served', async (t) => {
  const api = await startApi(t);
  for (const path of [
    '/../package.json',
    '/%2e%2e/package.json',
    '//etc/passwd',
    '/.git/config',
    '/index.html',
    '/tsconfig.json',
    '*',
  ]) {
    assert.equal((await raw(api.url, { path })).status, 404, path);
  }
});

test('another name for loopback is refused: DNS rebinding', async (t) => {
  const api = await startApi(t);
  for (const host of ['attacker.example', 'attacker.example:80', 'localhost.attacker.example']) {
    for (const path of ['/', '/healthz', '/api/v1/status']) {
      const { status } = await raw(api.url, { path, headers: { ...authorized(api), host } });
      assert.equal(status, 421, `${host} ${path}`);
    }
  }
  for (const host of ['localhost', 'localhost:9587', '127.0.0.1:1', '[::1]:1']) {
    assert.equal((await raw(api.url, { path: '/healthz', headers: { host } })).status, 200, host);
  }
});

test('requests that another site made a browser send are refused: CSRF', async (t) => {
  const api = await startApi(t);
  const { host } = new URL(api.url);
  const send = (headers: Record<string, string>) =>
    raw(api.url, { path: '/api/v1/tokens', method: 'POST', headers: { ...authorized(api), ...headers } });
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'http://attacker.example' },
    { origin: 'null' },
    { origin: `http://${host}.attacker.example` },
  ]) {
    assert.equal((await send(headers)).status, 421, JSON.stringify(headers));
  }
  for (const headers of [{ origin: `http://${host}` }, { 'sec-fetch-site': 'same-origin' }, {}]) {
    assert.equal((await send(headers)).status, 400, 'refused for its empty body only');
  }
  assert.deepEqual(
    api.running.admin.tokens().map(({ name }) => name),
    ['initial token'],
  );
  // A form sends this without asking first; and no answer allows a foreign page to read it.
  const form = await raw(api.url, {
    path: '/api/v1/tokens',
    method: 'POST',
    headers: { ...authorized(api), 'content-type': 'text/plain' },
    body: '{"name":"x"}',
  });
  assert.equal(form.status, 400);
  const preflight = await raw(api.url, {
    path: '/api/v1/tokens',
    method: 'OPTIONS',
    headers: authorized(api),
  });
  assert.equal(preflight.status, 405);
  assert.equal(preflight.headers['access-control-allow-origin'], undefined);
});

test('behind a proxy the browser says where a request comes from, and any name may be the Host', () => {
  assert.equal(originProblem({ host: 'culvert.example' }, false), undefined);
  const proxied = {
    host: '127.0.0.1:9587',
    origin: 'https://culvert.example',
    'sec-fetch-site': 'same-origin',
  };
  assert.equal(originProblem(proxied, true), undefined);
  assert.match(originProblem({ ...proxied, 'sec-fetch-site': 'cross-site' }, true) ?? '', /other sites/);
});

test('wrong requests are refused in words, as problem details', async (t) => {
  const api = await startApi(t);
  const cases: readonly (readonly [string, string, unknown, number, RegExp])[] = [
    ['GET', '/machnes', undefined, 404, /there is no/],
    ['GET', '/machines/', undefined, 404, /there is no/],
    ['GET', '/machines/%ff', undefined, 404, /there is no/],
    ['PUT', '/machines', undefined, 405, /only GET/],
    ['GET', '/machines?limt=3', undefined, 400, /there is no query parameter "limt"/],
    ['GET', '/machines?limit=1&limit=2', undefined, 400, /comes twice/],
    ['GET', '/machines?limit=0', undefined, 400, /from 1 to 1000, got "0"/],
    ['GET', '/machines?limit=1e3', undefined, 400, /whole number/],
    ['GET', '/machines?state=up', undefined, 400, /expected connected, down/],
    ['GET', '/machines/nobody', undefined, 404, /no machine is called/],
    ['GET', '/machines/nobody/entries/live', undefined, 404, /no machine is called/],
    ['GET', '/machines/nobody/entries?kind=song', undefined, 400, /expected log, event/],
    ['GET', '/join?tunnel=yes', undefined, 400, /expected true or false/],
    ['GET', '/join?name=x', undefined, 404, /no join token/],
    ['POST', '/tokens', { nme: 'x' }, 400, /there is no member "nme"/],
    ['POST', '/tokens', { name: 'x', expires: 'soon' }, 400, /expected a time/],
    ['POST', '/tokens', { name: 'x', useLimit: 0 }, 400, /use limit/],
    ['POST', '/tokens', { __proto__: null, name: 'initial token' }, 409, /there is a join token named/],
    ['POST', '/tokens', [], 400, /not a JSON object/],
    ['DELETE', '/tokens/initial%20token', undefined, 400, /is the default join token/],
    ['POST', '/tokens', { name: 'x'.repeat(70_000) }, 413, /larger than 65536 bytes/],
  ];
  for (const [method, path, body, status, expected] of cases) {
    const answer = await api.call(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    assert.equal(answer.type, 'application/problem+json');
    assert.match((answer.body as { detail: string }).detail, expected);
    assert.equal((answer.body as { status: number }).status, status);
  }
  const hint = (await api.call('GET', '/machines?limt=3')).body as { hint: string };
  assert.equal(hint.hint, 'did you mean limit?');
  assert.equal((await api.call('PUT', '/machines')).headers.get('allow'), 'GET');
  const garbage = await raw(api.url, {
    path: '/api/v1/tokens',
    method: 'POST',
    headers: { ...authorized(api), 'content-type': 'application/json' },
    body: '{',
  });
  assert.match(garbage.text, /not JSON/);
  const large = await raw(api.url, { path: '/healthz', headers: { 'x-large': 'x'.repeat(20_000) } });
  assert.equal(large.status, 431);
});

test('what breaks inside stays inside: the client is told that, the log is told what', async (t) => {
  const api = await startApi(t);
  api.overlay.view = () => {
    throw new TypeError('secret detail');
  };
  const { status, body } = await api.call('GET', '/datapath');
  assert.equal(status, 500);
  assert.doesNotMatch(JSON.stringify(body), /secret detail/);
  assert.ok(api.logged.includes('error http_request_failed'));
});

test('the unix socket and the API answer the same', async (t) => {
  const directory = temporaryDirectory(t);
  const api = await startApi(t, { parts: { adminSocket: adminSocketPath(directory) } });
  const socket = new AdminClient(directory);
  await join(api.running.gateway, 1);
  await api.call('POST', '/tokens', { name: 'two' });
  const { body } = await api.call('GET', `/machines/${uuid(1)}`);
  assert.deepEqual(body, await socket.call('machines.show', { machine: uuid(1) }));
  assert.deepEqual((await api.call('GET', '/tokens')).body, { tokens: await socket.call('tokens.list', {}) });
  assert.deepEqual((await api.call('GET', '/status')).body, await socket.call('status', {}));
  const join2 = await api.call('GET', '/join?name=two');
  assert.deepEqual(join2.body, await socket.call('tokens.join', { name: 'two' }));
  assert.equal(join2.headers.get('cache-control'), 'no-store');
});

test('machines come in pages, and can be searched', async (t) => {
  const api = await startApi(t);
  const { running } = api;
  for (let number = 1; number <= 25; number++) await join(running.gateway, number);
  const ids = async (query: string) => {
    const { machines, total } = (await api.call('GET', `/machines?${query}`)).body as {
      machines: { id: string }[];
      total: number;
    };
    return [total, ...machines.map(({ id }) => id)];
  };
  assert.deepEqual(await ids('limit=2&offset=1'), [25, uuid(2), uuid(3)]);
  assert.deepEqual(await ids('search=00000025'), [1, uuid(25)]);
  assert.deepEqual(await ids('state=connected'), [0]);
  assert.deepEqual(await ids('offset=30'), [25]);
});

test('the server ends with the gateway, watchers and idle connections with it', async (t) => {
  const api = await startApi(t);
  const watcher = await api.watch('/live');
  const idle = connect(Number(new URL(api.url).port), '127.0.0.1');
  const closed = new Promise((resolve) => idle.once('close', resolve).on('error', () => {}));
  await new Promise((resolve) => idle.once('connect', resolve));
  await api.running.stop('the end');
  await closed;
  await eventually('the watcher ends', () => watcher.isEnded);
});

test('no more than 32 clients watch', async (t) => {
  const api = await startApi(t);
  for (let i = 0; i < 32; i++) await api.watch('/live');
  assert.equal((await api.call('GET', '/live')).status, 503);
});

test('on other addresses it speaks TLS where the gateway has a certificate', async (t) => {
  const directory = temporaryDirectory(t);
  const [certFile, keyFile] = [joinPath(directory, 'cert.pem'), joinPath(directory, 'key.pem')];
  writeFileSync(certFile, CERTIFICATE.cert);
  writeFileSync(keyFile, CERTIFICATE.key);
  const api = await startApi(t, {
    config: { ...CONFIG, tls: { certFile, keyFile } },
    parts: {
      http: { address: { host: '0.0.0.0', port: 0 }, token: new AdminToken('a'.repeat(43)) },
    },
  });
  assert.match(api.url, /^https:/);
  assert.ok(!api.logged.includes('warn http_exposed'));
  const plain = await startApi(t, {
    parts: { http: { address: { host: '0.0.0.0', port: 0 }, token: new AdminToken('a'.repeat(43)) } },
  });
  assert.match(plain.url, /^http:\/\/localhost:/);
  assert.ok(plain.logged.includes('warn http_exposed'));
});
