import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Spin } from '../../../../src/tunnel/lane/spin.ts';

/** Occasions until the next look, that one included. */
function occasions(spin: Spin): number {
  for (let count = 1; ; count++) if (spin.isWorth()) return count;
}

test('spin: while answers come, every occasion is worth a look', () => {
  const spin = new Spin();
  for (let i = 0; i < 100; i++) {
    assert.equal(occasions(spin), 1);
    spin.note(true);
  }
});

test('spin: each look in vain halves how often there is one, down to every 64th occasion', () => {
  const spin = new Spin();
  const seen: number[] = [];
  for (let i = 0; i < 9; i++) {
    seen.push(occasions(spin));
    spin.note(false);
  }
  assert.deepEqual(seen, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
});

test('spin: one answer, and every occasion is worth a look again', () => {
  const spin = new Spin();
  for (let i = 0; i < 5; i++) spin.note(false);
  assert.equal(occasions(spin), 32);
  spin.note(true);
  assert.equal(occasions(spin), 1);
});
