import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AdminToken } from '../../../../src/app/api/access.ts';
import type { GatewayConfig } from '../../../../src/app/gateway/config.ts';
import type { RunningGateway } from '../../../../src/app/gateway/run.ts';
import { BearerToken } from '../../../../src/app/http/bearer-token.ts';
import { AppError } from '../../../../src/core/errors.ts';
import { CERTIFICATE, OTHER_CERTIFICATE } from '../../../kit/certificates.ts';
import { key } from '../../link/provision-kit.ts';
import { CONFIG, join, startTestGateway } from './kit.ts';

const TOKEN = 't'.repeat(43);

function apply(
  running: RunningGateway,
  config: Partial<GatewayConfig>,
  http?: { port: number; token?: string },
) {
  const { port, token = TOKEN } = http ?? {};
  return running.reconfigure({
    config: { ...CONFIG, ...config },
    http:
      port === undefined ? undefined : { address: { host: '127.0.0.1', port }, token: new AdminToken(token) },
  });
}

test('reconfigure: rules hold from the next call on, and no machine is touched', async (t) => {
  const { running, overlay } = await startTestGateway(t);
  await join(running.gateway, 1, { wireguardOverGrpc: true });
  const ends: unknown[] = [];
  overlay.streams?.open(
    { header: overlay.peers.get(key('machine 1'))?.endpoint, lane: 0 },
    { write: () => {}, setPaused: () => {}, end: (status) => ends.push(status) },
  );
  const before = [...overlay.peers];
  const failed = await apply(running, {
    tunnel: 'forced',
    accept: 'manual',
    machineLimit: 5,
    apiUrl: 'https://gateway.example:443',
    wireGuardEndpoints: ['gateway.example:50180'],
    bandwidth: { total: { bytesPerSecond: 1_000, burstBytes: 1_000 } },
  });
  assert.deepEqual([...failed], []);
  assert.deepEqual([[...overlay.peers], ends], [before, []]);
  const { tunnel, accept, apiUrl, streams } = running.admin.status();
  assert.deepEqual([tunnel, accept, apiUrl, streams], ['forced', 'manual', 'https://gateway.example:443', 1]);
  assert.match(running.admin.join(undefined, false).joinUrl, /^https:\/\/gateway\.example/);
  assert.deepEqual(overlay.limits, { total: { bytesPerSecond: 1_000, burstBytes: 1_000 } });
  await join(running.gateway, 2);
  assert.deepEqual(
    running.admin.machines().map(({ state }) => state),
    ['down', 'pending'],
  );
  await apply(running, {});
  assert.deepEqual(overlay.limits, {}, 'without limits again');
});

test('reconfigure: another rate limit holds for callers that had used up the old one', async (t) => {
  const { running } = await startTestGateway(t, { config: { provisionLimit: { perSecond: 1, burst: 1 } } });
  const provision = (number: number) => join(running.gateway, number).catch((error: unknown) => error);
  assert.equal(typeof (await provision(1)), 'string');
  assert.ok((await provision(2)) instanceof Error);
  await apply(running, { provisionLimit: { perSecond: 1, burst: 2 } });
  assert.equal(typeof (await provision(2)), 'string');
});

test('reconfigure: metrics and HTTP API come, move and go', async (t) => {
  const { running } = await startTestGateway(t, { config: { metrics: undefined } });
  assert.equal(running.metricsPort, undefined);
  const loopback = { host: '127.0.0.1', port: 0 };
  await apply(running, { metrics: loopback }, { port: 0 });
  const url = `http://127.0.0.1:${running.metricsPort}/metrics`;
  assert.equal((await fetch(url)).status, 200);
  const page = running.admin.status().page ?? '';
  const ask = (token: string) =>
    fetch(`${page}api/v1/status`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await ask(TOKEN)).status, 200);
  await apply(
    running,
    { metrics: { ...loopback, token: new BearerToken('m'.repeat(20)) } },
    { port: 0, token: 'u'.repeat(43) },
  );
  assert.equal((await fetch(`http://127.0.0.1:${running.metricsPort}/metrics`)).status, 401);
  const moved = running.admin.status().page ?? '';
  assert.equal(
    (await fetch(`${moved}api/v1/status`, { headers: { authorization: `Bearer ${TOKEN}` } })).status,
    401,
  );
  await apply(running, { metrics: undefined });
  assert.deepEqual([running.metricsPort, running.admin.status().page], [undefined, null]);
  await assert.rejects(fetch(moved));
});

test('reconfigure: a server that is the same stays open, connections and all', async (t) => {
  const { running } = await startTestGateway(t, { config: { metrics: { host: '127.0.0.1', port: 0 } } });
  const port = running.metricsPort;
  await apply(running, { tunnel: 'forced' });
  assert.equal(running.metricsPort, port);
});

test('reconfigure: where a server cannot listen the old one is back, and the rest is applied', async (t) => {
  const { running } = await startTestGateway(t);
  const blocker = createServer().listen(0, '127.0.0.1');
  await once(blocker, 'listening');
  t.after(() => blocker.close());
  const { port } = blocker.address() as { port: number };
  const failed = await apply(running, { metrics: { host: '127.0.0.1', port }, tunnel: 'forced' });
  assert.deepEqual(
    [...failed].map(([part, { code }]) => [part, code]),
    [['metrics', 'in_use']],
  );
  assert.equal((await fetch(`http://127.0.0.1:${running.metricsPort}/healthz`)).status, 200);
  assert.equal(running.admin.status().tunnel, 'forced');
});

function tlsFiles(t: TestContext, name: string, pair: { cert: string; key: string }) {
  const directory = mkdtempSync(joinPath(tmpdir(), 'culvert-tls-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const [certFile, keyFile] = [joinPath(directory, `${name}.crt`), joinPath(directory, `${name}.key`)];
  writeFileSync(certFile, pair.cert);
  writeFileSync(keyFile, pair.key);
  return { certFile, keyFile };
}

test('reconfigure: other TLS files are used, unless they cannot be', async (t) => {
  const tls = tlsFiles(t, 'one', CERTIFICATE);
  const { running } = await startTestGateway(t, { config: { tls } });
  assert.deepEqual([...(await apply(running, { tls: tlsFiles(t, 'two', OTHER_CERTIFICATE) }))], []);
  const bad = await apply(running, { tls: { ...tls, keyFile: '/nonexistent' } });
  assert.match(bad.get('tls')?.message ?? '', /nonexistent/);
});

test('reconfigure: a gateway that has ended opens nothing any more', async (t) => {
  const { running } = await startTestGateway(t);
  await running.stop('the end');
  await apply(running, { metrics: { host: '127.0.0.1', port: 1 } });
  assert.equal(running.metricsPort, undefined);
});

test('reload: the admin does what the gateway was given for it, or says that there is nothing to read', async (t) => {
  const report = { changed: [], needsRestart: [], failed: [] };
  const { running } = await startTestGateway(t, { parts: { reload: async () => report } });
  assert.equal(await running.admin.reload(), report);
  const without = await startTestGateway(t);
  await assert.rejects(
    without.running.admin.reload(),
    (error) => error instanceof AppError && error.code === 'unavailable',
  );
});
