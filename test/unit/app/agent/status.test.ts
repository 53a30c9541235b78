import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  askStatus,
  openStatusSocket,
  statusNames,
  statusPath,
} from '../../../../src/app/agent/status-socket.ts';
import { formatStatus, type MachineStatus } from '../../../../src/app/agent/status.ts';
import { documentedMembers } from '../../../kit/json-reference.ts';

const STATUS: MachineStatus = {
  kind: 'machine',
  interface: 'siderolink',
  pid: 1,
  version: '0.1.0',
  state: 'up',
  isConnected: true,
  problem: null,
  transport: 'grpc',
  wantedTransport: 'auto',
  gateway: 'gateway.example:443',
  isPlaintext: false,
  endpoint: '[fdae:41e4:649b:9304::5]:50889',
  address: 'fdae:41e4:649b:9303::5',
  serverAddress: 'fdae:41e4:649b:9303::1',
  lastHandshakeAgeMs: 12_400,
  receivedBytes: 2048,
  sentBytes: 0,
  uuid: '4c4c4544-0042-3510-8052-c2c04f595231',
  publicKey: 'key',
  streams: { open: 2, opened: 3, broken: 1 },
  exposed: [{ port: 22, targetHost: '127.0.0.1', targetPort: 22, accepted: 4, refused: 0, failed: 0 }],
};

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'culvert-status-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('a link that works is shown with what carries it', () => {
  assert.equal(
    formatStatus(STATUS, false),
    `siderolink  connected over a gRPC stream
  gateway           gateway.example:443
  endpoint          [fdae:41e4:649b:9304::5]:50889
  address           fdae:41e4:649b:9303::5
  gateway address   fdae:41e4:649b:9303::1
  latest handshake  12 seconds ago
  transfer          2.00 KiB received, 0 B sent
  transport         auto: UDP first, else the tunnel
  streams           2 open, 1 broken so far
  exposed           port 22 to 127.0.0.1 port 22, 4 connections
  machine           4c4c4544-0042-3510-8052-c2c04f595231
`,
  );
});

test('a link that does not is shown with why', () => {
  const text = formatStatus(
    {
      ...STATUS,
      state: 'provisioning',
      isConnected: false,
      problem: 'PERMISSION_DENIED: unauthorized',
      transport: null,
      endpoint: null,
      address: null,
      serverAddress: null,
      lastHandshakeAgeMs: null,
      streams: null,
      exposed: [],
      isPlaintext: true,
    },
    false,
  );
  assert.match(
    text,
    /^siderolink {2}not connected \(provisioning\)\n {2}gateway +gateway\.example:443 without TLS\n/,
  );
  assert.match(text, /\n {2}problem +PERMISSION_DENIED: unauthorized\n$/);
  assert.doesNotMatch(text, /null|latest handshake/);
});

test('on a terminal the age of its handshake has a colour: green, yellow, red', () => {
  const line = (age: number) =>
    formatStatus({ ...STATUS, lastHandshakeAgeMs: age * 1_000 }, true)
      .split('\n')
      .find((one) => one.includes('latest handshake'));
  assert.equal(line(179), '  latest handshake  \x1b[32m2 minutes, 59 seconds ago\x1b[0m');
  assert.equal(line(180), '  latest handshake  \x1b[33m3 minutes ago\x1b[0m');
  assert.equal(line(275), '  latest handshake  \x1b[31m4 minutes, 35 seconds ago\x1b[0m');
});

test('docs/reference/json.md lists the members of its JSON', () => {
  assert.deepEqual(documentedMembers('culvert status --json'), Object.keys(STATUS).toSorted());
});

test('who connects is told, and only the owner can', async (t) => {
  const path = statusPath('one', directory(t));
  let asked = 0;
  const socket = await openStatusSocket(path, () => ({ asked: ++asked }));
  assert.deepEqual(await askStatus(path), { asked: 1 });
  assert.deepEqual(await askStatus(path), { asked: 2 });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await socket.close();
  assert.ok(!existsSync(path));
});

test('a live socket is refused, one that was left behind is taken over', async (t) => {
  const path = statusPath('one', directory(t));
  const first = await openStatusSocket(path, () => ({}));
  await assert.rejects(
    openStatusSocket(path, () => ({})),
    { code: 'in_use', message: 'one is run by another process already' },
  );
  await first.close();
  writeFileSync(path, '');
  const second = await openStatusSocket(path, () => ({ n: 2 }));
  assert.deepEqual(await askStatus(path), { n: 2 });
  await second.close();
});

test('the names are those of all sockets there are', async (t) => {
  const path = directory(t);
  assert.deepEqual(statusNames(join(path, 'absent')), []);
  for (const file of ['b.status', 'a.status', 'wg0.json']) writeFileSync(join(path, file), '');
  assert.deepEqual(statusNames(path), ['a', 'b']);
});

test('nobody, and somebody who says something else, are told apart from a link', async (t) => {
  const path = statusPath('one', directory(t));
  await assert.rejects(askStatus(path), { code: 'not_found', message: 'one is not running: ENOENT' });
  const server = createServer((socket) => socket.end('hello'));
  server.listen(path);
  await once(server, 'listening');
  t.after(() => server.close());
  await assert.rejects(askStatus(path), { message: 'one is not running: it answers with something else' });
});
