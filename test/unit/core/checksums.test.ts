import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PortableChecksums, fold, networkSum } from '../../../src/core/checksums.ts';
import { checksumsContract } from '../../contracts/checksums.ts';

checksumsContract('portable', (arena) => new PortableChecksums(arena));

test('fold adds carries until none is left', () => {
  for (const [sum, folded] of [
    [0, 0],
    [0xffff, 0xffff],
    [0x1_0000, 1],
    [0x1_ffff, 1],
    [0x1_fffe, 0xffff],
    [0xffff_ffff, 0xffff],
    [0xffff_0001, 1],
    [0xfffe_ffff, 0xfffe],
  ] as const)
    assert.equal(fold(sum), folded, `${sum}`);
});

test('networkSum swaps the bytes of the folded sum', () => {
  assert.equal(networkSum(0x1234), 0x3412);
  assert.equal(networkSum(0x1_1233), 0x3412);
  assert.equal(networkSum(0xffff), 0xffff);
  assert.equal(networkSum(0), 0);
});
