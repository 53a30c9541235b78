/**
 * A program that is many peers of one device, who all lost their sessions at once: `node storm.js ORDER`, with a Storm as
 * JSON. Prints their public keys as a JSON array; at a line on standard input they call. Each asks again every five
 * seconds as WireGuard does, with the cookie that it was given, and confirms its session with a keepalive. Prints a
 * StormReport as JSON when all are connected or time is up.
 */
import { createInterface } from 'node:readline/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { Arena } from '../../src/core/arena.ts';
import { systemClock } from '../../src/core/clock.ts';
import { parseAddress } from '../../src/core/ip.ts';
import { systemRandom, uniform } from '../../src/core/random.ts';
import { wasmBlake2s } from '../../src/noise/blake2s-wasm.ts';
import { REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER_MAX } from '../../src/noise/constants.ts';
import { CookieGenerator } from '../../src/noise/cookie.ts';
import { nodeCrypto } from '../../src/noise/crypto-node.ts';
import { Handshake } from '../../src/noise/handshake.ts';
import { LocalIdentity } from '../../src/noise/identity.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../src/noise/keys.ts';
import {
  INITIATION,
  MESSAGE_COOKIE_REPLY,
  MESSAGE_RESPONSE,
  MESSAGE_TRANSPORT,
  TRANSPORT,
} from '../../src/noise/messages.ts';
import { Timestamps } from '../../src/noise/tai64n.ts';
import { UdpSocket } from '../../src/sys/udp-socket.ts';
import { DatagramBatch } from '../../src/tunnel/bind.ts';
import { ENDPOINT, encodeEndpoint } from '../../src/tunnel/endpoint.ts';
import { LinuxDatagrams } from '../../src/tunnel/linux-datagrams.ts';

export interface Storm {
  readonly address: string;
  readonly port: number;
  /** The device's, base64. */
  readonly publicKey: string;
  /** The first two bytes of the addresses of the peers, one each; the machine must take all of them for its own. */
  readonly sources: readonly [number, number];
  /** 65,536 at most. */
  readonly peers: number;
  readonly maxSeconds: number;
}

export interface StormReport {
  readonly connected: number;
  readonly seconds: number;
  readonly initiations: number;
  readonly cookies: number;
}

const EMPTY = new Uint8Array(0);
const SEND_BURST = 64;

class Caller {
  readonly record: number;
  readonly publicKey: PublicKey;
  readonly #handshake: Handshake;
  readonly #cookies: CookieGenerator;
  readonly #timestamps = new Timestamps(systemClock);
  readonly #index: number;
  /** When it asks again. */
  dueMs = 0;
  isConnected = false;

  constructor(index: number, record: number, remote: PublicKey) {
    const identity = new LocalIdentity(CRYPTO, PrivateKey.generate(systemRandom));
    this.#index = index;
    this.record = record;
    this.publicKey = identity.publicKey;
    this.#handshake = new Handshake(identity, remote, PresharedKey.none, systemRandom);
    this.#cookies = new CookieGenerator(CRYPTO, remote);
  }

  call(): Uint8Array {
    const message = this.#handshake.createInitiation(this.#index, this.#timestamps.next());
    if (!message) throw new Error('no handshake is possible');
    this.#cookies.addMacs(message, systemClock.now());
    return message;
  }

  takeCookie(message: Uint8Array): boolean {
    return this.#cookies.consumeReply(message, systemClock.now());
  }

  /** The keepalive that confirms the session; undefined when this is no answer. */
  confirm(response: Uint8Array): Uint8Array | undefined {
    if (!this.#handshake.consumeResponse(response)) return undefined;
    const keys = this.#handshake.deriveKeypair();
    if (!keys) return undefined;
    const message = new Uint8Array(TRANSPORT.size);
    const view = new DataView(message.buffer);
    view.setUint32(TRANSPORT.type, MESSAGE_TRANSPORT, true);
    view.setUint32(TRANSPORT.receiver, keys.remoteIndex, true);
    message.set(CRYPTO.aead.seal(keys.send, new Uint8Array(12), EMPTY, EMPTY), TRANSPORT.content);
    this.isConnected = true;
    return message;
  }
}

const CRYPTO = nodeCrypto(wasmBlake2s());

class Callers {
  readonly all: Caller[] = [];
  readonly #arena = new Arena({ bytes: 64 << 20 });
  readonly #datagrams = new LinuxDatagrams(this.#arena, { gso: false, gro: false, maxWaitMs: 50 });
  readonly #received = new DatagramBatch(this.#datagrams.batchSize);
  readonly #sending = new DatagramBatch(SEND_BURST);
  readonly #room: number = this.#arena.alloc(SEND_BURST * INITIATION.size);
  #initiations = 0;
  #cookies = 0;
  #connected = 0;

  constructor({ address, port, publicKey, sources: [first, second], peers }: Storm) {
    this.#datagrams.use(new UdpSocket(4, 0).fd, -1);
    const remote = new PublicKey(new Uint8Array(Buffer.from(publicKey, 'base64')));
    const to = { address: parseAddress(address) ?? EMPTY, port, scope: 0, carrier: 0 };
    for (let i = 0; i < peers; i++) {
      const record = this.#arena.alloc(ENDPOINT.size, 16);
      const source = { address: Uint8Array.of(first, second, i >> 8, i & 255), interfaceIndex: 0 };
      encodeEndpoint({ ...to, source }, this.#arena.u8, record);
      this.all.push(new Caller(i, record, remote));
    }
  }

  async run(maxSeconds: number): Promise<StormReport> {
    // Made before, so that they come all at once.
    const first = this.all.map((caller) => caller.call());
    const startMs = systemClock.now();
    const elapsed = () => (systemClock.now() - startMs) / 1_000;
    for (const [i, message] of first.entries()) this.#call(this.all[i] as Caller, message);
    this.#flush();
    while (this.#connected < this.all.length && elapsed() < maxSeconds) {
      if (this.#take() > 0) continue;
      const now = systemClock.now();
      for (const caller of this.all) {
        if (!caller.isConnected && caller.dueMs <= now) this.#call(caller, caller.call());
      }
      this.#flush();
      await pause(1);
    }
    return {
      connected: this.#connected,
      seconds: elapsed(),
      initiations: this.#initiations,
      cookies: this.#cookies,
    };
  }

  #call(caller: Caller, message: Uint8Array): void {
    caller.dueMs = systemClock.now() + REKEY_TIMEOUT + uniform(systemRandom, REKEY_TIMEOUT_JITTER_MAX);
    this.#initiations++;
    this.#send(message, caller.record);
  }

  #send(message: Uint8Array, record: number): void {
    if (this.#sending.count === SEND_BURST) this.#flush();
    const at = this.#room + this.#sending.count * INITIATION.size;
    this.#arena.u8.set(message, at);
    this.#sending.push(at, message.length, record, 0);
  }

  #flush(): void {
    this.#datagrams.send(this.#sending);
    this.#sending.clear();
  }

  /** Takes what has come. Returns how many datagrams. */
  #take(): number {
    const batch = this.#received;
    const count = this.#datagrams.receive(batch);
    for (let i = 0; i < count; i++) {
      const at = batch.at[i] as number;
      const message = this.#arena.u8.slice(at, at + (batch.length[i] as number));
      // It was sent to the address of one of them.
      const own = (batch.endpoint[i] as number) + ENDPOINT.source;
      const caller =
        this.all[((this.#arena.u8[own + 2] as number) << 8) | (this.#arena.u8[own + 3] as number)];
      if (!caller || caller.isConnected) continue;
      if (message[0] === MESSAGE_COOKIE_REPLY && caller.takeCookie(message)) this.#cookies++;
      const keepalive = message[0] === MESSAGE_RESPONSE ? caller.confirm(message) : undefined;
      if (!keepalive) continue;
      this.#connected++;
      this.#send(keepalive, caller.record);
    }
    this.#flush();
    return count;
  }
}

const order = JSON.parse(process.argv[2] ?? '') as Storm;
const callers = new Callers(order);
process.stdout.write(`${JSON.stringify(callers.all.map(({ publicKey }) => publicKey.base64))}\n`);
const input = createInterface({ input: process.stdin });
await input.question('');
input.close();
process.stdout.write(`${JSON.stringify(await callers.run(order.maxSeconds))}\n`);
