/**
 * The far side of a handshake without a device: it knows a private key and sends whatever a test wants, also what no
 * device would send. Nothing is delivered to it; its answers are read off the wire.
 */
import { readU32le, writeU32le } from '../../src/core/bytes.ts';
import { AEAD_NONCE_SIZE } from '../../src/noise/constants.ts';
import { CookieGenerator } from '../../src/noise/cookie.ts';
import type { Crypto } from '../../src/noise/crypto.ts';
import { nodeCrypto } from '../../src/noise/crypto-node.ts';
import { Handshake } from '../../src/noise/handshake.ts';
import { LocalIdentity } from '../../src/noise/identity.ts';
import { PresharedKey, PrivateKey, type PublicKey } from '../../src/noise/keys.ts';
import {
  MESSAGE_COOKIE_REPLY,
  MESSAGE_RESPONSE,
  MESSAGE_TRANSPORT,
  RESPONSE,
  TRANSPORT,
} from '../../src/noise/messages.ts';
import type { SessionKeys } from '../../src/noise/session-keys.ts';
import { Timestamps } from '../../src/noise/tai64n.ts';
import type { WireDatagram } from '../../src/tunnel/bind-memory.ts';
import type { Endpoint } from '../../src/tunnel/endpoint.ts';
import { address, type End, type World } from './pair.ts';

const NO_AD = new Uint8Array(0);

export function endpoint(host: string, port: number): Endpoint {
  return { address: address(host), port, scope: 0, carrier: 0 };
}

export interface StrangerOptions {
  /** A key of its own by default; with an end's key it poses as that end, as after a restart. */
  readonly privateKey?: PrivateKey;
  readonly presharedKey?: PresharedKey;
  readonly from?: Endpoint;
}

export class Stranger {
  readonly publicKey: PublicKey;
  readonly cookies: CookieGenerator;
  /** Where its datagrams come from; may be changed. */
  from: Endpoint;
  session: SessionKeys | undefined;
  readonly #world: World;
  readonly #target: End;
  readonly #crypto: Crypto = nodeCrypto();
  readonly #handshake: Handshake;
  readonly #timestamps: Timestamps;
  #index = 0x5757_0000;

  constructor(world: World, target: End, options: StrangerOptions = {}) {
    this.#world = world;
    this.#target = target;
    this.from = options.from ?? endpoint('198.51.100.7', 7777);
    const identity = new LocalIdentity(this.#crypto, options.privateKey ?? PrivateKey.generate(world.random));
    this.publicKey = identity.publicKey;
    this.cookies = new CookieGenerator(this.#crypto, target.publicKey);
    this.#timestamps = new Timestamps(world.clock);
    this.#handshake = new Handshake(
      identity,
      target.publicKey,
      options.presharedKey ?? PresharedKey.none,
      world.random,
    );
  }

  /** A datagram of these bytes to the target. */
  datagram(bytes: Uint8Array, from: Endpoint = this.from): WireDatagram {
    const family = from.address.length;
    const local = this.#target.bind.addresses.find((each) => each.length === family);
    return { bytes, from, to: { ...this.#target.endpoint, address: local ?? from.address }, tos: 0 };
  }

  /** Puts datagrams on the wire and lets everything happen. */
  send(...messages: readonly Uint8Array[]): void {
    this.#world.wire.inject(...messages.map((bytes) => this.datagram(bytes)));
    this.#world.settle();
  }

  /** A new initiation with macs, not sent yet; mac2 too when a cookie is known. */
  initiation(timestamp: Uint8Array = this.#timestamps.next()): Uint8Array {
    const message = this.#handshake.createInitiation(++this.#index, timestamp);
    if (!message) throw new Error('the handshake is impossible');
    this.cookies.addMacs(message, this.#world.clock.now());
    return message;
  }

  /** The latest datagram of that type which was sent to where this stranger is. */
  answer(type: number): Uint8Array | undefined {
    return this.#world.wire.sent.findLast(
      ({ bytes, to }) =>
        bytes[0] === type && to.port === this.from.port && to.address.join() === this.from.address.join(),
    )?.bytes;
  }

  /** Takes the latest cookie reply. */
  takeCookie(): boolean {
    const reply = this.answer(MESSAGE_COOKIE_REPLY);
    return reply !== undefined && this.cookies.consumeReply(reply, this.#world.clock.now());
  }

  /** A whole handshake as initiator, not confirmed yet: `session` has the keys. */
  shakeHands(): SessionKeys {
    this.send(this.initiation());
    const response = this.answer(MESSAGE_RESPONSE);
    if (!response || !this.#handshake.consumeResponse(response)) throw new Error('no handshake');
    this.session = this.#handshake.deriveKeypair();
    if (!this.session) throw new Error('no session');
    return this.session;
  }

  /** A sealed transport message of the session. */
  transport(counter: bigint, content: Uint8Array, session: SessionKeys = this.#session()): Uint8Array {
    const sealed = this.#crypto.aead.seal(session.send, nonce(counter), content, NO_AD);
    const message = new Uint8Array(TRANSPORT.content + sealed.length);
    writeU32le(message, 0, MESSAGE_TRANSPORT);
    writeU32le(message, TRANSPORT.receiver, session.remoteIndex);
    message.set(nonce(counter).subarray(4), TRANSPORT.counter);
    message.set(sealed, TRANSPORT.content);
    return message;
  }

  /** What is in a transport message of the target; undefined when it does not belong to the session. */
  open(message: Uint8Array, session: SessionKeys = this.#session()): Uint8Array | undefined {
    if (readU32le(message, TRANSPORT.receiver) !== session.localIndex) return undefined;
    const counter = new DataView(message.buffer, message.byteOffset).getBigUint64(TRANSPORT.counter, true);
    return this.#crypto.aead.open(
      session.receive,
      nonce(counter),
      message.subarray(TRANSPORT.content),
      NO_AD,
    );
  }

  #session(): SessionKeys {
    if (!this.session) throw new Error('no session');
    return this.session;
  }
}

function nonce(counter: bigint): Uint8Array {
  const bytes = new Uint8Array(AEAD_NONCE_SIZE);
  new DataView(bytes.buffer).setBigUint64(4, counter, true);
  return bytes;
}

/** The index that the sender of a handshake message chose. */
export function senderIndex(datagram: WireDatagram): number {
  return readU32le(datagram.bytes, RESPONSE.sender);
}

/** The receiver index of a transport message. */
export function receiverIndex(datagram: WireDatagram): number {
  return readU32le(datagram.bytes, TRANSPORT.receiver);
}

/** The counter of a transport message. */
export function counterOf(datagram: WireDatagram): bigint {
  return new DataView(datagram.bytes.buffer, datagram.bytes.byteOffset).getBigUint64(TRANSPORT.counter, true);
}
