/** Each fuzz target with its own seeds, changed by a few mutations that fast-check makes and shrinks. */
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MUTATION_KINDS, mutate } from './mutate.ts';
import { DEFAULT_MAX_BYTES, FUZZ_TARGETS } from './targets.ts';

const RUNS = 300;

const mutation = fc.record({
  kind: fc.constantFrom(...MUTATION_KINDS),
  at: fc.nat(0x7fff_ffff),
  value: fc.nat(0x7fff_ffff),
});

for (const target of FUZZ_TARGETS) {
  test(`fuzz ${target.name}: any change of a valid input, and any bytes, are read or refused`, async () => {
    const run = await target.prepare();
    const seeds = target.seeds();
    const maxBytes = target.maxBytes ?? DEFAULT_MAX_BYTES;
    const material = { words: target.words ?? [], others: seeds, maxBytes };
    for (const seed of seeds) await run(seed.slice(0, maxBytes));
    const input = fc.oneof(
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
      {
        weight: 9,
        arbitrary: fc
          .tuple(fc.constantFrom(...seeds), fc.array(mutation, { minLength: 1, maxLength: 6 }))
          .map(([seed, mutations]) => mutations.reduce((bytes, each) => mutate(bytes, each, material), seed)),
      },
    );
    await fc.assert(
      fc.asyncProperty(input, async (bytes) => {
        await run(bytes.slice());
      }),
      { numRuns: RUNS },
    );
  });
}
