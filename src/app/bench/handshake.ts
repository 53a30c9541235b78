/** Whole handshakes as a device does them, macs included: what one core answers and what one core starts. */
import assert from 'node:assert/strict';
import { systemRandom } from '../../core/random.ts';
import { wasmBlake2s } from '../../noise/blake2s-wasm.ts';
import { CookieChecker, CookieGenerator } from '../../noise/cookie.ts';
import type { Crypto } from '../../noise/crypto.ts';
import { nobleAead, nobleBlake2s } from '../../noise/crypto-noble.ts';
import { nodeCrypto } from '../../noise/crypto-node.ts';
import { Handshake, openInitiation } from '../../noise/handshake.ts';
import { LocalIdentity } from '../../noise/identity.ts';
import { PresharedKey, PrivateKey } from '../../noise/keys.ts';
import { INITIATION } from '../../noise/messages.ts';
import { Timestamps } from '../../noise/tai64n.ts';
import { nobleX25519 } from '../../noise/x25519-noble.ts';
import { type Row, type Step, timing } from './measure.ts';

const CRYPTOS: readonly (readonly [string, () => Crypto])[] = [
  ['noble', () => ({ x25519: nobleX25519, aead: nobleAead, blake2s: nobleBlake2s })],
  ['node', () => nodeCrypto()],
  ['node, wasm', () => nodeCrypto(wasmBlake2s())],
];

class Side {
  readonly handshake: Handshake;
  readonly checker: CookieChecker;
  readonly generator: CookieGenerator;
  readonly identity: LocalIdentity;

  constructor(identity: LocalIdentity, remote: LocalIdentity) {
    this.identity = identity;
    this.handshake = new Handshake(identity, remote.publicKey, PresharedKey.none, systemRandom);
    this.checker = new CookieChecker(identity, systemRandom);
    this.generator = new CookieGenerator(identity.crypto, remote.publicKey);
  }
}

export function handshakeSteps(): Step[] {
  return CRYPTOS.map(([backend, makeCrypto]) => ({
    label: `handshakes, ${backend}`,
    run: () => measure(backend, makeCrypto()),
  }));
}

function measure(backend: string, crypto: Crypto): Row[] {
  const identities = [1, 2].map(() => new LocalIdentity(crypto, PrivateKey.generate(systemRandom)));
  const [mine, theirs] = identities as [LocalIdentity, LocalIdentity];
  const initiator = new Side(mine, theirs);
  const responder = new Side(theirs, mine);
  const timestamps = new Timestamps({ now: () => 0, wall: () => 0 });
  let nowMs = 0;

  const initiate = (): Uint8Array => {
    const initiation = initiator.handshake.createInitiation(1, timestamps.next());
    assert.ok(initiation);
    initiator.generator.addMacs(initiation, nowMs);
    return initiation;
  };
  /** mac1, open, accept, answer, derive: what an initiation costs the responder. */
  const respond = (initiation: Uint8Array): Uint8Array => {
    nowMs += 1_000;
    assert.ok(responder.checker.checkMac1(initiation));
    const opened = openInitiation(responder.identity, initiation);
    assert.ok(opened);
    assert.equal(responder.handshake.acceptInitiation(opened, nowMs), 'ok');
    const response = responder.handshake.createResponse(2);
    assert.ok(response);
    responder.generator.addMacs(response, nowMs);
    assert.ok(responder.handshake.deriveKeypair());
    return response;
  };
  const finish = (response: Uint8Array): void => {
    assert.ok(initiator.checker.checkMac1(response));
    assert.ok(initiator.handshake.consumeResponse(response));
    assert.ok(initiator.handshake.deriveKeypair());
  };

  const initiation = timing(() => initiate());
  const both = timing(() => respond(initiate()));
  const whole = timing(() => finish(respond(initiate())));
  const forged = initiate();
  forged[INITIATION.mac1] = (forged[INITIATION.mac1] as number) ^ 1;
  const refused = timing(() => responder.checker.checkMac1(forged));
  const rows = [
    ['responder: initiation to keys', both.ns - initiation.ns, both.spread],
    ['initiator: start to keys', whole.ns - (both.ns - initiation.ns), whole.spread],
    ['initiation with a wrong mac1', refused.ns, refused.spread],
  ] as const;
  return rows.map(([operation, ns, spread]) => ({ operation, backend, ns, spread }));
}
