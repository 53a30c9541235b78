/** `wg show transfer` counts UDP payload: handshakes, padding, tags and all. The kernel's own suite demands the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { implementationUnderTest, requireInterop, WIREGUARD_GO } from '../kit/programs.ts';
import { ping } from '../kit/traffic.ts';
import { aim, OUTER, startLinkedPair, TEST_TIMEOUT_MS } from './sides.ts';

const implementation = implementationUnderTest();

const INITIATION = 148;
const RESPONSE = 92;
/** 84 bytes of echo padded to 96, with header and tag. */
const ECHO = 128;
const KEEPALIVE = 32;
const COUNT = 10;

const received = RESPONSE + COUNT * ECHO;
/** Who has an echo waiting when the handshake completes needs no keepalive to confirm it, but may send one. */
const sent = [INITIATION + COUNT * ECHO, INITIATION + KEEPALIVE + COUNT * ECHO];

for (const [initiator, responder] of [
  [implementation, implementation],
  [implementation, WIREGUARD_GO],
  [WIREGUARD_GO, implementation],
] as const) {
  for (const family of [4, 6] as const) {
    test(
      `ten echoes over IPv${family} are counted exactly: ${initiator.name} to ${responder.name}`,
      { skip: requireInterop([initiator, responder], { programs: ['ping'] }), timeout: TEST_TIMEOUT_MS },
      async () => {
        await using pair = await startLinkedPair(responder, initiator);
        const { one, two } = pair;
        aim(two, one, OUTER.one[family]);
        await ping(two.process.namespace, one.inner4, { count: COUNT, args: ['-i', '0.1'] });

        const mine = two.process.wg.peer();
        const theirs = one.process.wg.peer();
        assert.equal(mine.rxBytes, received);
        assert.ok(sent.includes(mine.txBytes), `sent ${mine.txBytes}`);
        assert.deepEqual([theirs.rxBytes, theirs.txBytes], [mine.txBytes, mine.rxBytes]);
        assert.ok(mine.latestHandshake > 0 && theirs.latestHandshake > 0);
      },
    );
  }
}
