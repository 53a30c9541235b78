import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { SystemError } from '../../../src/core/errors.ts';
import { hasLibc, libc } from '../../../src/sys/libc.ts';
import { Block } from '../../../src/sys/memory.ts';
import { SOCKET_BUFFER_BYTES, UdpSocket } from '../../../src/sys/udp-socket.ts';
import { Namespace, requireRoot } from '../../kit/netns.ts';

function option(socket: UdpSocket, level: number, name: number): number {
  const block = new Block(8);
  block.view.setUint32(4, 4, true);
  assert.equal(libc().getsockopt(socket.fd, level, name, block.address, block.address + 4), 0);
  return block.view.getUint32(0, true);
}

describe('UDP sockets', { skip: hasLibc() ? false : 'SKIPPED: needs Linux and koffi' }, () => {
  test('a socket of each family shares one port, since IPv6 stays IPv6', () => {
    const v4 = new UdpSocket(4, 0);
    const v6 = new UdpSocket(6, v4.port);
    assert.ok(v4.port > 0);
    assert.equal(v6.port, v4.port);
    assert.equal(option(v6, 41, 26), 1, 'IPV6_V6ONLY');
    for (const [name, level, number] of [
      ['IP_PKTINFO', 0, 8],
      ['IP_RECVTOS', 0, 13],
    ] as const) {
      assert.equal(option(v4, level, number), 1, name);
    }
    for (const [name, level, number] of [
      ['IPV6_RECVPKTINFO', 41, 49],
      ['IPV6_RECVTCLASS', 41, 66],
    ] as const) {
      assert.equal(option(v6, level, number), 1, name);
    }
    v4.close();
    v6.close();
  });

  test('the buffers are told in the unit in which they are asked for', () => {
    const socket = new UdpSocket(4, 0);
    const { sendBytes, receiveBytes } = socket.buffers();
    assert.equal(2 * sendBytes, option(socket, 1, 7), 'SO_SNDBUF');
    assert.equal(2 * receiveBytes, option(socket, 1, 8), 'SO_RCVBUF');
    assert.ok(sendBytes > 0 && sendBytes <= SOCKET_BUFFER_BYTES);
    socket.close();
  });

  test('what waits in a socket and what found it full is told', async () => {
    const socket = new UdpSocket(4, 0);
    const before = socket.fill() ?? assert.fail('no SO_MEMINFO');
    assert.deepEqual([before.receive.depth, before.receive.dropped, before.send.depth], [0, 0, 0]);
    assert.equal(before.receive.capacity, 2 * socket.buffers().receiveBytes);
    assert.equal(before.send.capacity, 2 * socket.buffers().sendBytes);
    const sender = createSocket('udp4');
    sender.connect(socket.port, '127.0.0.1');
    await once(sender, 'connect');
    const payload = Buffer.alloc(60_000);
    const send = () => new Promise<void>((resolve) => sender.send(payload, () => resolve()));
    await send();
    const waits = socket.fill()?.receive ?? assert.fail('no SO_MEMINFO');
    assert.ok((waits.depth ?? 0) >= payload.length, `${waits.depth}`);
    while ((socket.fill()?.receive.dropped ?? 0) < 3) await send();
    sender.close();
    socket.close();
  });

  test('asking for segmentation leaves it off', () => {
    const socket = new UdpSocket(4, 0);
    if (socket.supportsGso()) assert.equal(option(socket, 17, 103), 0, 'UDP_SEGMENT');
    socket.close();
  });

  test('a taken port is refused with place and reason', () => {
    const first = new UdpSocket(4, 0);
    const port = first.port;
    assert.throws(
      () => new UdpSocket(4, port),
      (error: unknown) =>
        error instanceof SystemError &&
        error.code === 'in_use' &&
        error.message === `bind UDP port ${port} for IPv4: EADDRINUSE`,
    );
    first.close();
    new UdpSocket(4, port).close();
  });
});

describe('UDP sockets with rights', { skip: requireRoot() }, () => {
  test('socket buffers hold 7 MiB whatever the limit is, and marks are set and cleared', async () => {
    const namespace = Namespace.create();
    const socket = namespace.within(() => new UdpSocket(4, 0));
    // The kernel doubles the value for its own book-keeping.
    assert.equal(option(socket, 1, 7), 2 * (7 << 20), 'SO_SNDBUF');
    assert.equal(option(socket, 1, 8), 2 * (7 << 20), 'SO_RCVBUF');
    assert.equal(option(socket, 1, 36), 0);
    socket.setMark(0xffff_fffe);
    assert.equal(option(socket, 1, 36), 0xffff_fffe);
    socket.setMark(0);
    assert.equal(option(socket, 1, 36), 0);
    socket.close();
    await namespace.close();
  });
});
