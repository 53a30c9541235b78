import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from '../../../src/core/random.ts';
import { CookieChecker, CookieGenerator } from '../../../src/noise/cookie.ts';
import { openInitiation } from '../../../src/noise/handshake.ts';
import { LocalIdentity } from '../../../src/noise/identity.ts';
import { PresharedKey, PrivateKey } from '../../../src/noise/keys.ts';
import { seededRandom, randomBytes } from '../../kit/random.ts';
import { assertHides } from '../../kit/secrets.ts';
import { BACKENDS, Pair, some } from './fixtures.ts';

const SECRET = randomBytes(seededRandom(1), 32);

test('assertHides finds a secret that is printed', () => {
  assert.throws(() => assertHides({ leak: SECRET }, SECRET), /prints a secret/);
  assert.throws(() => assertHides({ leak: Buffer.from(SECRET) }, SECRET), /prints a secret/);
  assert.throws(
    () => assertHides({ leak: Buffer.from(SECRET).toString('base64') }, SECRET),
    /prints a secret/,
  );
});

test('private and preshared keys do not print themselves', () => {
  for (const key of [new PrivateKey(SECRET), new PresharedKey(SECRET)]) {
    assertHides(key, key.bytes);
    assertHides({ nested: [key] }, key.bytes);
    assert.equal(String(key), '(hidden)');
    assert.equal(JSON.stringify({ key }), '{"key":"(hidden)"}');
  }
});

for (const [name, crypto] of BACKENDS) {
  test(`identities, handshakes and session keys do not print secrets, on ${name}`, () => {
    const privateKey = new PrivateKey(SECRET);
    const identity = new LocalIdentity(crypto, privateKey);
    assertHides(identity, privateKey.bytes);

    const presharedKey = new PresharedKey(randomBytes(seededRandom(2), 32));
    const pair = new Pair({ initiatorCrypto: crypto, responderCrypto: crypto, presharedKey });
    const initiation = pair.initiate();
    const shown = [pair.initiator, pair.responder, some(openInitiation(pair.responderIdentity, initiation))];
    for (const value of shown) assertHides(value, presharedKey.bytes);
    for (const keys of pair.complete(initiation)) {
      assertHides(keys, keys.send);
      assertHides(keys, keys.receive);
    }

    const drawn = randomBytes(seededRandom(3), 32);
    const random = {
      ...systemRandom,
      fill: (bytes: Uint8Array) => bytes.set(drawn.subarray(0, bytes.length)),
    };
    const checker = new CookieChecker(identity, random);
    const reply = checker.createReply(initiation, new Uint8Array(6), 0);
    assertHides(checker, drawn);
    const generator = new CookieGenerator(crypto, identity.publicKey);
    generator.addMacs(initiation, 0);
    generator.consumeReply(reply, 0);
    assertHides(generator, crypto.blake2s.mac(drawn, new Uint8Array(6)));
  });
}
