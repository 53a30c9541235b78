import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { readU32le, toHex } from '../../../src/core/bytes.ts';
import { INITIATION_GAP } from '../../../src/noise/constants.ts';
import { CookieGenerator } from '../../../src/noise/cookie.ts';
import { Handshake, openInitiation } from '../../../src/noise/handshake.ts';
import { LocalIdentity } from '../../../src/noise/identity.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../../src/noise/keys.ts';
import { INITIATION, RESPONSE } from '../../../src/noise/messages.ts';
import { hex } from '../../contracts/crypto.ts';
import { BACKENDS, Pair, assertMatch, flip, nextTimestamp, some } from './fixtures.ts';

const PSK = new PresharedKey(new Uint8Array(32).fill(7));

for (const [initiatorName, initiatorCrypto] of BACKENDS) {
  for (const [responderName, responderCrypto] of BACKENDS) {
    for (const presharedKey of [PresharedKey.none, PSK]) {
      const psk = presharedKey.isZero ? 'without' : 'with';
      test(`initiator on ${initiatorName} and responder on ${responderName} agree on keys ${psk} a preshared key`, () => {
        const pair = new Pair({ initiatorCrypto, responderCrypto, presharedKey });
        const initiation = pair.initiate(0xffff_fffe);
        assert.equal(pair.initiator.state, 'initiation_created');
        assert.deepEqual([initiation.length, readU32le(initiation, 0)], [148, 1]);
        assert.equal(readU32le(initiation, INITIATION.sender), 0xffff_fffe);
        assert.equal(pair.accept(initiation), 'ok');
        assert.equal(pair.responder.state, 'initiation_consumed');
        const response = some(pair.responder.createResponse(0));
        assert.equal(pair.responder.state, 'response_created');
        assert.deepEqual([response.length, readU32le(response, 0)], [92, 2]);
        assert.equal(readU32le(response, RESPONSE.sender), 0);
        assert.equal(readU32le(response, RESPONSE.receiver), 0xffff_fffe);
        assert.equal(pair.initiator.consumeResponse(response), true);
        assert.equal(pair.initiator.state, 'response_consumed');
        assertMatch(some(pair.initiator.deriveKeypair()), some(pair.responder.deriveKeypair()));
        assert.deepEqual([pair.initiator.state, pair.responder.state], ['zeroed', 'zeroed']);
      });
    }
  }
}

describe('a handshake with fixed keys', () => {
  // Computed by an independent implementation: Python's hashlib.blake2s and hmac, X25519 and ChaCha20-Poly1305 written
  // down from the pseudo-code of RFC 7748 and RFC 8439. All inputs are BLAKE2s hashes of their names.
  const known = {
    initiatorStatic: '7a660f3a76e5189611224acb7d665909ee59be9d6a05e88994764c90b419164d',
    responderStatic: '445ea69d9c4cde87ae2f11f751dcb0e934846cf3a38c28980a25cd8cf355e3ee',
    initiatorEphemeral: 'ea393b192fc90f9ca781853bb517e6ecdb4765ea1d2c9f869c9a8a5dc1c5dde5',
    responderEphemeral: '7af4d70e01a0611e5c828fa291d7f152376bface59f12375ac133417562a4e67',
    presharedKey: 'c8f947eb9ff3173c24826a65ded82d3dfc2feacd6b0fa346596c36b63311e988',
    timestamp: '400000006543210a0a000000',
    initiation:
      '01000000040302011fb22d22843e83c5616c4e80caa091331a66ff0e74573e68e084dd145172a45c887006ed4facd758cbf74d23' +
      'd791a8ad13910525629a4a2f395835df13044854fefcb33ec767ea9ad23311fedd543bb4de2e7784d2d150914e23df25770d2a97' +
      '479c73de23355503d12eee1ea1ca5886c6ce1990eccfb3cc7586ee4300000000000000000000000000000000',
    response:
      '02000000d0c0b0a004030201cfb82a4c40ec91c20e0c4c131a3bdb7933b30187945a5205f25d5faa6eb68e67748fda6e9958691f' +
      '73a5840d9521d82a875f8ac1d8dcb6edc4c24077c93fca5200000000000000000000000000000000',
    initiatorSends: '0ae44e3d68ee41cd7d9830e24931abf80bfc0ec1448b42409a83e6b1b2d03eb9',
    responderSends: 'cc66fd2717a8068a93b1eebc9ed2201be83588c0443afb26cc970adafd7ae753',
  };

  for (const [name, backend] of BACKENDS) {
    test(`gives the messages and keys that another implementation computed, on ${name}`, () => {
      const fixed = (text: string) => ({ fill: (bytes: Uint8Array) => bytes.set(hex(text)), u32: () => 0 });
      const initiatorIdentity = new LocalIdentity(backend, new PrivateKey(hex(known.initiatorStatic)));
      const responderIdentity = new LocalIdentity(backend, new PrivateKey(hex(known.responderStatic)));
      const presharedKey = new PresharedKey(hex(known.presharedKey));
      const initiator = new Handshake(
        initiatorIdentity,
        responderIdentity.publicKey,
        presharedKey,
        fixed(known.initiatorEphemeral),
      );
      const responder = new Handshake(
        responderIdentity,
        initiatorIdentity.publicKey,
        presharedKey,
        fixed(known.responderEphemeral),
      );
      const initiation = some(initiator.createInitiation(0x0102_0304, hex(known.timestamp)));
      new CookieGenerator(backend, responderIdentity.publicKey).addMacs(initiation, 0);
      assert.equal(toHex(initiation), known.initiation);
      const opened = some(openInitiation(responderIdentity, initiation));
      assert.equal(opened.remoteStatic.hex, initiatorIdentity.publicKey.hex);
      assert.equal(responder.acceptInitiation(opened, 0), 'ok');
      const response = some(responder.createResponse(0xa0b0_c0d0));
      new CookieGenerator(backend, initiatorIdentity.publicKey).addMacs(response, 0);
      assert.equal(toHex(response), known.response);
      assert.equal(initiator.consumeResponse(response), true);
      const keys = some(initiator.deriveKeypair());
      assert.equal(toHex(keys.send), known.initiatorSends);
      assert.equal(toHex(keys.receive), known.responderSends);
      assertMatch(keys, some(responder.deriveKeypair()));
    });
  }
});

describe('a finished handshake', () => {
  test('gives its keys once', () => {
    const pair = new Pair();
    pair.complete();
    assert.equal(pair.initiator.deriveKeypair(), undefined);
    assert.equal(pair.responder.deriveKeypair(), undefined);
  });

  test('gives different keys each time', () => {
    const pair = new Pair();
    const [first] = pair.complete(pair.initiate(), 0);
    const [second] = pair.complete(pair.initiate(), 1000);
    assert.notDeepEqual(first.send, second.send);
  });

  test('gives keys that are zero after zero', () => {
    const [keys] = new Pair().complete();
    keys.zero();
    assert.deepEqual([keys.send, keys.receive], [new Uint8Array(32), new Uint8Array(32)]);
  });
});

describe('steps in the wrong state', () => {
  test('no response without an accepted initiation, no second one, none taken that was not asked for', () => {
    const pair = new Pair();
    assert.equal(pair.responder.createResponse(2), undefined);
    assert.equal(pair.responder.deriveKeypair(), undefined);
    const initiation = pair.initiate();
    assert.equal(pair.initiator.deriveKeypair(), undefined);
    assert.equal(pair.initiator.createResponse(3), undefined);
    assert.equal(pair.accept(initiation), 'ok');
    assert.equal(pair.responder.deriveKeypair(), undefined);
    const response = some(pair.responder.createResponse(2));
    assert.equal(pair.responder.createResponse(2), undefined);
    assert.equal(pair.responder.consumeResponse(response), false);
    assert.equal(pair.responder.state, 'response_created');
    assert.equal(pair.initiator.consumeResponse(response), true);
    assert.equal(pair.initiator.consumeResponse(response), false);
  });

  test('a response to an initiation that has been replaced is refused', () => {
    const pair = new Pair();
    assert.equal(pair.accept(pair.initiate(1)), 'ok');
    const response = some(pair.responder.createResponse(2));
    pair.initiate(3);
    assert.equal(pair.initiator.consumeResponse(response), false);
    // Even when the indices agree, the ephemeral key does not.
    pair.initiate(1);
    assert.equal(pair.initiator.consumeResponse(response), false);
    assert.equal(pair.initiator.state, 'initiation_created');
  });

  test('clear drops the handshake under way', () => {
    const pair = new Pair();
    assert.equal(pair.accept(pair.initiate()), 'ok');
    const response = some(pair.responder.createResponse(2));
    pair.initiator.clear();
    assert.equal(pair.initiator.state, 'zeroed');
    assert.equal(pair.initiator.consumeResponse(response), false);
    pair.responder.clear();
    assert.equal(pair.responder.deriveKeypair(), undefined);
  });
});

test('simultaneous initiations: each side answers the other and still takes the answer to its own', () => {
  const pair = new Pair();
  const mine = pair.initiate(1);
  const theirs = some(pair.responder.createInitiation(9, nextTimestamp()));
  assert.equal(pair.accept(mine), 'ok');
  const theirResponse = some(pair.responder.createResponse(10));
  const theirKeys = some(pair.responder.deriveKeypair());
  assert.equal(pair.responder.state, 'initiation_created');
  const opened = some(openInitiation(pair.initiatorIdentity, theirs));
  assert.equal(pair.initiator.acceptInitiation(opened, 0), 'ok');
  const myResponse = some(pair.initiator.createResponse(2));
  const myKeys = some(pair.initiator.deriveKeypair());
  assert.equal(pair.initiator.consumeResponse(theirResponse), true);
  assertMatch(some(pair.initiator.deriveKeypair()), theirKeys);
  assert.equal(pair.responder.consumeResponse(myResponse), true);
  assertMatch(some(pair.responder.deriveKeypair()), myKeys);
  assert.deepEqual([pair.initiator.state, pair.responder.state], ['zeroed', 'zeroed']);
});

describe('preshared keys', () => {
  test('different ones fail at the response, and the initiator goes on waiting', () => {
    const pair = new Pair({ presharedKey: PSK, responderPresharedKey: PresharedKey.none });
    assert.equal(pair.accept(pair.initiate()), 'ok');
    assert.equal(pair.initiator.consumeResponse(some(pair.responder.createResponse(2))), false);
    assert.equal(pair.initiator.state, 'initiation_created');
  });

  test('a new one counts from the next message on', () => {
    const pair = new Pair({ presharedKey: PSK, responderPresharedKey: PresharedKey.none });
    const initiation = pair.initiate();
    pair.responder.setPresharedKey(PSK);
    assertMatch(...pair.complete(initiation));
  });
});

describe('timestamps', () => {
  test('an initiation is accepted once; an older or equal timestamp is a replay', () => {
    const pair = new Pair();
    const older = pair.initiate(1);
    const newer = pair.initiate(2);
    assert.equal(pair.accept(newer, 0), 'ok');
    assert.equal(pair.accept(newer, 1000), 'replayed_timestamp');
    assert.equal(pair.accept(older, 1000), 'replayed_timestamp');
    assert.equal(pair.responder.state, 'initiation_consumed');
    assertMatch(...finish(pair));
  });

  test('outlive clear, a finished handshake and a change of the private key', () => {
    const pair = new Pair();
    const recorded = pair.initiate();
    pair.complete(recorded);
    pair.responder.clear();
    assert.equal(pair.accept(recorded, 1e6), 'replayed_timestamp');
    pair.responder.rekey(undefined);
    pair.responder.rekey(pair.responderIdentity);
    assert.equal(pair.accept(recorded, 2e6), 'replayed_timestamp');
  });

  function finish(pair: Pair) {
    const response = some(pair.responder.createResponse(2));
    assert.equal(pair.initiator.consumeResponse(response), true);
    return [some(pair.initiator.deriveKeypair()), some(pair.responder.deriveKeypair())] as const;
  }
});

describe('initiation floods', () => {
  test('a second initiation is refused until 20 ms after the last accepted one', () => {
    const pair = new Pair();
    assert.equal(INITIATION_GAP, 20);
    assert.equal(pair.accept(pair.initiate(), 1000), 'ok');
    assert.equal(pair.accept(pair.initiate(), 1019.9), 'flood');
    assert.equal(pair.accept(pair.initiate(), 1020), 'ok');
    assert.equal(pair.accept(pair.initiate(), 1039), 'flood');
  });

  test('a refused initiation does not use its timestamp up and does not disturb the one before', () => {
    const pair = new Pair();
    assert.equal(pair.accept(pair.initiate(1), 1000), 'ok');
    const second = pair.initiate(2);
    assert.equal(pair.accept(second, 1001), 'flood');
    assert.equal(readU32le(some(pair.responder.createResponse(5)), RESPONSE.receiver), 1);
    assert.equal(pair.accept(second, 1020), 'ok');
  });
});

test('messages may lie in Buffers that are overwritten afterwards', () => {
  const pair = new Pair();
  const reused = Buffer.alloc(INITIATION.size);
  reused.set(pair.initiate());
  const opened = some(openInitiation(pair.responderIdentity, reused));
  reused.fill(0xff);
  assert.equal(opened.remoteStatic.hex, pair.initiatorIdentity.publicKey.hex);
  assert.equal(pair.responder.acceptInitiation(opened, 0), 'ok');
  const response = reused.subarray(0, RESPONSE.size);
  response.set(some(pair.responder.createResponse(2)));
  assert.equal(pair.initiator.consumeResponse(response), true);
  reused.fill(0xff);
  assertMatch(some(pair.initiator.deriveKeypair()), some(pair.responder.deriveKeypair()));
});

test('keys made from a Buffer neither share its memory nor change it', () => {
  const buffer = Buffer.alloc(32, 0xff);
  const secret = new PrivateKey(buffer);
  const point = new PublicKey(buffer);
  assert.ok(buffer.every((byte) => byte === 0xff));
  buffer.fill(1);
  assert.equal(secret.bytes[31], 0x7f);
  assert.equal(point.bytes[31], 0xff);
});

describe('corrupted messages', () => {
  test('any flipped bit of key, static or timestamp is refused and changes nothing', () => {
    const pair = new Pair();
    const initiation = pair.initiate();
    for (let bit = INITIATION.ephemeral * 8; bit < INITIATION.mac1 * 8; bit++) {
      assert.notEqual(pair.accept(flip(initiation, bit)), 'ok', `bit ${bit}`);
      assert.equal(pair.responder.state, 'zeroed');
    }
    // Neither timestamp nor time was stored: the untouched message still goes through.
    assertMatch(...pair.complete(initiation));
  });

  test('any flipped bit of receiver, key or tag of a response is refused and changes nothing', () => {
    const pair = new Pair();
    assert.equal(pair.accept(pair.initiate()), 'ok');
    const response = some(pair.responder.createResponse(2));
    for (let bit = RESPONSE.receiver * 8; bit < RESPONSE.mac1 * 8; bit++) {
      assert.equal(pair.initiator.consumeResponse(flip(response, bit)), false, `bit ${bit}`);
      assert.equal(pair.initiator.state, 'initiation_created');
    }
    assert.equal(pair.initiator.consumeResponse(response), true);
    assertMatch(some(pair.initiator.deriveKeypair()), some(pair.responder.deriveKeypair()));
  });

  test('any bytes are refused without an exception (property)', () => {
    const pair = new Pair();
    const initiation = pair.initiate();
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200, size: 'max' }),
      fc.uint8Array({ minLength: INITIATION.size, maxLength: INITIATION.size }),
      fc.uint8Array({ minLength: RESPONSE.size, maxLength: RESPONSE.size }),
    );
    fc.assert(
      fc.property(bytes, (message) => {
        assert.equal(pair.accept(message), 'not_opened');
        assert.equal(pair.initiator.consumeResponse(message), false);
      }),
      { numRuns: 300 },
    );
    assertMatch(...pair.complete(initiation));
  });
});
