/** The soak of `npm run soak`, as short as one round of its events. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from '../../bench/e2e/soak.ts';
import { requireInterop, WIREGUARD_GO } from '../kit/programs.ts';

const SECONDS = 120;

test(
  'two culvert-go and a wireguard-go in bad weather: restarts, links down and jumping clocks spoil and stop nothing',
  { skip: requireInterop([WIREGUARD_GO]), timeout: 300_000 },
  async (t) => {
    const result = await soak(SECONDS, () => {});
    t.diagnostic(JSON.stringify(result));
    assert.ok(result.events.length >= 7, 'a whole round of events');
  },
);
