import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { createSocket } from 'node:dgram';
import { createConnection, createServer } from 'node:net';
import { test } from 'node:test';
import { journalReports } from '../../../../src/app/gateway/reports.ts';
import { startGateway } from '../../../../src/app/gateway/run.ts';
import { systemClock } from '../../../../src/core/clock.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import { EventSinkServiceClient } from '../../../../src/gen/events/events.ts';
import { ProvisionServiceClient, type ProvisionResponse } from '../../../../src/gen/siderolink/provision.ts';
import { DEFAULT_JOURNAL_LIMITS } from '../../../../src/link/journal.ts';
import { MemoryStore } from '../../../../src/link/memory-store.ts';
import { SqliteJournal } from '../../../../src/link/sqlite-journal.ts';
import { eventually } from '../../../kit/eventually.ts';
import { seededRandom } from '../../../kit/random.ts';
import { key } from '../../link/provision-kit.ts';
import { CONFIG, FakeOverlay, join, startTestGateway, temporaryDirectory, uuid } from './kit.ts';

function provision(port: number, number: number): Promise<ProvisionResponse> {
  const client = new ProvisionServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
  const request = {
    nodeUuid: uuid(number),
    nodePublicKey: key(`machine ${number}`),
    joinToken: 'good',
    talosVersion: 'v1.7.0',
  };
  return new Promise<ProvisionResponse>((resolve, reject) => {
    client.provision(request, (error: ServiceError | null, answer: ProvisionResponse) =>
      error ? reject(error) : resolve(answer),
    );
  }).finally(() => client.close());
}

test('a machine provisions over the wire and is a peer by the time it is answered', async (t) => {
  const { running, overlay } = await startTestGateway(t);
  const answer = await provision(running.apiPort, 1);
  assert.equal(answer.serverPublicKey, overlay.publicKey);
  assert.deepEqual(answer.serverEndpoint, ['127.0.0.1:50180']);
  assert.equal(overlay.peers.get(key('machine 1'))?.nodeAddress, answer.nodeAddressPrefix.replace('/64', ''));
});

test('the first start makes key and token, the next one keeps them', async (t) => {
  const store = new MemoryStore();
  const first = await startTestGateway(t, { store });
  assert.equal(first.running.isFirstStart, true);
  assert.match(first.running.admin.join(undefined, false).joinUrl, /jointoken=good$/);
  const key = (await store.load()).serverKey;
  await first.running.stop('again');
  const second = await startTestGateway(t, { store });
  assert.equal(second.running.isFirstStart, false);
  assert.ok(key && (await store.load()).serverKey?.equals(key));
});

test('every peer is back before the API answers, after a restart', async (t) => {
  const store = new MemoryStore();
  const first = await startTestGateway(t, { store });
  for (let number = 0; number < 50; number++) await join(first.running.gateway, number);
  await first.running.stop('again');
  const second = await startTestGateway(t, { store });
  assert.equal(second.overlay.peers.size, 50);
});

test('events and logs from a machine: kept under its name; from others: refused', async (t) => {
  const { running } = await startTestGateway(t);
  const { eventPort = 0, logPort = 0 } = running.reports;
  // On loopback nobody has an overlay address: acknowledged and dropped, and connections are cut.
  const client = new EventSinkServiceClient(`[::1]:${eventPort}`, credentials.createInsecure());
  t.after(() => client.close());
  await new Promise<void>((resolve, reject) =>
    client.publish({ data: undefined, id: 'a', actorId: '' }, (error: ServiceError | null) =>
      error ? reject(error) : resolve(),
    ),
  );
  const socket = createConnection(logPort, '::1');
  await new Promise<void>((resolve) => {
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
  const udp = createSocket('udp6');
  t.after(() => udp.close());
  const metrics = () =>
    fetch(`http://127.0.0.1:${running.metricsPort}/metrics`).then((response) => response.text());
  udp.send('{"msg":"hello"}', logPort, '::1');
  await eventually('connection and datagram are counted', async () =>
    (await metrics()).includes('culvert_log_refusals_total 2'),
  );
  assert.match(await metrics(), /culvert_events_total\{result="unknown_source"\} 1/);
});

test('metrics and health: ready while the interface is up', async (t) => {
  const { running, overlay } = await startTestGateway(t);
  await provision(running.apiPort, 1);
  overlay.states.set(key('machine 1'), { handshakeAgeMs: 0, udpEndpoint: '192.0.2.1:1' });
  const get = (path: string, method = 'GET') =>
    fetch(`http://127.0.0.1:${running.metricsPort}${path}`, { method });
  const text = await (await get('/metrics')).text();
  assert.match(text, /^culvert_provisions_total\{code="OK"\} 1$/m);
  assert.match(text, /^culvert_machines\{state="connected",transport="udp"\} 1$/m);
  assert.match(text, /^culvert_machines\{state="down",transport="none"\} 0$/m);
  assert.match(text, /^fake_device 1$/m);
  assert.match(text, /^nodejs_eventloop_lag_seconds /m);
  assert.equal((await get('/metrics')).status, 200, 'asked twice, the same');
  assert.equal((await get('/healthz')).status, 200);
  assert.equal((await get('/readyz')).status, 200);
  overlay.up = false;
  const notReady = await get('/readyz');
  assert.equal(notReady.status, 503);
  assert.deepEqual(await notReady.json(), { ready: false, problems: ['interface siderolink is down'] });
  assert.equal((await get('/healthz')).status, 200);
  assert.equal((await get('/else')).status, 404);
  assert.equal((await get('/metrics', 'POST')).status, 405);
});

test('docs/GATEWAY.md lists the metrics of the gateway, and their reasons', async (t) => {
  const { running } = await startTestGateway(t);
  const page = await (await fetch(`http://127.0.0.1:${running.metricsPort}/metrics`)).text();
  const manual = readFileSync(new URL('../../../../../docs/GATEWAY.md', import.meta.url), 'utf8');
  const [, section = ''] = /\n## Metrics and health\n(.*?)\n## /s.exec(manual) ?? [];
  const rows = [...section.matchAll(/^\| (`culvert_[^|]+) \|(.*)$/gm)];
  const listed = rows.flatMap(([, cell = '']) => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name));
  const families = Array.from(page.matchAll(/^# TYPE (culvert_\w+) /gm), ([, name = '']) => name);
  assert.deepEqual(listed.toSorted(), families.toSorted());
  for (const [, family = '', reason = ''] of page.matchAll(/^(culvert_stream_\w+)\{reason="(\w+)"\}/gm))
    assert.ok(
      rows.find(([, cell = '']) => cell.includes(`\`${family}\``))?.[2]?.includes(`\`${reason}\``),
      `${family} ${reason}`,
    );
});

test('streams end with UNAVAILABLE when the gateway stops, and nothing listens any more', async (t) => {
  const { running, overlay } = await startTestGateway(t);
  await join(running.gateway, 1, { wireguardOverGrpc: true });
  const header = overlay.peers.get(key('machine 1'))?.endpoint;
  const ends: unknown[] = [];
  overlay.streams?.open(
    { header, lane: 0 },
    { write: () => {}, setPaused: () => {}, end: (status) => ends.push(status) },
  );
  await running.stop('SIGTERM');
  assert.equal(await running.ended, 'SIGTERM');
  assert.deepEqual(ends, [{ code: 14, message: 'gateway is shutting down' }]);
  await assert.rejects(fetch(`http://127.0.0.1:${running.metricsPort}/healthz`));
  await running.stop('again');
});

test('the end of the interface is the end of the gateway', async (t) => {
  const { running, overlay } = await startTestGateway(t);
  await overlay.close('the interface was deleted');
  assert.equal(await running.ended, 'the interface was deleted');
});

test('a port that is taken: nothing is left of a start that failed', async (t) => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  t.after(() => blocker.close());
  const { port } = blocker.address() as { port: number };
  const overlay = new FakeOverlay();
  const store = new MemoryStore();
  let isClosed = false;
  store.close = async () => void (isClosed = true);
  const starting = startGateway({
    config: { ...CONFIG, api: { host: '127.0.0.1', port } },
    store,
    journal: SqliteJournal.open(temporaryDirectory(t), DEFAULT_JOURNAL_LIMITS),
    openOverlay: async () => overlay,
    openReports: journalReports({ eventPort: 0, logPort: 0 }, '::1'),
    adminSocket: undefined,
    initialToken: () => undefined,
    version: '',
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  await assert.rejects(starting, { code: 'in_use' });
  assert.equal(await overlay.closed, 'the gateway ends');
  assert.ok(isClosed);
});
