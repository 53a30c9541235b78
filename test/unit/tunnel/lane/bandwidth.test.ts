import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bandwidth, TokenBucket } from '../../../../src/tunnel/lane/bandwidth.ts';
import { LanePeer } from '../../../../src/tunnel/lane/tables.ts';

const BURST = 100_000;
const LIMIT = { bytesPerSecond: 1_000_000, burstBytes: BURST };

function spend(bucket: TokenBucket, bytes: number, now: number): boolean {
  if (!bucket.has(bytes, now)) return false;
  bucket.take(bytes);
  return true;
}

test('bandwidth: a burst passes at once, then the rate counts', () => {
  const bucket = new TokenBucket(LIMIT);
  assert.ok(spend(bucket, BURST, 0));
  assert.ok(!spend(bucket, 1, 0));
  assert.ok(!spend(bucket, 1_000, 0.999));
  assert.ok(spend(bucket, 1_000, 1));
  assert.ok(!spend(bucket, BURST, 99));
  assert.ok(spend(bucket, BURST, 101));
});

test('bandwidth: a pause saves up no more than the burst', () => {
  const bucket = new TokenBucket(LIMIT);
  spend(bucket, BURST, 0);
  assert.ok(!spend(bucket, BURST + 1, 1_000_000));
  assert.ok(spend(bucket, BURST, 1_000_000));
});

test('bandwidth: the largest datagram passes whatever the burst', () => {
  assert.ok(spend(new TokenBucket({ bytesPerSecond: 1, burstBytes: 0 }), 65_535, 0));
});

test('bandwidth: over a long time what passes is the rate, whatever the sizes', () => {
  const bucket = new TokenBucket(LIMIT);
  let passed = 0;
  for (let now = 0; now < 10_000; now += 0.1) {
    const bytes = 100 + ((now * 7919) % 1300);
    if (spend(bucket, bytes, now)) passed += bytes;
  }
  assert.ok(passed > 9_990_000 && passed < 10_000_000 + BURST, `${passed}`);
});

test('bandwidth: each peer has its own limit, and all share the total', () => {
  const bandwidth = new Bandwidth({
    total: { bytesPerSecond: 1, burstBytes: 3 * BURST },
    perPeer: { bytesPerSecond: 1, burstBytes: 2 * BURST },
  });
  const [one, two] = [new LanePeer(1, 0), new LanePeer(2, 64)];
  const passed = (peer: LanePeer) => {
    let count = 0;
    while (bandwidth.allows(peer, BURST, 0)) count++;
    return count;
  };
  assert.equal(passed(one), 2);
  assert.equal(passed(two), 1, 'nothing of the total is left');
});

test('bandwidth: what the total refuses costs the peer nothing', () => {
  const bandwidth = new Bandwidth({
    total: { bytesPerSecond: 1_000_000, burstBytes: BURST },
    perPeer: { bytesPerSecond: 1, burstBytes: 2 * BURST },
  });
  const peer = new LanePeer(1, 0);
  assert.ok(bandwidth.allows(peer, BURST, 0));
  for (let i = 0; i < 10; i++) assert.ok(!bandwidth.allows(peer, BURST, 0));
  assert.ok(bandwidth.allows(peer, BURST, 100));
});
