import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { MemoryBind, MemoryNetwork, type WireDatagram } from '../../../src/tunnel/bind-memory.ts';
import { decodeEndpoint } from '../../../src/tunnel/endpoint.ts';
import { bindContract, type BindSide, BindUser } from '../../contracts/bind.ts';
import { address } from '../../kit/pair.ts';

function side(network: MemoryNetwork, v4: string, v6: string): BindSide {
  const arena = new Arena({ bytes: 1 << 20 });
  const addresses = { 4: address(v4), 6: address(v6) };
  const bind = new MemoryBind(network, arena, [addresses[4], addresses[6]]);
  return { arena, addresses, bind, datagrams: bind };
}

function create() {
  const network = new MemoryNetwork();
  const alice = side(network, '192.0.2.1', '2001:db8::1');
  const bob = side(network, '192.0.2.2', '2001:db8::2');
  return {
    network,
    alice,
    bob,
    createRival: () => side(network, '192.0.2.2', '2001:db8::2').bind,
    deliver: () => void network.deliver(),
    dispose: () => Promise.resolve(),
  };
}

bindContract('memory', { carriesTos: true }, create);

async function talking() {
  const { network, alice, bob } = create();
  const [a, b] = [new BindUser(alice), new BindUser(bob)];
  await alice.bind.open(0);
  const port = await bob.bind.open(0);
  const to = { address: bob.addresses[4], port, scope: 0, carrier: 0 };
  const send = (...bytes: number[]) => a.send(a.record(to), [Uint8Array.from(bytes)]);
  const received = () => {
    network.deliver();
    return b.receive().map(({ bytes }) => [...bytes]);
  };
  return { network, alice, bob, a, b, send, received };
}

test('datagrams stay on the wire until delivered', async () => {
  const { network, b, send } = await talking();
  send(1);
  assert.deepEqual(b.receive(), []);
  assert.equal(network.deliver(), true);
  assert.equal(b.receive().length, 1);
  assert.equal(network.deliver(), false);
});

test('an interceptor may tap, drop, change, multiply and hold back', async () => {
  const { network, send, received } = await talking();
  const seen: number[] = [];
  const held: WireDatagram[] = [];
  network.intercept((datagram) => {
    const kind = datagram.bytes[0] as number;
    seen.push(kind);
    if (kind === 1) return [];
    if (kind === 2) return [datagram, datagram];
    if (kind === 3) return [{ ...datagram, bytes: Uint8Array.of(33) }];
    if (kind === 4) held.push(datagram);
    return kind === 4 ? [] : [datagram];
  });
  for (const kind of [1, 2, 3, 4, 5]) send(kind);
  assert.deepEqual(received(), [[2], [2], [33], [5]]);
  assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  for (const datagram of held) network.inject(datagram);
  assert.deepEqual(received(), [[4]]);
});

test('a reply leaves from the address that was targeted, and from another one when that is gone', async () => {
  const { network, alice, bob, a, b } = await talking();
  const second = address('192.0.2.22');
  (bob.bind as MemoryBind).addresses.push(second);
  const port = await bob.bind.open(0);
  a.send(a.record({ address: second, port, scope: 0, carrier: 0 }), [Uint8Array.of(1)]);
  network.deliver();
  b.receive();
  const record = b.batch.endpoint[0] as number;
  b.send(record, [Uint8Array.of(2)]);
  network.deliver();
  assert.deepEqual(a.receive()[0]?.from.address, second);
  (bob.bind as MemoryBind).addresses.pop();
  b.send(record, [Uint8Array.of(3)]);
  network.deliver();
  assert.deepEqual(a.receive()[0]?.from.address, bob.addresses[4]);
  assert.equal(decodeEndpoint(bob.arena.u8, record)?.source, undefined);
  assert.deepEqual(decodeEndpoint(bob.arena.u8, record)?.address, alice.addresses[4]);
});
