/** Two lanes as one host, first between fakes that only write down, then with lanes that nobody drives but the test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readU32le } from '../../../../src/core/bytes.ts';
import { NobleTransportAead } from '../../../../src/noise/aead-noble.ts';
import { TRANSPORT } from '../../../../src/noise/messages.ts';
import { MemoryTun } from '../../../../src/tun/memory.ts';
import { MemoryBind, MemoryNetwork } from '../../../../src/tunnel/bind-memory.ts';
import { decodeEndpoint, ENDPOINT, encodeEndpoint, type Endpoint } from '../../../../src/tunnel/endpoint.ts';
import { ACTIVITY, type LaneEvents, type LaneHost } from '../../../../src/tunnel/lane/control.ts';
import { LaneGauges } from '../../../../src/tunnel/lane/gauges.ts';
import { InlineHost } from '../../../../src/tunnel/lane/inline-host.ts';
import { commandSender, eventSender, raiseEvent } from '../../../../src/tunnel/lane/link.ts';
import { LaneNews } from '../../../../src/tunnel/lane/lane-news.ts';
import { createPairHost } from '../../../../src/tunnel/lane/pair-host.ts';
import { FakeClock } from '../../../kit/clock.ts';
import { GuardedArena } from '../../../kit/guarded-arena.ts';
import { ipv4Packet } from '../../../kit/packets.ts';
import { address } from '../../../kit/pair.ts';

type Line = readonly [who: string, what: string, ...args: unknown[]];

/** Lanes that only write down, on one list, what they are told, as the control plane does with what it hears. */
function fakes() {
  const lines: Line[] = [];
  const events: Partial<Record<'out' | 'in', LaneEvents>> = {};
  const { host } = createPairHost(
    (direction, laneEvents): LaneHost => {
      events[direction] = laneEvents;
      const isOut = direction === 'out';
      return {
        ...commandSender(([name, ...args]) => lines.push([direction, name, ...args])),
        start: () => lines.push([direction, 'start']),
        close: async () => {
          await Promise.resolve();
          lines.push([direction, 'closed']);
        },
        counters: () => (isOut ? { txBytes: 5n, rxBytes: 0n } : { txBytes: 0n, rxBytes: 7n }),
        dropped: () => (isOut ? 1n : 2n),
        figures: () => ({
          ...new LaneGauges().figures(isOut ? 0 : 3),
          stagedPackets: isOut ? 4 : 0,
        }),
      };
    },
    eventSender(([name, ...args]) => lines.push(['control', name, ...args])),
  );
  return { host, lines, out: events.out as LaneEvents, in: events.in as LaneEvents };
}

const record = new Uint8Array(ENDPOINT.size).fill(1);
const keypair = {
  peer: 1,
  index: 0xfedc_ba98,
  remoteIndex: 2,
  sendKey: new Uint8Array(32),
  receiveKey: new Uint8Array(32),
  isInitiator: false,
  createdAtMs: 0,
};

test('pair: inbound knows a keypair before outbound sends what may be answered on it', () => {
  const { host, lines } = fakes();
  host.addKeypair(keypair);
  host.sendHandshake(1, new Uint8Array(92));
  assert.deepEqual(
    lines.map(([who, what]) => `${who} ${what}`),
    ['in addKeypair', 'out addKeypair', 'out sendHandshake'],
  );
});

test('pair: what is sent and what waits is outbound business only, so that no drop is counted twice', () => {
  const { host, lines } = fakes();
  host.sendStaged(1);
  host.sendKeepalive(1);
  host.dropStaged(1);
  host.sendTo(record, new Uint8Array(64));
  host.setUp(true);
  assert.ok(lines.every(([who]) => who === 'out'));
});

test('pair: keys, peers and prefixes that go, go from both', () => {
  const { host, lines } = fakes();
  host.removeKeypair(3);
  host.removeAllowedIp(1, address('10.0.0.0'), 8);
  host.removePeer(1);
  for (const lane of ['in', 'out']) {
    const told = lines.filter(([who]) => who === lane).map(([, what]) => what);
    assert.deepEqual(told, ['removeKeypair', 'removeAllowedIp', 'removePeer']);
  }
});

test('pair: an endpoint that inbound has seen is told to both, in one order with those of the control plane', () => {
  const { host, lines, in: inbound } = fakes();
  const other = new Uint8Array(ENDPOINT.size).fill(2);
  host.setEndpoint(1, other);
  inbound.roamed(1, record);
  for (const lane of ['in', 'out']) {
    const told = lines.filter(([who]) => who === lane);
    assert.deepEqual(told, [
      [lane, 'setEndpoint', 1, other],
      [lane, 'setEndpoint', 1, record],
    ]);
  }
  assert.deepEqual(lines.at(-1), ['control', 'roamed', 1, record]);
});

test('pair: a source that outbound gave up is forgotten by inbound, which will learn it anew', () => {
  const { lines, out } = fakes();
  out.activity(1, ACTIVITY.sourceLost, 0);
  assert.deepEqual(lines[0], ['in', 'clearSource', 1]);
});

test('pair: counters are one figure of both, and it is closed when both are', async () => {
  const { host, lines } = fakes();
  assert.deepEqual(host.counters(1), { txBytes: 5n, rxBytes: 7n });
  assert.equal(host.dropped('bad_tag'), 3n);
  const { stagedPackets, handshakesInFlight } = host.figures();
  assert.deepEqual([stagedPackets, handshakesInFlight], [4, 3]);
  await host.close();
  assert.deepEqual(
    lines.map(([who, what]) => `${who} ${what}`),
    ['out closed', 'in closed'],
  );
});

const PORT = 51_820;
const OLD = 1;
const NEW = 2;
const key = (value: number): Uint8Array => new Uint8Array(32).fill(value);

/** A pair with one peer and no control plane: its events are collected, and nobody acts on them. */
async function lanes(
  network: MemoryNetwork,
  own: string,
  other: string,
  innerOther: string,
  ...alsoOwn: readonly string[]
) {
  const arena = new GuardedArena({ bytes: 4 << 20 });
  const tun = new MemoryTun(arena, 'test');
  const bind = new MemoryBind(network, arena, [own, ...alsoOwn].map(address));
  await bind.open(PORT);
  tun.setLink(true);
  const heard: Line[] = [];
  const options = {
    arena,
    aead: new NobleTransportAead(arena),
    clock: new FakeClock(),
    tun,
    bind,
    defer: () => {},
  };
  const news = new LaneNews();
  let isDeaf = false;
  const pair = createPairHost(
    (direction, events) =>
      new InlineHost(
        { ...options, ...(direction === 'out' ? { hears: news } : { tells: news }) },
        eventSender((event) => {
          if (!isDeaf) raiseEvent(events, event);
        }),
      ),
    eventSender(([name, ...args]) => heard.push(['control', name, ...args])),
  );
  const { host } = pair;
  const endpoint: Endpoint = { address: address(other), port: PORT, scope: 0, carrier: 0 };
  const at = new Uint8Array(ENDPOINT.size);
  encodeEndpoint(endpoint, at, 0);
  host.addPeer(1);
  host.setEndpoint(1, at);
  host.addAllowedIp(1, address(innerOther), 32);
  host.setUp(true);
  const addKeypair = (index: number, isInitiator: boolean): void => {
    const [there, back] = [key(index), key(index + 100)];
    const [sendKey, receiveKey] = isInitiator ? [there, back] : [back, there];
    host.addKeypair({ peer: 1, index, remoteIndex: index, sendKey, receiveKey, isInitiator, createdAtMs: 0 });
  };
  const send = (from: string, serial = 0): void => {
    tun.inject(ipv4Packet(from, innerOther, 100, serial));
    pair.out.pumpOutbound(8);
  };
  const receive = (): void => {
    network.deliver();
    pair.in.pumpInbound();
  };
  /** From now on nobody hears what the lanes report. */
  const deafen = (): void => void (isDeaf = true);
  return { host, tun, heard, deafen, addKeypair, send, receive };
}

/** The indices by which transport packets on the wire are addressed. */
function indicesOn(network: MemoryNetwork): number[] {
  const indices: number[] = [];
  network.intercept((datagram) => {
    indices.push(readU32le(datagram.bytes, TRANSPORT.receiver));
    return [datagram];
  });
  return indices;
}

test('pair: no data leaves on an unconfirmed keypair, and the answer to the packet that confirms it does, before the control plane has heard', async () => {
  const network = new MemoryNetwork();
  const indices = indicesOn(network);
  const initiator = await lanes(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lanes(network, '192.0.2.2', '192.0.2.1', '10.0.0.1');
  responder.addKeypair(OLD, false);
  responder.host.useKeypair(1, OLD);
  responder.addKeypair(NEW, false);
  initiator.addKeypair(NEW, true);
  initiator.host.useKeypair(1, NEW);

  responder.send('10.0.0.2');
  initiator.send('10.0.0.1');
  responder.receive();
  responder.send('10.0.0.2');

  assert.deepEqual(indices, [OLD, NEW, NEW]);
  assert.deepEqual(
    responder.heard.filter(([, what]) => what === 'confirmed'),
    [['control', 'confirmed', 1, NEW]],
  );
});

test('pair: without a session packets wait, and none overtakes them once the session is there', async () => {
  const network = new MemoryNetwork();
  const initiator = await lanes(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lanes(network, '192.0.2.2', '192.0.2.1', '10.0.0.1');
  responder.addKeypair(NEW, false);
  responder.send('10.0.0.2', 1);
  responder.send('10.0.0.2', 2);
  initiator.addKeypair(NEW, true);
  initiator.host.useKeypair(1, NEW);
  initiator.send('10.0.0.1');
  responder.receive();
  // Before the control plane says that what waits may go.
  responder.send('10.0.0.2', 3);
  responder.host.useKeypair(1, NEW);
  responder.host.sendStaged(1);
  initiator.receive();
  assert.deepEqual(
    initiator.tun.delivered.map((packet) => packet[5]),
    [1, 2, 3],
  );
  assert.equal(responder.host.dropped('no_session'), 0n);
});

test('pair: a choice of the control plane stands against a confirmation that was under way', async () => {
  const network = new MemoryNetwork();
  const indices = indicesOn(network);
  const initiator = await lanes(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lanes(network, '192.0.2.2', '192.0.2.1', '10.0.0.1');
  responder.addKeypair(OLD, false);
  responder.addKeypair(NEW, true);
  responder.host.useKeypair(1, NEW);
  initiator.addKeypair(OLD, true);
  initiator.host.useKeypair(1, OLD);
  initiator.send('10.0.0.1');
  responder.receive();
  responder.send('10.0.0.2');
  assert.deepEqual(indices, [OLD, NEW]);
});

test('pair: the answer goes to where the packet came from and leaves from where it went, before the control plane has heard', async () => {
  const network = new MemoryNetwork();
  const initiator = await lanes(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lanes(network, '192.0.2.3', '192.0.2.99', '10.0.0.1', '192.0.2.2');
  responder.deafen();
  for (const [side, isInitiator] of [
    [initiator, true],
    [responder, false],
  ] as const) {
    side.addKeypair(NEW, isInitiator);
    side.host.useKeypair(1, NEW);
  }
  initiator.send('10.0.0.1');
  responder.receive();
  const ways: string[] = [];
  network.intercept(({ from, to }) => {
    ways.push(`${from.address.join('.')} to ${to.address.join('.')}`);
    return [];
  });
  responder.send('10.0.0.2');
  assert.deepEqual(ways, ['192.0.2.2 to 192.0.2.1']);
});

test('pair: a sticky source alone is told to the control plane, too, so that both lanes end with the same', async () => {
  const network = new MemoryNetwork();
  const initiator = await lanes(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lanes(network, '192.0.2.2', '192.0.2.1', '10.0.0.1');
  responder.addKeypair(NEW, false);
  initiator.addKeypair(NEW, true);
  initiator.host.useKeypair(1, NEW);
  initiator.send('10.0.0.1');
  responder.receive();
  const [, , , roamed] = responder.heard.find(([, what]) => what === 'roamed') ?? assert.fail('not told');
  assert.deepEqual(decodeEndpoint(roamed as Uint8Array, 0)?.source?.address, address('192.0.2.2'));
});

test('pair: what inbound has learnt before the control plane chose another endpoint does not come after it', async () => {
  const network = new MemoryNetwork();
  const initiator = await lanes(network, '192.0.2.1', '192.0.2.2', '10.0.0.2');
  const responder = await lanes(network, '192.0.2.2', '192.0.2.99', '10.0.0.1');
  responder.deafen();
  for (const [side, isInitiator] of [
    [initiator, true],
    [responder, false],
  ] as const) {
    side.addKeypair(NEW, isInitiator);
    side.host.useKeypair(1, NEW);
  }
  initiator.send('10.0.0.1');
  responder.receive();
  const chosen = new Uint8Array(ENDPOINT.size);
  encodeEndpoint({ address: address('192.0.2.55'), port: PORT, scope: 0, carrier: 0 }, chosen, 0);
  responder.host.setEndpoint(1, chosen);
  const to: string[] = [];
  network.intercept((datagram) => {
    to.push(datagram.to.address.join('.'));
    return [];
  });
  responder.send('10.0.0.2');
  assert.deepEqual(to, ['192.0.2.55']);
});
