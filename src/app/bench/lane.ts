/**
 * The data path without a network: packets come from memory and datagrams go to memory, so what is measured is lookup,
 * padding, sealing, headers, opening, replay window and source check. One peer that talks to itself.
 */
import { Arena } from '../../core/arena.ts';
import { AppError } from '../../core/errors.ts';
import { AEAD_FACTORIES, type AeadName } from '../../noise/aead-choose.ts';
import type { PacketPort } from '../../tun/tun.ts';
import { type DatagramBatch, type DatagramPort, allocEndpoints } from '../../tunnel/bind.ts';
import { ENDPOINT, encodeEndpoint } from '../../tunnel/endpoint.ts';
import { DROP_REASONS } from '../../tunnel/lane/drops.ts';
import { Lane } from '../../tunnel/lane/lane.ts';
import { ipv4Packet } from '../demo/echo.ts';
import { ROUNDS, type Row, type Step, timings } from './measure.ts';

const SIZES = [100, 512, 1420];
/** Packets of one read of super-packets; as many as a batch of datagrams takes. */
const BURST = 64;
const SLOT_BYTES = 2048;

const PEER = 1;
const INDEX = 7;
const ADDRESS = Uint8Array.of(10, 0, 0, 1);

export function laneSteps(sizes: readonly number[] = SIZES, rounds: number = ROUNDS): Step[] {
  return sizes.flatMap((size) =>
    (Object.keys(AEAD_FACTORIES) as AeadName[]).map((aead) => ({
      label: `lane, ${size} B, ${aead}`,
      run: () => measure(aead, size, rounds),
    })),
  );
}

function measure(aead: AeadName, size: number, rounds: number): Row[] {
  const loop = openLoop(aead, size);
  if (!loop) return [];
  const [out, both] = timings([() => loop.out(), () => loop.outAndIn()], rounds);
  loop.check();
  if (!out || !both) return [];
  const common = { backend: aead, bytes: size, unit: 'packets/s' as const };
  return [
    { operation: `TUN to UDP ${size} B`, ns: out.ns / BURST, spread: out.spread, ...common },
    { operation: `UDP to TUN ${size} B`, ns: (both.ns - out.ns) / BURST, spread: both.spread, ...common },
  ];
}

/** Undefined when the machine lacks the backend. */
function openLoop(aead: AeadName, size: number): LaneLoop | undefined {
  try {
    return new LaneLoop(aead, size);
  } catch (error) {
    if (error instanceof AppError && error.code === 'unavailable') return undefined;
    throw error;
  }
}

class LaneLoop {
  readonly #lane: Lane;
  readonly #tun: MemoryPackets;
  readonly #wire: MemoryWire;
  #rounds = 0;

  constructor(aead: AeadName, size: number) {
    const arena = new Arena({ bytes: 4 << 20 });
    this.#tun = new MemoryPackets(arena, size);
    this.#wire = new MemoryWire(arena);
    this.#lane = new Lane({
      arena,
      aead: AEAD_FACTORIES[aead](arena),
      // A session of no age: nothing expires and nothing is rekeyed.
      clock: { now: () => 0, wall: () => 0 },
      tun: this.#tun,
      bind: this.#wire,
      events: { handshake: () => {}, activity: () => {}, confirmed: () => {}, roamed: () => {} },
    });
    const endpoint = new Uint8Array(ENDPOINT.size);
    encodeEndpoint({ address: Uint8Array.of(127, 0, 0, 1), port: 1, scope: 0, carrier: 0 }, endpoint, 0);
    const key = new Uint8Array(32).fill(7);
    this.#lane.addPeer(PEER);
    this.#lane.setEndpoint(PEER, endpoint);
    this.#lane.addAllowedIp(PEER, ADDRESS, 32);
    const keys = { sendKey: key, receiveKey: key, index: INDEX, remoteIndex: INDEX };
    this.#lane.addKeypair({ peer: PEER, ...keys, isInitiator: true, createdAtMs: 0 });
    this.#lane.useKeypair(PEER, INDEX);
    this.#lane.setUp(true);
    arena.u8.set(endpoint, this.#wire.endpoint);
  }

  out(): void {
    this.#tun.waiting = BURST;
    this.#wire.forget();
    this.#lane.pumpOutbound(BURST);
  }

  outAndIn(): void {
    this.out();
    this.#rounds++;
    while (this.#lane.pumpInbound() > 0);
  }

  /** Throws when packets were lost: then it was not the data path that was measured. */
  check(): void {
    const dropped = DROP_REASONS.filter((reason) => this.#lane.dropped(reason) > 0n);
    if (dropped.length > 0 || this.#tun.written !== this.#rounds * BURST)
      throw new AppError('internal', `the lane lost packets: ${dropped.join(', ') || 'not all arrived'}`);
  }
}

/** Always the same packet. */
class MemoryPackets implements PacketPort {
  readonly #arena: Arena;
  readonly #packet: number;
  readonly #size: number;
  waiting = 0;
  written = 0;

  constructor(arena: Arena, size: number) {
    this.#arena = arena;
    this.#size = size;
    this.#packet = arena.alloc(SLOT_BYTES);
    arena.u8.set(ipv4Packet(ADDRESS, ADDRESS, 17, size), this.#packet);
  }

  read(at: number): number {
    if (this.waiting === 0) return 0;
    this.waiting--;
    this.#arena.u8.copyWithin(at, this.#packet, this.#packet + this.#size);
    return this.#size;
  }

  write(_at: number, length: number): number {
    this.written++;
    return length;
  }

  flush(): number {
    return 0;
  }

  onReadable(): void {}
}

/** What is sent is received. */
class MemoryWire implements DatagramPort {
  readonly batchSize: number = BURST;
  readonly sendErrors = { full: 0, tooLarge: 0, unreachable: 0, other: 0 };
  readonly endpoint: number;
  readonly #arena: Arena;
  readonly #slots: number;
  readonly #lengths = new Uint32Array(BURST);
  #count = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#slots = arena.alloc(BURST * SLOT_BYTES);
    this.endpoint = allocEndpoints(arena, 1);
  }

  forget(): void {
    this.#count = 0;
  }

  send(batch: DatagramBatch): void {
    for (let i = 0; i < batch.count && this.#count < BURST; i++) {
      const at = batch.at[i] as number;
      const length = batch.length[i] as number;
      this.#arena.u8.copyWithin(this.#slots + this.#count * SLOT_BYTES, at, at + length);
      this.#lengths[this.#count++] = length;
    }
  }

  receive(batch: DatagramBatch): number {
    batch.clear();
    for (let i = 0; i < this.#count; i++)
      batch.push(this.#slots + i * SLOT_BYTES, this.#lengths[i] as number, this.endpoint, 0);
    this.#count = 0;
    return batch.count;
  }

  onReadable(): void {}
}
