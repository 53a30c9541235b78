/**
 * Many peers on one lane: what looking them up and sending to them costs, and what each takes of memory. Packets come
 * from memory, each to the next of the active peers, so neither caches nor batches of one peer help; sealed in
 * WebAssembly.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { leastNanoseconds } from '../../src/app/bench/measure.ts';
import { Arena } from '../../src/core/arena.ts';
import { WasmTransportAead } from '../../src/noise/aead-wasm.ts';
import type { PacketPort } from '../../src/tun/tun.ts';
import type { DatagramBatch, DatagramPort } from '../../src/tunnel/bind.ts';
import { ENDPOINT, encodeEndpoint } from '../../src/tunnel/endpoint.ts';
import { Lane } from '../../src/tunnel/lane/lane.ts';
import { ipv4Packet } from '../../test/kit/packets.ts';

export interface PeersResult {
  readonly peers: number;
  readonly active: number;
  /** Nanoseconds from the TUN to the bind. */
  readonly nsPerPacket: number;
  /** Of the lane: tables, keys and a session in use. The control plane has its own. */
  readonly arenaBytesPerPeer: number;
  readonly heapBytesPerPeer: number;
}

const COUNTS = [1, 10, 100, 1_000, 10_000];
const MAX_ACTIVE = 1_000;
const BURST = 64;
const SIZE = 100;
const SENDER = '10.255.0.1';

export function benchPeers(say: (line: string) => void): readonly PeersResult[] {
  return COUNTS.map((peers) => {
    const result = measure(peers);
    say(
      `${String(peers).padStart(6)} peers, ${String(result.active).padStart(5)} active ` +
        `${Math.round(result.nsPerPacket).toString().padStart(6)} ns a packet, ` +
        `${result.arenaBytesPerPeer} + ${result.heapBytesPerPeer} bytes a peer`,
    );
    return result;
  });
}

function measure(peers: number): PeersResult {
  const arena = new Arena({ bytes: 32 << 20 });
  const active = Math.min(peers, MAX_ACTIVE);
  const tun = new NextPeer(arena, peers, active);
  const wire = new Nowhere();
  const lane = new Lane({
    arena,
    aead: new WasmTransportAead(arena),
    // A session of no age: nothing expires and nothing is rekeyed.
    clock: { now: () => 0, wall: () => 0 },
    tun,
    bind: wire,
    events: { handshake: () => {}, activity: () => {}, confirmed: () => {}, roamed: () => {} },
  });
  const free = arena.free;
  const heap = heapBytes();
  for (let i = 0; i < peers; i++) addPeer(lane, i);
  const arenaBytesPerPeer = Math.round((free - arena.free) / peers);
  const heapBytesPerPeer = Math.round((heapBytes() - heap) / peers);
  lane.setUp(true);
  const [ns = Number.NaN] = leastNanoseconds([
    () => {
      tun.waiting = BURST;
      lane.pumpOutbound(BURST);
    },
  ]);
  if (wire.sent === 0 || wire.sent % BURST !== 0) throw new Error(`${wire.sent} packets left the lane`);
  return { peers, active, nsPerPacket: ns / BURST, arenaBytesPerPeer, heapBytesPerPeer };
}

function addressOf(peer: number): Uint8Array {
  return Uint8Array.of(10, peer >> 16, (peer >> 8) & 255, peer & 255);
}

function addPeer(lane: Lane, i: number): void {
  const id = i + 1;
  const endpoint = new Uint8Array(ENDPOINT.size);
  encodeEndpoint({ address: addressOf(i), port: 1, scope: 0, carrier: 0 }, endpoint, 0);
  const key = new Uint8Array(32).fill(i);
  lane.addPeer(id);
  lane.setEndpoint(id, endpoint);
  lane.addAllowedIp(id, addressOf(i), 32);
  const keys = { sendKey: key, receiveKey: key, index: id, remoteIndex: id };
  lane.addKeypair({ peer: id, ...keys, isInitiator: true, createdAtMs: 0 });
  lane.useKeypair(id, id);
}

/** The heap without garbage, and what typed arrays hold outside of it. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Packets to active peers in turn, which lie evenly among all. */
class NextPeer implements PacketPort {
  readonly #arena: Arena;
  readonly #packet: number;
  readonly #step: number;
  readonly #peers: number;
  #next = 0;
  waiting = 0;

  constructor(arena: Arena, peers: number, active: number) {
    this.#arena = arena;
    this.#peers = peers;
    this.#step = Math.floor(peers / active);
    this.#packet = arena.alloc(SIZE);
    arena.u8.set(ipv4Packet(SENDER, '10.0.0.0', SIZE), this.#packet);
  }

  read(at: number): number {
    if (this.waiting === 0) return 0;
    this.waiting--;
    this.#arena.u8.copyWithin(at, this.#packet, this.#packet + SIZE);
    this.#arena.view.setUint32(at + 16, (10 << 24) | this.#next);
    this.#next += this.#step;
    if (this.#next >= this.#peers) this.#next = 0;
    return SIZE;
  }

  write(_at: number, length: number): number {
    return length;
  }

  flush(): number {
    return 0;
  }

  onReadable(): void {}
}

class Nowhere implements DatagramPort {
  readonly batchSize = BURST;
  readonly sendErrors = { full: 0, tooLarge: 0, unreachable: 0, other: 0 };
  sent = 0;

  send(batch: DatagramBatch): void {
    this.sent += batch.count;
  }

  receive(): number {
    return 0;
  }

  onReadable(): void {}
}
