/**
 * Both ends of transfers through a tunnel, as child processes in network namespaces. Whoever sends knows what has to
 * come back, so it alone judges: it ends with an error unless all came over in order and unharmed.
 *
 * The checksums of super-packets are for the receiver to trust, so what arrives is compared, not believed.
 *
 *   node offload-traffic.js tcp-sink|udp-echo ADDRESS
 *   node offload-traffic.js tcp-source ADDRESS BYTES
 *   node offload-traffic.js udp-source ADDRESS MTU
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type Socket, createSocket } from 'node:dgram';
import { on, once } from 'node:events';
import { type Socket as Connection, connect, createServer } from 'node:net';
import { libc } from '../../src/sys/libc.ts';
import { Block } from '../../src/sys/memory.ts';
import { randomBytes, seededRandom } from './random.ts';

const PORT = 7000;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const ANSWER_TIMEOUT_MS = 10_000;

/** Takes one connection and answers with the digest of what came. */
async function tcpSink(address: string): Promise<void> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(PORT, address);
  await once(server, 'listening');
  process.stdout.write('listening\n');
  const [socket] = (await once(server, 'connection')) as [Connection];
  const hash = createHash('sha256');
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  await once(socket, 'end');
  socket.end(hash.digest('hex'));
  server.close();
}

async function tcpSource(address: string, bytes: number): Promise<void> {
  const socket = connect({ host: address, port: PORT, allowHalfOpen: true });
  await once(socket, 'connect');
  const random = seededRandom(1);
  const hash = createHash('sha256');
  const material = randomBytes(random, 1 << 20);
  for (let left = bytes; left > 0;) {
    const start = random.u32() % (material.length >> 1);
    const chunk = material.subarray(
      start,
      start + Math.min(left, 1 + (random.u32() % (material.length >> 1))),
    );
    left -= chunk.length;
    hash.update(chunk);
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  socket.end();
  let answer = '';
  for await (const chunk of socket) answer += (chunk as Buffer).toString('latin1');
  assert.equal(answer, hash.digest('hex'));
}

/** Sends every datagram back, until it is ended. */
async function udpEcho(address: string): Promise<void> {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 });
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.bind(PORT, address);
  await once(socket, 'listening');
  process.stdout.write('listening\n');
}

/** Sends super-datagrams, each when all of the last one came back. */
async function udpSource(address: string, mtu: number): Promise<void> {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 });
  socket.connect(PORT, address);
  await once(socket, 'connect');
  const fd = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
  const random = seededRandom(2);
  const largest = mtu - (address.includes(':') ? 48 : 28);
  for (const size of [largest, 1200, 501, 100, 1]) {
    setSegmentSize(fd, size);
    for (const total of [1, size, size + 1, 2 * size, 10 * size - 3, Math.min(64 * size, 60_000)]) {
      const sent = randomBytes(random, total);
      const answer = collect(socket, total);
      socket.send(sent);
      const datagrams = await answer;
      assert.deepEqual(new Uint8Array(Buffer.concat(datagrams)), sent, `${total} bytes by ${size}`);
      const lengths = datagrams.map((datagram) => datagram.length);
      assert.ok(
        lengths.slice(0, -1).every((length) => length === size),
        `${total} by ${size}: ${lengths.join()}`,
      );
    }
  }
  socket.close();
}

function setSegmentSize(fd: number, size: number): void {
  const value = new Block(4);
  value.view.setInt32(0, size, true);
  assert.equal(libc().setsockopt(fd, SOL_UDP, UDP_SEGMENT, value.address, value.size), 0, 'UDP_SEGMENT');
}

async function collect(socket: Socket, bytes: number): Promise<Buffer[]> {
  const datagrams: Buffer[] = [];
  let missing = bytes;
  for await (const [datagram] of on(socket, 'message', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })) {
    datagrams.push(datagram as Buffer);
    missing -= (datagram as Buffer).length;
    if (missing <= 0) break;
  }
  return datagrams;
}

const [mode, address = '', number = '0'] = process.argv.slice(2);
if (mode === 'tcp-sink') await tcpSink(address);
else if (mode === 'tcp-source') await tcpSource(address, Number(number));
else if (mode === 'udp-echo') await udpEcho(address);
else if (mode === 'udp-source') await udpSource(address, Number(number));
else throw new Error(`unknown mode "${mode}"`);
