import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { AppError } from '../../../src/core/errors.ts';
import { DgramBind } from '../../../src/tunnel/bind-dgram.ts';
import { bindContract, type BindSide, BindUser } from '../../contracts/bind.ts';
import { eventually } from '../../kit/eventually.ts';
import { address } from '../../kit/pair.ts';

const side = (): BindSide => {
  const arena = new Arena({ bytes: 1 << 20 });
  const bind = new DgramBind(arena);
  return { arena, bind, datagrams: bind, addresses: { 4: address('127.0.0.1'), 6: address('::1') } };
};

bindContract('dgram', { carriesTos: false }, () => ({
  alice: side(),
  bob: side(),
  createRival: () => side().bind,
  deliver: () => {},
  dispose: () => Promise.resolve(),
}));

test('a mark cannot be set and is refused; no mark is no matter', () => {
  const { bind } = side();
  bind.setMark(0);
  assert.throws(
    () => bind.setMark(51_820),
    (error: unknown) =>
      error instanceof AppError && error.code === 'unavailable' && /51820/.test(error.message),
  );
});

test('datagrams beyond 4 MiB of waiting ones are dropped, the newest first, and counted', async () => {
  const bob = new BindUser(side());
  const port = await bob.side.bind.open(0);
  const sender = createSocket('udp4');
  const sent = 200;
  const overflow = () => bob.side.datagrams.receiveOverflow ?? assert.fail('no counter');
  // One by one, so that the receive buffer of the kernel never is what overflows.
  for (let i = 0; i < sent; i++) {
    const datagram = new Uint8Array(50_000).fill(i);
    await new Promise<void>((resolve) => sender.send(datagram, port, '127.0.0.1', () => resolve()));
    await new Promise((resolve) => void setImmediate(resolve));
  }
  await eventually('drops', () => overflow() > 0);
  const received: number[] = [];
  await eventually('everything', () => {
    received.push(...bob.receive().map(({ bytes }) => bytes[0] as number));
    return received.length + overflow() === sent;
  });
  assert.ok(received.length >= 83 && received.length <= 85, `${received.length} were kept`);
  assert.deepEqual(
    received,
    received.map((_, i) => i),
  );
  sender.close();
  await bob.side.bind.close();
});

test('datagrams that the arena area does not hold at once come with the next call', async () => {
  const [alice, bob] = [new BindUser(side()), new BindUser(side())];
  await alice.side.bind.open(0);
  const port = await bob.side.bind.open(0);
  const record = alice.record({ address: address('127.0.0.1'), port, scope: 0, carrier: 0 });
  const sizes: number[] = [];
  for (let i = 0; i < 6; i++) {
    alice.send(record, [new Uint8Array(60_000)]);
    await new Promise((resolve) => void setImmediate(resolve));
  }
  let calls = 0;
  await eventually('six datagrams', () => {
    const received = bob.receive();
    if (received.length > 0) calls++;
    sizes.push(...received.map(({ bytes }) => bytes.length));
    return sizes.length === 6;
  });
  assert.ok(calls >= 2);
  assert.ok(sizes.every((size) => size === 60_000));
  await alice.side.bind.close();
  await bob.side.bind.close();
});
