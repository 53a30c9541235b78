/** A device that runs: any bytes from the network, any bytes from the TUN. */
import assert from 'node:assert/strict';
import { formatEndpoint } from '../../src/tunnel/endpoint.ts';
import type { WireDatagram } from '../../src/tunnel/bind-memory.ts';
import { CookieGenerator } from '../../src/noise/cookie.ts';
import { nodeCrypto } from '../../src/noise/crypto-node.ts';
import { ipv4Packet, ipv6Packet } from '../kit/packets.ts';
import { pair, type End, type Pair } from '../kit/pair.ts';
import { Stranger, endpoint } from '../kit/stranger.ts';
import { type FuzzTarget, joinPieces, pieces } from './target.ts';

const ELSEWHERE = endpoint('203.0.113.66', 6666);

function total(end: End): number {
  return Object.values(end.drops()).reduce((sum, count) => sum + count, 0);
}

/** A pair that has exchanged every kind of message, and a copy of each datagram. */
export async function experienced(): Promise<Pair & { readonly recorded: readonly WireDatagram[] }> {
  const both = await pair();
  const { alice, bob, wire, world, toBob, toAlice } = both;
  const stranger = new Stranger(world, bob);
  wire.inject(...Array.from({ length: 200 }, () => stranger.datagram(new Uint8Array(148).fill(1, 0, 1))));
  alice.send(toBob(), toBob());
  world.advance(6000);
  bob.send(toAlice(), toAlice());
  world.advance(10_000);
  const recorded = [...wire.sent];
  const types = new Set(recorded.map(({ bytes }) => bytes[0]));
  assert.deepEqual(
    [...types].toSorted((a = 0, b = 0) => a - b),
    [1, 2, 3, 4],
  );
  for (const end of [alice, bob]) end.received();
  wire.clear();
  return { ...both, recorded };
}

/** What must be as it was after anything forged: no packet, no move, no answer, and the session works. */
export function checkUnimpressed({ alice, bob, wire, toBob, toAlice }: Pair): void {
  assert.deepEqual([alice.received().length, bob.received().length], [0, 0]);
  assert.equal(wire.sent.length, 0);
  for (const [end, other] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const shown = end.peer(other).endpoint;
    assert.equal(shown && formatEndpoint(shown), formatEndpoint(other.endpoint));
  }
  const [there, back] = [toBob(), toAlice()];
  alice.send(there);
  bob.send(back);
  assert.deepEqual([bob.received(), alice.received()], [[there], [back]]);
  assert.equal(wire.initiations().length, 0);
  wire.clear();
}

/** After so many inputs the stage is set anew: sessions have a limited life and logs grow. */
const INPUTS_PER_STAGE = 500;

/**
 * Pieces of the input are datagrams to Bob, from where nobody is. Handshake messages of the right length get a right
 * mac1 when the first byte of the input is odd, so that the bytes behind it matter.
 */
const datagrams: FuzzTarget = {
  name: 'datagrams',
  maxBytes: 4096,
  seeds: () =>
    [1, 2, 3, 4].flatMap((type) => {
      const message = new Uint8Array({ 1: 148, 2: 92, 3: 64, 4: 160 }[type] ?? 0);
      message[0] = type;
      return [0, 1].map((isSigned) => Uint8Array.of(isSigned, ...joinPieces([message, message])));
    }),
  prepare: async () => {
    let stage = await experienced();
    let macs = new CookieGenerator(nodeCrypto(), stage.bob.publicKey);
    let inputs = 0;
    return async (bytes) => {
      if (++inputs % INPUTS_PER_STAGE === 0) {
        stage = await experienced();
        macs = new CookieGenerator(nodeCrypto(), stage.bob.publicKey);
      }
      const { bob, wire, world, recorded } = stage;
      const list = [...pieces(bytes.subarray(1))].slice(0, 60);
      const before = total(bob);
      for (const piece of list) {
        // A type of 0x80 and more stands for a recorded datagram with the rest of the piece laid over it.
        const recording =
          (piece[0] ?? 0) & 0x80 ? recorded[(piece[1] ?? 0) % recorded.length]?.bytes : undefined;
        const datagram = recording === undefined ? piece : overlay(recording, piece);
        if (((bytes[0] ?? 0) & 1) === 1 && (datagram.length === 148 || datagram.length === 92))
          macs.addMacs(datagram, 0);
        wire.inject({ bytes: datagram, from: ELSEWHERE, to: bob.endpoint, tos: datagram.length & 255 });
        world.settle();
      }
      assert.equal(total(bob) - before, list.length, 'each datagram is counted once');
      checkUnimpressed(stage);
    };
  },
};

/** The bytes behind the first two of `piece` from the place that the third names. */
function overlay(recording: Uint8Array, piece: Uint8Array): Uint8Array {
  const copy = recording.slice();
  const at = (piece[2] ?? 0) % copy.length;
  copy.set(piece.subarray(3, 3 + copy.length - at), at);
  return copy;
}

const tunPackets: FuzzTarget = {
  name: 'tun-packets',
  maxBytes: 4096,
  seeds: () => [
    joinPieces([ipv4Packet('10.0.0.1', '10.0.0.2', 60), ipv4Packet('10.0.0.1', '10.0.0.9', 60)]),
    joinPieces([ipv6Packet('fd00::1', 'fd00::2', 80), ipv6Packet('fd00::1', 'fd00::9', 80)]),
  ],
  prepare: async () => {
    let stage = await experienced();
    let inputs = 0;
    return async (bytes) => {
      if (++inputs % INPUTS_PER_STAGE === 0) stage = await experienced();
      const { alice, bob, wire, toBob } = stage;
      const packets = [...pieces(bytes)]
        .map((piece) => piece.slice(0, 1420))
        .filter(({ length }) => length > 0);
      const before = total(alice) + total(bob);
      for (const packet of packets) alice.send(packet);
      const delivered = bob.received();
      // Bob takes only what has Alice's address and a right length, and cuts what lies behind that.
      assert.equal(delivered.length + total(alice) + total(bob) - before, packets.length);
      alice.received();
      const packet = toBob();
      alice.send(packet);
      assert.deepEqual(bob.received(), [packet]);
      wire.clear();
    };
  },
};

export const deviceTargets: readonly FuzzTarget[] = [datagrams, tunPackets];
