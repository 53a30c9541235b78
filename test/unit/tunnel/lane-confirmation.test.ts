import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { NobleTransportAead } from '../../../src/noise/aead-noble.ts';
import { readU32le } from '../../../src/core/bytes.ts';
import { TRANSPORT } from '../../../src/noise/messages.ts';
import { MemoryTun } from '../../../src/tun/memory.ts';
import { MemoryBind, MemoryNetwork } from '../../../src/tunnel/bind-memory.ts';
import { ENDPOINT, encodeEndpoint, type Endpoint } from '../../../src/tunnel/endpoint.ts';
import { Lane } from '../../../src/tunnel/lane/lane.ts';
import { FakeClock } from '../../kit/clock.ts';
import { ipv4Packet } from '../../kit/packets.ts';
import { address } from '../../kit/pair.ts';

const PORT = 51_820;
const OLD = 1;
const NEW = 2;
const key = (value: number): Uint8Array => new Uint8Array(32).fill(value);

/** A lane with one peer and no control plane: events are collected and nobody acts on them. */
async function lane(network: MemoryNetwork, own: string, other: string, innerOther: string) {
  const arena = new Arena({ bytes: 4 << 20 });
  const tun = new MemoryTun(arena, 'test');
  const bind = new MemoryBind(network, arena, [address(own)]);
  await bind.open(PORT);
  tun.setLink(true);
  const confirmed: number[] = [];
  const lane = new Lane({
    arena,
    aead: new NobleTransportAead(arena),
    clock: new FakeClock(),
    tun,
    bind,
    events: {
      handshake() {},
      activity() {},
      roamed() {},
      confirmed: (_peer, index) => confirmed.push(index),
    },
  });
  const record = new Uint8Array(ENDPOINT.size);
  const endpoint: Endpoint = { address: address(other), port: PORT, scope: 0, carrier: 0 };
  encodeEndpoint(endpoint, record, 0);
  lane.setUp(true);
  lane.addPeer(1);
  lane.setEndpoint(1, record);
  lane.addAllowedIp(1, address(innerOther), 32);
  const addKeypair = (index: number, isInitiator: boolean): void => {
    const [there, back] = [key(index), key(index + 100)];
    const [sendKey, receiveKey] = isInitiator ? [there, back] : [back, there];
    lane.addKeypair({ peer: 1, index, remoteIndex: index, sendKey, receiveKey, isInitiator, createdAtMs: 0 });
  };
  return { lane, tun, bind, confirmed, addKeypair };
}

test('key confirmation: the answer to the confirming packet leaves with the new keys, before the control plane has heard', async () => {
  const network = new MemoryNetwork();
  const sent: number[] = [];
  network.intercept((datagram) => {
    sent.push(readU32le(datagram.bytes, TRANSPORT.receiver));
    return [datagram];
  });
  const initiator = await lane(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lane(network, '192.0.2.2', '192.0.2.1', '10.0.0.1');
  responder.addKeypair(OLD, false);
  responder.lane.useKeypair(1, OLD);
  responder.addKeypair(NEW, false);
  initiator.addKeypair(NEW, true);
  initiator.lane.useKeypair(1, NEW);

  responder.tun.inject(ipv4Packet('10.0.0.2', '10.0.0.1', 100));
  responder.lane.pumpOutbound(1);
  initiator.tun.inject(ipv4Packet('10.0.0.1', '10.0.0.2', 100));
  initiator.lane.pumpOutbound(1);
  network.deliver();
  responder.lane.pumpInbound();
  responder.tun.inject(ipv4Packet('10.0.0.2', '10.0.0.1', 100));
  responder.lane.pumpOutbound(1);

  assert.deepEqual(sent, [OLD, NEW, NEW]);
  assert.deepEqual(responder.confirmed, [NEW]);
});

test('key confirmation: a choice of the control plane that was made meanwhile stands', async () => {
  const network = new MemoryNetwork();
  const initiator = await lane(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lane(network, '192.0.2.2', '192.0.2.1', '10.0.0.1');
  responder.addKeypair(OLD, false);
  responder.addKeypair(NEW, true);
  responder.lane.useKeypair(1, NEW);
  initiator.addKeypair(OLD, true);
  initiator.lane.useKeypair(1, OLD);
  initiator.tun.inject(ipv4Packet('10.0.0.1', '10.0.0.2', 100));
  initiator.lane.pumpOutbound(1);
  network.deliver();
  responder.lane.pumpInbound();
  assert.equal(responder.tun.delivered.length, 1);
  // The control plane hears that the other side uses it, and the lane goes on with what it was told.
  assert.deepEqual(responder.confirmed, [OLD]);
  const sent: number[] = [];
  network.intercept((datagram) => {
    sent.push(readU32le(datagram.bytes, TRANSPORT.receiver));
    return [];
  });
  responder.tun.inject(ipv4Packet('10.0.0.2', '10.0.0.1', 100));
  responder.lane.pumpOutbound(1);
  assert.deepEqual(sent, [NEW]);
});
