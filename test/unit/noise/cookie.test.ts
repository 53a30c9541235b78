import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { isZero, readU32le } from '../../../src/core/bytes.ts';
import { systemRandom } from '../../../src/core/random.ts';
import { COOKIE_SECRET_LATENCY, COOKIE_SECRET_MAX_AGE } from '../../../src/noise/constants.ts';
import { CookieChecker, CookieGenerator } from '../../../src/noise/cookie.ts';
import type { Crypto } from '../../../src/noise/crypto.ts';
import { LocalIdentity } from '../../../src/noise/identity.ts';
import { COOKIE_REPLY, INITIATION, RESPONSE } from '../../../src/noise/messages.ts';
import { BACKENDS, Pair, crypto, flip, privateKey, some } from './fixtures.ts';

/** 192.0.2.1:51820 and its neighbours. */
const SOURCE = Uint8Array.of(192, 0, 2, 1, 0xca, 0x6c);
const OTHER_PORT = Uint8Array.of(192, 0, 2, 1, 0xca, 0x6d);
const OTHER_ADDRESS = Uint8Array.of(192, 0, 2, 2, 0xca, 0x6c);
const SOURCE_V6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xca, 0x6c);

/** An initiator and a loaded responder that meet in cookies only. */
function meeting(initiatorCrypto: Crypto = crypto, responderCrypto: Crypto = crypto) {
  const pair = new Pair({ initiatorCrypto, responderCrypto });
  const checker = new CookieChecker(pair.responderIdentity, systemRandom);
  const generator = new CookieGenerator(initiatorCrypto, pair.responderIdentity.publicKey);
  const send = (nowMs: number) => {
    const message = pair.initiate(77);
    generator.addMacs(message, nowMs);
    return message;
  };
  /** A message with a cookie for `source`, obtained at `nowMs`. */
  const sendWithCookie = (source: Uint8Array, nowMs: number) => {
    assert.equal(generator.consumeReply(checker.createReply(send(nowMs), source, nowMs), nowMs), true);
    return send(nowMs);
  };
  return { pair, checker, generator, send, sendWithCookie };
}

const mac1 = (message: Uint8Array) => message.subarray(message.length - 32, message.length - 16);
const mac2 = (message: Uint8Array) => message.subarray(message.length - 16);

describe('mac1', () => {
  for (const [senderName, sender] of BACKENDS) {
    for (const [receiverName, receiver] of BACKENDS) {
      test(`made on ${senderName} is right on ${receiverName}, for initiation and response`, () => {
        const { pair, checker, send } = meeting(sender, receiver);
        const initiation = send(0);
        assert.equal(checker.checkMac1(initiation), true);
        assert.equal(pair.accept(initiation), 'ok');
        const response = some(pair.responder.createResponse(2));
        new CookieGenerator(receiver, pair.initiatorIdentity.publicKey).addMacs(response, 0);
        assert.equal(new CookieChecker(pair.initiatorIdentity, systemRandom).checkMac1(response), true);
      });
    }
  }

  test('covers every bit before it and itself, but not mac2', () => {
    const { checker, send } = meeting();
    const message = send(0);
    for (let bit = 0; bit < INITIATION.mac2 * 8; bit++) {
      assert.equal(checker.checkMac1(flip(message, bit)), false, `bit ${bit}`);
    }
    for (let bit = INITIATION.mac2 * 8; bit < INITIATION.size * 8; bit++) {
      assert.equal(checker.checkMac1(flip(message, bit)), true, `bit ${bit}`);
    }
  });

  test('is wrong for another receiver', () => {
    const { send } = meeting();
    const other = new CookieChecker(new LocalIdentity(crypto, privateKey(3)), systemRandom);
    assert.equal(other.checkMac1(send(0)), false);
  });
});

describe('mac2', () => {
  test('is zero without a cookie, and zero is never right', () => {
    const { checker, send } = meeting();
    const message = send(0);
    assert.ok(isZero(mac2(message)));
    assert.equal(checker.checkMac2(message, SOURCE, 0), false);
    checker.createReply(message, SOURCE, 0);
    assert.equal(checker.checkMac2(message, SOURCE, 0), false);
  });

  for (const [senderName, sender] of BACKENDS) {
    for (const [receiverName, receiver] of BACKENDS) {
      test(`made on ${senderName} from a cookie made on ${receiverName} is right, for IPv4 and IPv6`, () => {
        for (const source of [SOURCE, SOURCE_V6]) {
          const { checker, sendWithCookie } = meeting(sender, receiver);
          const message = sendWithCookie(source, 0);
          assert.equal(checker.checkMac1(message), true);
          assert.equal(checker.checkMac2(message, source, 0), true);
        }
      });
    }
  }

  test('is right for the address and port that the cookie was made for, and no other', () => {
    const { checker, sendWithCookie } = meeting();
    const message = sendWithCookie(SOURCE, 0);
    assert.equal(checker.checkMac2(message, SOURCE, 0), true);
    assert.equal(checker.checkMac2(message, OTHER_PORT, 0), false);
    assert.equal(checker.checkMac2(message, OTHER_ADDRESS, 0), false);
    assert.equal(checker.checkMac2(message, SOURCE_V6, 0), false);
  });

  test('covers every bit of the message', () => {
    const { checker, sendWithCookie } = meeting();
    const message = sendWithCookie(SOURCE, 0);
    for (let bit = 0; bit < INITIATION.size * 8; bit++) {
      assert.equal(checker.checkMac2(flip(message, bit), SOURCE, 0), false, `bit ${bit}`);
    }
  });

  test('is void once the secret behind the cookie is 120 s old', () => {
    const { checker, sendWithCookie } = meeting();
    const message = sendWithCookie(SOURCE, 1_000);
    assert.equal(checker.checkMac2(message, SOURCE, 1_000 + COOKIE_SECRET_MAX_AGE - 1), true);
    assert.equal(checker.checkMac2(message, SOURCE, 1_000 + COOKIE_SECRET_MAX_AGE), false);
  });

  test('is void after the checker is wiped', () => {
    const { checker, sendWithCookie } = meeting();
    const message = sendWithCookie(SOURCE, 0);
    checker.zero();
    assert.equal(checker.checkMac2(message, SOURCE, 0), false);
  });

  test('is made for 115 s after the cookie came, then it is zero again', () => {
    const { send, sendWithCookie } = meeting();
    const last = 1_000 + COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY;
    assert.ok(!isZero(mac2(sendWithCookie(SOURCE, 1_000))));
    assert.ok(!isZero(mac2(send(last - 1))));
    assert.ok(isZero(mac2(send(last))));
  });

  test('is overwritten with zeros when a message is sent again after its cookie has expired', () => {
    const { generator, sendWithCookie } = meeting();
    const message = sendWithCookie(SOURCE, 0);
    assert.ok(!isZero(mac2(message)));
    generator.addMacs(message, COOKIE_SECRET_MAX_AGE);
    assert.ok(isZero(mac2(message)));
  });

  test('is made for responses as well', () => {
    const { generator, checker, sendWithCookie } = meeting();
    sendWithCookie(SOURCE, 0);
    const response = new Uint8Array(RESPONSE.size).fill(5);
    generator.addMacs(response, 0);
    assert.equal(checker.checkMac2(response, SOURCE, 0), true);
  });
});

describe('the secret of the cookies', () => {
  test('is drawn anew after 120 s and not before', () => {
    const { checker, send } = meeting();
    const message = send(0);
    const cookieAt = (nowMs: number) => {
      // The nonce differs each time, so compare what a generator makes of the reply.
      const generator = new CookieGenerator(crypto, new LocalIdentity(crypto, privateKey(2)).publicKey);
      const copy = message.slice();
      generator.addMacs(copy, nowMs);
      assert.equal(generator.consumeReply(checker.createReply(copy, SOURCE, nowMs), nowMs), true);
      generator.addMacs(copy, nowMs);
      return mac2(copy).slice();
    };
    const first = cookieAt(0);
    assert.deepEqual(cookieAt(COOKIE_SECRET_MAX_AGE - 1), first);
    const second = cookieAt(COOKIE_SECRET_MAX_AGE);
    assert.notDeepEqual(second, first);
    assert.deepEqual(cookieAt(2 * COOKIE_SECRET_MAX_AGE - 1), second);
  });
});

describe('a cookie reply', () => {
  test('has 64 bytes, names the sender of the message, and a fresh nonce each time', () => {
    const { checker, send } = meeting();
    const message = send(0);
    const reply = checker.createReply(message, SOURCE, 0);
    assert.deepEqual([reply.length, readU32le(reply, 0)], [64, 3]);
    assert.equal(readU32le(reply, COOKIE_REPLY.receiver), 77);
    assert.notDeepEqual(checker.createReply(message, SOURCE, 0), reply);
  });

  test('is taken once, and only for the last message sent', () => {
    const { checker, generator, send } = meeting();
    const first = send(0);
    const second = send(0);
    assert.equal(generator.consumeReply(checker.createReply(first, SOURCE, 0), 0), false);
    const reply = checker.createReply(second, SOURCE, 0);
    assert.equal(generator.consumeReply(reply, 0), true);
    assert.equal(generator.consumeReply(reply, 0), false);
  });

  test('is refused when nothing was sent, or after clear', () => {
    const { checker, generator, pair, send } = meeting();
    const message = send(0);
    const reply = checker.createReply(message, SOURCE, 0);
    const silent = new CookieGenerator(crypto, pair.responderIdentity.publicKey);
    assert.equal(silent.consumeReply(reply, 0), false);
    generator.clear();
    assert.equal(generator.consumeReply(reply, 0), false);
  });

  test('is refused with any bit of nonce or cookie flipped, and then changes nothing', () => {
    const { checker, generator, send } = meeting();
    const reply = checker.createReply(send(0), SOURCE, 0);
    for (let bit = COOKIE_REPLY.nonce * 8; bit < COOKIE_REPLY.size * 8; bit++) {
      assert.equal(generator.consumeReply(flip(reply, bit), 0), false, `bit ${bit}`);
    }
    assert.ok(isZero(mac2(send(0))));
    assert.equal(generator.consumeReply(reply, 0), false, 'the later message is the last one now');
  });

  test('is refused when another device made it', () => {
    const { generator, send } = meeting();
    const other = new CookieChecker(new LocalIdentity(crypto, privateKey(3)), systemRandom);
    assert.equal(generator.consumeReply(other.createReply(send(0), SOURCE, 0), 0), false);
  });
});

test('any bytes are checked without an exception (property)', () => {
  const { checker, generator, send } = meeting();
  send(0);
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200, size: 'max' }),
    fc.uint8Array({ minLength: 64, maxLength: 64 }),
    fc.uint8Array({ minLength: 148, maxLength: 148 }),
  );
  fc.assert(
    fc.property(bytes, (message) => {
      assert.equal(checker.checkMac1(message), false);
      assert.equal(checker.checkMac2(message, SOURCE, 0), false);
      assert.equal(generator.consumeReply(message, 0), false);
    }),
    { numRuns: 300 },
  );
});

test('mac1 is remembered as it was sent, whatever happens to the message afterwards', () => {
  const { checker, generator, send } = meeting();
  const message = send(0);
  const reply = checker.createReply(message, SOURCE, 0);
  mac1(message).fill(0);
  assert.equal(generator.consumeReply(reply, 0), true);
});
