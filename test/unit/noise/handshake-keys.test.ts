import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toHex, writeU32le } from '../../../src/core/bytes.ts';
import { systemRandom } from '../../../src/core/random.ts';
import { Handshake, openInitiation } from '../../../src/noise/handshake.ts';
import { LocalIdentity } from '../../../src/noise/identity.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../../src/noise/keys.ts';
import { INITIATION, RESPONSE } from '../../../src/noise/messages.ts';
import { LOW_ORDER_POINTS } from '../../kit/low-order.ts';
import { Pair, assertMatch, crypto, nextTimestamp, peerOf, privateKey, some } from './fixtures.ts';

describe('keys of low order', () => {
  for (const point of LOW_ORDER_POINTS) {
    test(`a peer with the static key ${toHex(point).slice(0, 8)} never makes or takes a message`, () => {
      const identity = new LocalIdentity(crypto, privateKey(2));
      const handshake = peerOf(identity, new PublicKey(point));
      assert.equal(handshake.isPossible, false);
      assert.equal(handshake.createInitiation(1, nextTimestamp()), undefined);
      assert.equal(handshake.state, 'zeroed');
      // Whoever claims this key knows every secret of the exchange, so the rest of the message is valid.
      const sender = new LocalIdentity(crypto, privateKey(1));
      const ephemeral = crypto.x25519.generate(systemRandom);
      const state = identity.startAsResponder();
      state.mixHash(ephemeral.publicKey);
      state.mixChainingKey(ephemeral.publicKey);
      state.mixKey(some(ephemeral.diffieHellman(crypto.x25519.importPublicKey(identity.publicKey.bytes))));
      const message = new Uint8Array(INITIATION.size);
      message.set(ephemeral.publicKey, INITIATION.ephemeral);
      message.set(state.encryptAndHash(point), INITIATION.static);
      state.mixKey(new Uint8Array(32));
      message.set(state.encryptAndHash(nextTimestamp()), INITIATION.timestamp);
      const opened = some(openInitiation(identity, message));
      assert.deepEqual(opened.remoteStatic.bytes, point);
      assert.equal(handshake.acceptInitiation(opened, 0), 'impossible');
      assert.equal(peerOf(identity, sender.publicKey).isPossible, true);
    });

    test(`an initiation with the ephemeral key ${toHex(point).slice(0, 8)} is refused though all tags are right`, () => {
      const pair = new Pair();
      const state = pair.responderIdentity.startAsResponder();
      state.mixHash(point);
      state.mixChainingKey(point);
      state.mixKey(new Uint8Array(32));
      const message = new Uint8Array(INITIATION.size);
      message.set(point, INITIATION.ephemeral);
      message.set(state.encryptAndHash(pair.initiatorIdentity.publicKey.bytes), INITIATION.static);
      assert.equal(pair.accept(message), 'not_opened');
    });

    test(`a response with the ephemeral key ${toHex(point).slice(0, 8)} is refused though its tag is right`, () => {
      const pair = new Pair();
      const initiation = pair.initiate();
      const opened = some(openInitiation(pair.responderIdentity, initiation));
      const state = opened.symmetric;
      const { dh } = pair.responderIdentity;
      const remote = crypto.x25519.importPublicKey(pair.initiatorIdentity.publicKey.bytes);
      state.mixKey(some(dh.diffieHellman(remote)));
      assert.ok(state.decryptAndHash(opened.sealedTimestamp));
      state.mixHash(point);
      state.mixChainingKey(point);
      state.mixChainingKey(new Uint8Array(32));
      state.mixChainingKey(new Uint8Array(32));
      state.mixKeyAndHash(new Uint8Array(32));
      const message = new Uint8Array(RESPONSE.size);
      writeU32le(message, RESPONSE.type, 2);
      writeU32le(message, RESPONSE.receiver, 1);
      message.set(point, RESPONSE.ephemeral);
      message.set(state.encryptAndHash(new Uint8Array(0)), RESPONSE.empty);
      assert.equal(pair.initiator.consumeResponse(message), false);
      assert.equal(pair.initiator.state, 'initiation_created');
    });
  }
});

describe('identities', () => {
  test('an all-zero private key makes no identity', () => {
    assert.throws(
      () => new LocalIdentity(crypto, new PrivateKey(new Uint8Array(32))),
      /all-zero private key/,
    );
  });

  test('nothing is possible without one, until rekey brings it', () => {
    const pair = new Pair();
    const handshake = new Handshake(
      undefined,
      pair.initiatorIdentity.publicKey,
      PresharedKey.none,
      systemRandom,
    );
    assert.equal(handshake.isPossible, false);
    assert.equal(handshake.createInitiation(1, nextTimestamp()), undefined);
    const opened = some(openInitiation(pair.responderIdentity, pair.initiate()));
    assert.equal(handshake.acceptInitiation(opened, 0), 'impossible');
    handshake.rekey(pair.responderIdentity);
    assert.equal(handshake.isPossible, true);
    assert.equal(
      handshake.acceptInitiation(some(openInitiation(pair.responderIdentity, pair.initiate())), 0),
      'ok',
    );
  });

  test('a changed private key drops the handshake under way and serves the next one', () => {
    const pair = new Pair();
    pair.initiate();
    const changed = new LocalIdentity(crypto, privateKey(3));
    pair.initiator.rekey(changed);
    assert.equal(pair.initiator.state, 'zeroed');
    const initiation = some(pair.initiator.createInitiation(4, nextTimestamp()));
    const responder = peerOf(pair.responderIdentity, changed.publicKey);
    const opened = some(openInitiation(pair.responderIdentity, initiation));
    assert.deepEqual(opened.remoteStatic.bytes, changed.publicKey.bytes);
    assert.equal(responder.acceptInitiation(opened, 0), 'ok');
    assert.equal(pair.initiator.consumeResponse(some(responder.createResponse(5))), true);
    assertMatch(some(pair.initiator.deriveKeypair()), some(responder.deriveKeypair()));
  });

  test('an initiation to another device is not opened', () => {
    const pair = new Pair();
    assert.equal(openInitiation(new LocalIdentity(crypto, privateKey(3)), pair.initiate()), undefined);
  });

  test('whoever names a peer without having its key is found out at the timestamp', () => {
    const pair = new Pair();
    const initiation = pair.initiate();
    const other = peerOf(pair.responderIdentity, new LocalIdentity(crypto, privateKey(3)).publicKey);
    const opened = some(openInitiation(pair.responderIdentity, initiation));
    assert.equal(other.acceptInitiation(opened, 0), 'bad_tag');
    assert.equal(other.state, 'zeroed');
  });

  test('an identity given up opens nothing', () => {
    const pair = new Pair();
    const initiation = pair.initiate();
    pair.responderIdentity.zero();
    assert.equal(pair.accept(initiation), 'not_opened');
  });
});
