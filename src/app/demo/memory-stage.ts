/** The stage without any rights: both devices in this process, with interfaces and a wire in memory. */
import { setImmediate as turn } from 'node:timers/promises';
import { Arena } from '../../core/arena.ts';
import { systemClock } from '../../core/clock.ts';
import { AppError } from '../../core/errors.ts';
import { type Address, formatAddress } from '../../core/ip.ts';
import { systemRandom } from '../../core/random.ts';
import { createTransportAead } from '../../noise/aead-choose.ts';
import type { TransportAead } from '../../noise/aead.ts';
import { wasmBlake2s } from '../../noise/blake2s-wasm.ts';
import { nodeCrypto } from '../../noise/crypto-node.ts';
import { MemoryTun } from '../../tun/memory.ts';
import { PROTOCOL } from '../../tun/packet.ts';
import { MemoryBind, MemoryNetwork } from '../../tunnel/bind-memory.ts';
import { Device } from '../../tunnel/device.ts';
import { type Endpoint, formatEndpoint } from '../../tunnel/endpoint.ts';
import { InlineHost } from '../../tunnel/lane/inline-host.ts';
import { readTuning } from '../tuning.ts';
import { echoReply, echoRequest, ipv4Packet, isReply } from './echo.ts';
import { ALICE, BOB, HandshakeLog, Party } from './party.ts';
import type { Amount, Both, DeviceReport, DeviceFacts, Handshake, Stage, Transfer } from './stage.ts';

const ARENA_BYTES: number = 4 << 20;
/** Documentation addresses (RFC 5737): nobody's. */
const OUTER_ALICE: Address = Uint8Array.of(192, 0, 2, 1);
const OUTER_BOB: Address = Uint8Array.of(192, 0, 2, 2);
const TIMER_MS = 100;
const PROGRESS_MS = 200;
/** Packets handed to the device at once, and how long before the event loop gets its turn. */
const BURST_PACKETS = 64;
const SLICE_MS = 10;

export class MemoryStage implements Stage {
  readonly kind = 'memory';
  readonly #network = new MemoryNetwork();
  readonly #alice = new End('alice', ALICE, OUTER_ALICE, this.#network);
  readonly #bob = new End('bob', BOB, OUTER_BOB, this.#network);
  readonly #timer: NodeJS.Timeout;
  #isDelivering = false;
  #sequence = 0;
  #isClosed = false;

  constructor() {
    // Whatever is sent arrives in a later turn, as on a real wire.
    this.#network.intercept((datagram) => {
      if (!this.#isDelivering) setImmediate(() => this.#deliver());
      this.#isDelivering = true;
      return [datagram];
    });
    this.#timer = setInterval(() => {
      for (const { device } of [this.#alice, this.#bob]) device.advance(systemClock.now());
    }, TIMER_MS);
  }

  #deliver(): void {
    this.#isDelivering = false;
    this.#network.deliver();
  }

  async open(): Promise<Both<DeviceFacts>> {
    await Promise.all([this.#alice.open(), this.#bob.open()]);
    return { alice: this.#alice.facts(), bob: this.#bob.facts() };
  }

  async connect(): Promise<Handshake> {
    await this.#bob.party.expect(this.#alice.publicKey, ALICE);
    return this.#alice.party.call(this.#bob.publicKey, BOB, this.#bob.endpoint());
  }

  async ping(timeoutMs: number): Promise<number | undefined> {
    const sequence = ++this.#sequence;
    const start = systemClock.now();
    this.#alice.tun.inject(echoRequest(ALICE, BOB, sequence));
    for (;;) {
      await turn();
      this.#assertOpen();
      for (const packet of this.#bob.received()) {
        const reply = echoReply(packet);
        if (reply) this.#bob.tun.inject(reply);
      }
      const now = systemClock.now();
      if (this.#alice.received().some((packet) => isReply(packet, ALICE, sequence))) return now - start;
      if (now - start > timeoutMs) return undefined;
    }
  }

  async transfer(durationMs: number, onProgress: (soFar: Amount) => void): Promise<Transfer> {
    const packet = ipv4Packet(ALICE, BOB, PROTOCOL.udp, this.#alice.tun.mtu);
    const burst = Array.from<Uint8Array>({ length: BURST_PACKETS }).fill(packet);
    const start = systemClock.now();
    let nextProgress = start + PROGRESS_MS;
    let [bytes, packets] = [0, 0];
    for (let now = start; now - start < durationMs;) {
      for (const sliceEnd = now + SLICE_MS; now < sliceEnd; now = systemClock.now()) {
        this.#alice.tun.inject(...burst);
        this.#network.deliver();
        for (const { length } of this.#bob.received()) {
          bytes += length;
          packets++;
        }
      }
      if (now >= nextProgress) {
        onProgress({ bytes, ms: now - start });
        nextProgress = now + PROGRESS_MS;
      }
      await turn();
      this.#assertOpen();
    }
    const ms = systemClock.now() - start;
    return { bytes, ms, packets: { there: packets, resent: 0, back: 0, overflowed: 0 } };
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new AppError('io', 'the stage was closed');
  }

  report(): Promise<Both<DeviceReport>> {
    return Promise.resolve({ alice: this.#alice.report(), bob: this.#bob.report() });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await Promise.all([this.#alice.close(), this.#bob.close()]);
  }
}

/** A device with its TUN and its place on the wire. */
class End {
  readonly #inner: Address;
  readonly #bind: MemoryBind;
  readonly #crypto = nodeCrypto(wasmBlake2s());
  readonly #aead: TransportAead;
  readonly tun: MemoryTun;
  readonly device: Device;
  readonly party: Party;
  publicKey = '';

  constructor(name: string, inner: Address, outer: Address, network: MemoryNetwork) {
    const arena = new Arena({ bytes: ARENA_BYTES });
    const log = new HandshakeLog();
    this.#inner = inner;
    const { aead: wanted } = readTuning(process.env);
    this.#aead = createTransportAead(arena, { wanted, clock: systemClock }).aead;
    this.#bind = new MemoryBind(network, arena, [outer]);
    this.tun = new MemoryTun(arena, name);
    const lane = { arena, aead: this.#aead, clock: systemClock, tun: this.tun, bind: this.#bind };
    this.device = new Device({
      crypto: this.#crypto,
      clock: systemClock,
      random: systemRandom,
      logger: log,
      bind: this.#bind,
      defer: setImmediate,
      createLane: (events) => new InlineHost({ ...lane, defer: setImmediate }, events),
    });
    this.party = new Party(this.device, log, systemClock);
  }

  async open(): Promise<void> {
    this.tun.setLink(true);
    await this.device.up();
    this.publicKey = await this.party.begin(systemRandom);
  }

  endpoint(): Endpoint {
    const [address] = this.#bind.addresses;
    if (!address) throw new AppError('internal', 'the bind has no address');
    return { address, port: this.device.state().listenPort, scope: 0, carrier: 0 };
  }

  facts(): DeviceFacts {
    return {
      address: formatAddress(this.#inner),
      endpoint: formatEndpoint(this.endpoint()),
      mtu: this.tun.mtu,
    };
  }

  report(): DeviceReport {
    return {
      ...this.party.counters(),
      engine: {
        lanes: 'inline',
        tunFormat: 'plain',
        transport: this.#aead.name,
        x25519: this.#crypto.x25519.name,
        blake2s: this.#crypto.blake2s.name,
        laneThreads: [],
        gso: 'off',
        gro: 'off',
        queues: [],
      },
    };
  }

  /** Packets that came out of the tunnel since the last call. */
  received(): Uint8Array[] {
    return this.tun.delivered.splice(0);
  }

  async close(): Promise<void> {
    await this.device.close();
    this.tun.close();
  }
}
