import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, toHex } from '../../../src/core/bytes.ts';
import { AEAD_NONCE_SIZE, CONSTRUCTION, IDENTIFIER } from '../../../src/noise/constants.ts';
import type { Crypto, DhPrivateKey } from '../../../src/noise/crypto.ts';
import { SymmetricState } from '../../../src/noise/symmetric-state.ts';
import { hex } from '../../contracts/crypto.ts';
import { readVectors, requireVectors } from '../../kit/vectors.ts';
import { BACKENDS, crypto, flip, some } from './fixtures.ts';

const FILE = 'noise-ikpsk2-25519-chachapoly-blake2s.json';
const text = (value: string) => new TextEncoder().encode(value);

test('the initial chaining key and hash are those of the protocol', () => {
  assert.equal(
    toHex(crypto.blake2s.hash(text(CONSTRUCTION))),
    '60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36',
  );
  assert.equal(
    toHex(SymmetricState.initialize(crypto, text(CONSTRUCTION), text(IDENTIFIER)).hash),
    '2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3',
  );
});

interface NoiseVector {
  readonly protocol_name: string;
  readonly init_prologue: string;
  readonly init_psks: readonly [string];
  readonly init_static: string;
  readonly init_ephemeral: string;
  readonly init_remote_static: string;
  readonly resp_static: string;
  readonly resp_ephemeral: string;
  readonly handshake_hash: string;
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[];
}

/** IKpsk2 as the Noise specification writes it, with any prologue and payloads, over the state that WireGuard uses. */
class NoiseParty {
  readonly #crypto: Crypto;
  readonly state: SymmetricState;
  readonly #static: DhPrivateKey;
  readonly #ephemeral: DhPrivateKey;
  readonly #psk: Uint8Array;
  #remoteStatic = new Uint8Array(0);
  #remoteEphemeral = new Uint8Array(0);

  constructor(crypto: Crypto, vector: NoiseVector, isInitiator: boolean) {
    this.#crypto = crypto;
    const key = (value: string) => crypto.x25519.importPrivateKey(hex(value));
    this.#static = key(isInitiator ? vector.init_static : vector.resp_static);
    this.#ephemeral = key(isInitiator ? vector.init_ephemeral : vector.resp_ephemeral);
    this.#psk = hex(vector.init_psks[0]);
    this.state = SymmetricState.initialize(crypto, text(vector.protocol_name), hex(vector.init_prologue));
    if (isInitiator) this.#remoteStatic = new Uint8Array(hex(vector.init_remote_static));
    this.state.mixHash(isInitiator ? this.#remoteStatic : this.#static.publicKey);
  }

  /** -> e, es, s, ss */
  writeFirst(payload: Uint8Array): Uint8Array {
    const { state } = this;
    this.#mixEphemeral(this.#ephemeral.publicKey);
    state.mixKey(this.#dh(this.#ephemeral, this.#remoteStatic));
    const sealedStatic = state.encryptAndHash(this.#static.publicKey);
    state.mixKey(this.#dh(this.#static, this.#remoteStatic));
    return concat(this.#ephemeral.publicKey, sealedStatic, state.encryptAndHash(payload));
  }

  readFirst(message: Uint8Array): Uint8Array {
    const { state } = this;
    this.#remoteEphemeral = message.slice(0, 32);
    this.#mixEphemeral(this.#remoteEphemeral);
    state.mixKey(this.#dh(this.#static, this.#remoteEphemeral));
    this.#remoteStatic = new Uint8Array(some(state.decryptAndHash(message.subarray(32, 80))));
    state.mixKey(this.#dh(this.#static, this.#remoteStatic));
    return some(state.decryptAndHash(message.subarray(80)));
  }

  /** <- e, ee, se, psk */
  writeSecond(payload: Uint8Array): Uint8Array {
    this.#mixEphemeral(this.#ephemeral.publicKey);
    this.state.mixChainingKey(this.#dh(this.#ephemeral, this.#remoteEphemeral));
    this.state.mixChainingKey(this.#dh(this.#ephemeral, this.#remoteStatic));
    this.state.mixKeyAndHash(this.#psk);
    return concat(this.#ephemeral.publicKey, this.state.encryptAndHash(payload));
  }

  readSecond(message: Uint8Array): Uint8Array {
    const remoteEphemeral = message.subarray(0, 32);
    this.#mixEphemeral(remoteEphemeral);
    this.state.mixChainingKey(this.#dh(this.#ephemeral, remoteEphemeral));
    this.state.mixChainingKey(this.#dh(this.#static, remoteEphemeral));
    this.state.mixKeyAndHash(this.#psk);
    return some(this.state.decryptAndHash(message.subarray(32)));
  }

  #mixEphemeral(publicKey: Uint8Array): void {
    this.state.mixHash(publicKey);
    this.state.mixChainingKey(publicKey);
  }

  #dh(key: DhPrivateKey, publicKey: Uint8Array): Uint8Array {
    return some(key.diffieHellman(this.#crypto.x25519.importPublicKey(publicKey)));
  }
}

for (const [name, backend] of BACKENDS) {
  test(`runs the published Noise_IKpsk2 vector on ${name}`, { skip: requireVectors(FILE) }, () => {
    const file = readVectors(FILE) as { readonly vectors: readonly [NoiseVector] };
    const [vector] = file.vectors;
    const [first, second, ...transport] = vector.messages.map(({ payload, ciphertext }) => ({
      payload: hex(payload),
      ciphertext: hex(ciphertext),
    }));
    assert.ok(first && second && transport.length === 4);
    const initiator = new NoiseParty(backend, vector, true);
    const responder = new NoiseParty(backend, vector, false);

    assert.equal(toHex(initiator.writeFirst(first.payload)), toHex(first.ciphertext));
    assert.deepEqual(responder.readFirst(first.ciphertext), first.payload);
    assert.equal(toHex(responder.writeSecond(second.payload)), toHex(second.ciphertext));
    assert.deepEqual(initiator.readSecond(second.ciphertext), second.payload);
    for (const party of [initiator, responder]) assert.equal(toHex(party.state.hash), vector.handshake_hash);

    const keys = initiator.state.split();
    assert.deepEqual(responder.state.split(), keys);
    for (const [i, { payload, ciphertext }] of transport.entries()) {
      const nonce = new Uint8Array(AEAD_NONCE_SIZE);
      nonce[4] = i >> 1;
      const key = keys[i % 2] as Uint8Array;
      assert.equal(toHex(backend.aead.seal(key, nonce, payload, new Uint8Array(0))), toHex(ciphertext));
    }
  });
}

describe('a symmetric state', () => {
  const start = () => SymmetricState.initialize(crypto, text(CONSTRUCTION), text('prologue'));
  const input = new Uint8Array(32).fill(1);

  test('seals one message per key, so that no nonce can repeat', () => {
    const state = start();
    assert.throws(() => state.encryptAndHash(input), /mixKey must come first/);
    state.mixKey(input);
    state.encryptAndHash(input);
    assert.throws(() => state.encryptAndHash(input), /mixKey must come first/);
    state.mixKey(input);
    state.mixChainingKey(input);
    assert.throws(() => state.encryptAndHash(input), /mixKey must come first/);
  });

  test('opens what an equal state sealed, and nothing else', () => {
    const sender = start();
    sender.mixKey(input);
    const receiver = sender.clone();
    const forged = sender.clone();
    const sealed = sender.encryptAndHash(text('payload'));
    const before = forged.hash;
    assert.equal(forged.decryptAndHash(flip(sealed, 3)), undefined);
    assert.deepEqual(forged.hash, before);
    assert.deepEqual(receiver.decryptAndHash(sealed), text('payload'));
    assert.deepEqual(receiver.hash, sender.hash);
  });

  test('a clone goes its own way, and zero wipes one without the other', () => {
    const state = start();
    const clone = state.clone();
    clone.mixHash(input);
    assert.notDeepEqual(clone.hash, state.hash);
    const keys = state.split();
    clone.zero();
    assert.deepEqual(clone.hash, new Uint8Array(32));
    assert.deepEqual(state.split(), keys);
    state.zero();
    assert.notDeepEqual(state.split(), keys);
  });
});
