import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Publisher } from '../../../../src/app/agent/expose.ts';
import { parseAddress } from '../../../../src/core/ip.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import { until } from '../../../kit/until.ts';

/** Whether by an end or by a reset. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

interface Service {
  readonly port: number;
  readonly sockets: Socket[];
}

/** A service that answers with what it was sent, once the caller has said everything. */
async function echoAtEnd(t: TestContext): Promise<Service> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    const chunks: Buffer[] = [];
    socket.on('error', () => {});
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(chunks)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

async function publish(
  t: TestContext,
  targetPort: number,
  caller = '::1',
): Promise<{ publisher: Publisher; port: number; call: () => Socket }> {
  const publisher = new Publisher({
    service: { port: 0, targetHost: '127.0.0.1', targetPort },
    caller: parseAddress(caller) as Uint8Array,
    logger: silentLogger,
  });
  const port = await publisher.listen('::1');
  t.after(() => publisher.close());
  const call = () => {
    const socket = connect({ port, host: '::1', allowHalfOpen: true });
    socket.on('error', () => {});
    // Only who reads notices the end of a connection.
    socket.resume();
    t.after(() => socket.destroy());
    return socket;
  };
  return { publisher, port, call };
}

test('bytes pass both ways, and a caller that has said everything still hears the answer', async (t) => {
  const service = await echoAtEnd(t);
  const { publisher, call } = await publish(t, service.port);
  const socket = call();
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString()));
  const said = 'x'.repeat(300_000);
  socket.end(said);
  await once(socket, 'end');
  assert.equal(answer, said);
  assert.deepEqual(publisher.counters, { accepted: 1, refused: 0, failed: 0 });
});

test('nobody but the gateway is let in', async (t) => {
  const service = await echoAtEnd(t);
  const { publisher, call } = await publish(t, service.port, 'fdae:41e4:649b:9303::1');
  const socket = call();
  await closeOf(socket);
  assert.equal(publisher.counters.refused, 1);
  assert.equal(service.sockets.length, 0);
});

test('when one side is gone the other one is cut off', async (t) => {
  const service = await echoAtEnd(t);
  const { call } = await publish(t, service.port);
  const first = call();
  await until(() => service.sockets.length === 1);
  first.resetAndDestroy();
  await until(() => service.sockets[0]?.destroyed === true);
  const second = call();
  await until(() => service.sockets.length === 2);
  service.sockets[1]?.resetAndDestroy();
  await closeOf(second);
});

test('a service that does not run is told apart, and its callers are cut off', async (t) => {
  const service = await echoAtEnd(t);
  const { publisher, call } = await publish(t, 1);
  await closeOf(call());
  assert.deepEqual([publisher.counters.failed, service.sockets.length], [1, 0]);
});

test('closing cuts all connections', async (t) => {
  const service = await echoAtEnd(t);
  const { publisher, call } = await publish(t, service.port);
  const socket = call();
  await until(() => service.sockets.length === 1);
  const closed = closeOf(socket);
  await publisher.close();
  await closed;
});

test('an address that is taken is named', async (t) => {
  const service = await echoAtEnd(t);
  const { port } = await publish(t, service.port);
  const second = new Publisher({
    service: { port, targetHost: '127.0.0.1', targetPort: 1 },
    caller: parseAddress('::1') as Uint8Array,
    logger: silentLogger,
  });
  await assert.rejects(second.listen('::1'), {
    code: 'in_use',
    message: `--expose: cannot listen on ::1 port ${port}: EADDRINUSE`,
  });
});
