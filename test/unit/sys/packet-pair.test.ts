import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasLibc, libc } from '../../../src/sys/libc.ts';
import { Block } from '../../../src/sys/memory.ts';
import { PacketPair } from '../../../src/sys/packet-pair.ts';

const skip = hasLibc() ? false : 'SKIPPED: needs 64-bit Linux';

test('messages keep their boundaries in both directions, and an empty end does not block', { skip }, () => {
  const pair = new PacketPair();
  const block = new Block(100);
  for (const [from, to] of [
    [pair.near, pair.far],
    [pair.far, pair.near],
  ] as const) {
    for (const size of [10, 90]) assert.equal(libc().write(from, block.address, size), size);
    assert.equal(libc().read(to, block.address, 100), 10);
    assert.equal(libc().read(to, block.address, 100), 90);
    assert.equal(libc().read(to, block.address, 100), -1);
  }
  pair.close();
});
