/**
 * A program that sends datagrams to a device as fast as it is told, by sendmmsg: `node flooder.js FLOOD`, with a Flood
 * as JSON. Prints a FloodReport as JSON when it has sent them all.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Arena } from '../../src/core/arena.ts';
import { systemClock } from '../../src/core/clock.ts';
import { parseAddress } from '../../src/core/ip.ts';
import { systemRandom, uniform } from '../../src/core/random.ts';
import { wasmBlake2s } from '../../src/noise/blake2s-wasm.ts';
import { CookieGenerator } from '../../src/noise/cookie.ts';
import { nodeCrypto } from '../../src/noise/crypto-node.ts';
import { Handshake } from '../../src/noise/handshake.ts';
import { LocalIdentity } from '../../src/noise/identity.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../src/noise/keys.ts';
import { INITIATION, RESPONSE } from '../../src/noise/messages.ts';
import { Timestamps } from '../../src/noise/tai64n.ts';
import { UdpSocket } from '../../src/sys/udp-socket.ts';
import { DatagramBatch } from '../../src/tunnel/bind.ts';
import { ENDPOINT, encodeEndpoint } from '../../src/tunnel/endpoint.ts';
import { LinuxDatagrams } from '../../src/tunnel/linux-datagrams.ts';

/** What is in the datagrams. */
export type FloodKind =
  /** Anything, of any size up to 1500 bytes. */
  | 'random'
  /** Initiations with a right mac1 and nonsense behind it, all from one address. */
  | 'initiations'
  /** The same, each from another address of `sources`. */
  | 'spoofed-initiations'
  /** A packet of a real session again and again; the key of `privateKey` must be a peer. */
  | 'replay'
  /** 65,507 bytes, the most that IPv4 carries, of each message type. */
  | 'oversized';

export interface Flood {
  readonly kind: FloodKind;
  readonly address: string;
  readonly port: number;
  /** The device's, base64. */
  readonly publicKey: string;
  /** Base64; for `replay`. */
  readonly privateKey?: string;
  /** The first two bytes of the addresses to send from; the machine must take all of them for its own. */
  readonly sources?: readonly [number, number];
  readonly count: number;
  readonly perSecond: number;
}

export interface FloodReport {
  readonly sent: number;
  /** The sender's own socket was full. */
  readonly unsent: number;
  readonly seconds: number;
}

const VARIANTS = 2048;
/** More than the tables of a device hold. */
const SPOOFED_SOURCES = 16_384;
const MAX_IPV4_PAYLOAD = 65_507;
const OVERSIZED_VARIANTS = 5;
const BURST = 64;

class Flooder {
  readonly #flood: Flood;
  readonly #arena = new Arena({ bytes: 16 << 20 });
  readonly #crypto = nodeCrypto(wasmBlake2s());
  readonly #datagrams = new LinuxDatagrams(this.#arena, { gso: false, gro: false, maxWaitMs: 50 });
  readonly #remote: PublicKey;
  readonly #at: number[] = [];
  readonly #length: number[] = [];
  readonly #records: number[] = [];

  constructor(flood: Flood) {
    this.#flood = flood;
    this.#remote = new PublicKey(new Uint8Array(Buffer.from(flood.publicKey, 'base64')));
    this.#datagrams.use(new UdpSocket(4, 0).fd, -1);
    const isSpoofed = flood.kind === 'spoofed-initiations';
    for (let i = 0; i < (isSpoofed ? SPOOFED_SOURCES : 1); i++)
      this.#records.push(this.#record(i, isSpoofed));
  }

  async run(): Promise<FloodReport> {
    for (const message of await this.#messages()) this.#place(message);
    const batch = new DatagramBatch(BURST);
    const start = systemClock.now();
    const { count, perSecond } = this.#flood;
    let sent = 0;
    while (sent < count) {
      const due = Math.min(count, (perSecond * (systemClock.now() - start)) / 1000);
      if (sent >= due) {
        await pause(1);
        continue;
      }
      while (sent < due) {
        batch.clear();
        for (; batch.count < BURST && sent < count; sent++)
          batch.push(
            this.#at[sent % this.#at.length] as number,
            this.#length[sent % this.#at.length] as number,
            this.#records[sent % this.#records.length] as number,
            0,
          );
        this.#datagrams.send(batch);
      }
    }
    const { full, other, tooLarge, unreachable } = this.#datagrams.sendErrors;
    const unsent = full + other + tooLarge + unreachable;
    return { sent: sent - unsent, unsent, seconds: (systemClock.now() - start) / 1000 };
  }

  #record(i: number, isSpoofed: boolean): number {
    const record = this.#arena.alloc(ENDPOINT.size, 16);
    const address = parseAddress(this.#flood.address) ?? new Uint8Array(4);
    const [first = 0, second = 0] = this.#flood.sources ?? [];
    const source = { address: Uint8Array.of(first, second, i >> 8, i & 255), interfaceIndex: 0 };
    const endpoint = {
      address,
      port: this.#flood.port,
      scope: 0,
      carrier: 0,
      ...(isSpoofed ? { source } : {}),
    };
    encodeEndpoint(endpoint, this.#arena.u8, record);
    return record;
  }

  #place(message: Uint8Array): void {
    const at = this.#arena.alloc(message.length);
    this.#arena.u8.set(message, at);
    this.#at.push(at);
    this.#length.push(message.length);
  }

  async #messages(): Promise<Uint8Array[]> {
    switch (this.#flood.kind) {
      case 'random':
        return Array.from({ length: VARIANTS }, () => random(uniform(systemRandom, 1500)));
      case 'initiations':
      case 'spoofed-initiations':
        return Array.from({ length: VARIANTS }, () => this.#nonsense());
      case 'replay':
        return [await this.#session()];
      case 'oversized':
        return Array.from({ length: OVERSIZED_VARIANTS }, (_, type) => {
          const message = random(MAX_IPV4_PAYLOAD);
          message.set([type, 0, 0, 0]);
          return message;
        });
      default:
        return this.#flood.kind satisfies never;
    }
  }

  #nonsense(): Uint8Array {
    const message = random(INITIATION.size);
    message.set([1, 0, 0, 0]);
    new CookieGenerator(this.#crypto, this.#remote).addMacs(message, 0);
    return message;
  }

  /** A sealed keepalive of a session that this program has just made as a peer. It is sent once, so that all are replays. */
  async #session(): Promise<Uint8Array> {
    const key = new PrivateKey(new Uint8Array(Buffer.from(this.#flood.privateKey ?? '', 'base64')));
    const identity = new LocalIdentity(this.#crypto, key);
    const handshake = new Handshake(identity, this.#remote, PresharedKey.none, systemRandom);
    const initiation = handshake.createInitiation(1, new Timestamps(systemClock).next());
    if (!initiation) throw new Error('no handshake is possible');
    new CookieGenerator(this.#crypto, this.#remote).addMacs(initiation, 0);
    this.#sendOne(initiation);
    const received = new DatagramBatch(this.#datagrams.batchSize);
    while (this.#datagrams.receive(received) === 0) await pause(5);
    const at = received.at[0] as number;
    if (!handshake.consumeResponse(this.#arena.u8.slice(at, at + RESPONSE.size))) throw new Error('refused');
    const keys = handshake.deriveKeypair();
    if (!keys) throw new Error('no keys');
    const empty = new Uint8Array(0);
    const tag = this.#crypto.aead.seal(keys.send, new Uint8Array(12), empty, empty);
    const message = new Uint8Array(32);
    const view = new DataView(message.buffer);
    view.setUint32(0, 4, true);
    view.setUint32(4, keys.remoteIndex, true);
    message.set(tag, 16);
    this.#sendOne(message);
    return message;
  }

  #sendOne(message: Uint8Array): void {
    const at = this.#arena.alloc(message.length);
    this.#arena.u8.set(message, at);
    const batch = new DatagramBatch(1);
    batch.push(at, message.length, this.#records[0] as number, 0);
    this.#datagrams.send(batch);
  }
}

function random(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  systemRandom.fill(bytes);
  return bytes;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await new Flooder(JSON.parse(process.argv[2] ?? '') as Flood).run();
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
