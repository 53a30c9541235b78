import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { LogSender, parseLogTarget } from '../../../../src/app/agent/log-sender.ts';
import { silentLogger } from '../../../../src/core/log.ts';
import { seededRandom } from '../../../kit/random.ts';
import { until } from '../../../kit/until.ts';

/** Lines for as long as they are wanted. */
class FakeSource {
  take: (line: string) => boolean = () => false;
  isRunning = false;
  isClosed = false;
  sent = 0;

  resume(): void {
    this.isRunning = true;
  }
  pause(): void {
    this.isRunning = false;
  }
  close(): void {
    this.isClosed = true;
  }

  /** Offers lines until one is enough. */
  pump(count: number, line = 'x'): void {
    for (let i = 0; i < count && this.isRunning; i++) {
      this.sent++;
      if (!this.take(line)) this.pause();
    }
  }
}

async function receiver(
  t: TestContext,
): Promise<{ server: Server; port: number; sockets: Socket[]; text: () => string }> {
  const sockets: Socket[] = [];
  let text = '';
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => (text += chunk.toString()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port, sockets, text: () => text };
}

function sender(
  t: TestContext,
  port: number,
  protocol: 'tcp' | 'udp' = 'tcp',
): { sender: LogSender; source: FakeSource } {
  const source = new FakeSource();
  const made = new LogSender({
    target: { protocol, host: '127.0.0.1', port },
    random: seededRandom(1),
    logger: silentLogger,
    openSource: (take) => {
      source.take = take;
      return source;
    },
  });
  t.after(() => made.close());
  return { sender: made, source };
}

test('targets are read from URLs', () => {
  assert.deepEqual(parseLogTarget('tcp://[fd00::1]:8092'), { protocol: 'tcp', host: 'fd00::1', port: 8092 });
  assert.deepEqual(parseLogTarget('udp://logs.example:80/'), {
    protocol: 'udp',
    host: 'logs.example',
    port: 80,
  });
});

test('nothing is read from the kernel before the receiver can be reached', async (t) => {
  const { port, text } = await receiver(t);
  const kit = sender(t, port);
  assert.ok(!kit.source.isRunning);
  kit.sender.setOnline(true);
  await until(() => kit.source.isRunning);
  kit.source.pump(2, '{"msg":"hi"}');
  await until(() => text() === '{"msg":"hi"}\n{"msg":"hi"}\n');
  kit.sender.setOnline(false);
  assert.ok(!kit.source.isRunning);
});

test('a receiver that takes nothing stops the reading, and goes on when it does', async (t) => {
  const { port, sockets } = await receiver(t);
  const kit = sender(t, port);
  kit.sender.setOnline(true);
  await until(() => sockets.length === 1 && kit.source.isRunning);
  sockets[0]?.pause();
  const line = 'y'.repeat(60_000);
  await until(() => {
    kit.source.pump(1_000, line);
    return !kit.source.isRunning;
  });
  assert.ok(kit.source.sent < 1_000);
  sockets[0]?.resume();
  await until(() => kit.source.isRunning);
});

test('a connection that breaks is made again, without being asked to', async (t) => {
  const { port, sockets, text } = await receiver(t);
  const kit = sender(t, port);
  kit.sender.setOnline(true);
  await until(() => sockets.length === 1);
  sockets[0]?.resetAndDestroy();
  await until(() => sockets.length === 2 && kit.source.isRunning);
  kit.source.pump(1, 'again');
  await until(() => text() === 'again\n');
});

test('over UDP each line is a datagram', async (t) => {
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  const received: string[] = [];
  socket.on('message', (bytes) => received.push(bytes.toString()));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const kit = sender(t, socket.address().port, 'udp');
  kit.sender.setOnline(true);
  assert.ok(kit.source.isRunning);
  kit.source.pump(2, '{}');
  await until(() => received.length === 2);
  assert.deepEqual(received, ['{}', '{}']);
});

test('closing closes the source', async (t) => {
  const { port } = await receiver(t);
  const kit = sender(t, port);
  kit.sender.close();
  assert.ok(kit.source.isClosed);
});
