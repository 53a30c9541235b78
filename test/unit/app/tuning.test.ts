import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../../src/core/errors.ts';
import { laneThreads } from '../../../src/app/transport.ts';
import { readTuningFlags } from '../../../src/app/tuning-settings.ts';
import { readTuning } from '../../../src/app/tuning.ts';

test('tuning: without environment everything is automatic and all offloads are on', () => {
  const automatic = { lanes: 'auto', bind: 'auto', aead: 'auto', tunOffload: true, gso: true, gro: true };
  assert.deepEqual(readTuning({}), automatic);
  assert.deepEqual(readTuning({ CULVERT_LANES: '', CULVERT_GSO: '' }), automatic);
});

test('tuning: each variable overrides its choice', () => {
  const env = { CULVERT_LANES: 'inline', CULVERT_BIND: 'dgram', CULVERT_AEAD: 'openssl', CULVERT_GSO: 'off' };
  assert.deepEqual(readTuning(env), {
    lanes: 'inline',
    bind: 'dgram',
    aead: 'openssl',
    tunOffload: true,
    gso: false,
    gro: true,
  });
});

test('tuning: an impossible value is a usage error that names the variable and the nearest choice', () => {
  assert.throws(
    () => readTuning({ CULVERT_AEAD: 'opensl' }),
    (error) =>
      error instanceof AppError &&
      error.exitCode === 2 &&
      error.message.includes('CULVERT_AEAD') &&
      error.hint === 'did you mean openssl?',
  );
});

test('tuning: the flag for lanes stands over the environment, which commander hands over as if it were one', () => {
  assert.equal(readTuningFlags({ lanes: '2' }, { CULVERT_LANES: '1', CULVERT_GRO: 'off' }).lanes, '2');
  assert.equal(readTuningFlags({ lanes: '2' }, { CULVERT_GRO: 'off' }).gro, false);
  assert.equal(readTuningFlags({ lanes: '' }, { CULVERT_LANES: '' }).lanes, 'auto');
  assert.equal(readTuningFlags({}, { CULVERT_LANES: 'inline' }).lanes, 'inline');
});

test('tuning: a wrong number of lanes is a usage error that names the place where it stands', () => {
  const isUsageError = (place: string) => (error: unknown) =>
    error instanceof AppError && error.exitCode === 2 && error.message.includes(place);
  assert.throws(
    () => readTuningFlags({ lanes: '3' }, {}),
    isUsageError('--lanes "3": expected auto, inline'),
  );
  const env = { CULVERT_LANES: '3' };
  assert.throws(() => readTuningFlags({ lanes: '3' }, env), isUsageError('CULVERT_LANES'));
});

test('lanes: two threads only when they are asked for, and what stands against them is named', () => {
  const threads = (lanes: 'auto' | 'inline' | '1' | '2', bind: 'auto' | 'dgram' = 'auto') =>
    laneThreads({ lanes, bind }, {});
  assert.deepEqual(threads('auto'), { threads: 1 });
  assert.deepEqual(threads('inline'), { threads: 0 });
  assert.deepEqual(threads('1'), { threads: 1 });
  assert.deepEqual(threads('2'), { threads: 2 });
  assert.deepEqual(threads('auto', 'dgram'), { threads: 0 });
  for (const lanes of ['1', '2'] as const) {
    const { threads: count, obstacle } = threads(lanes, 'dgram');
    assert.equal(count, 0);
    assert.match(obstacle ?? '', /main thread/);
  }
  const limit = { total: { bytesPerSecond: 1, burstBytes: 1 } };
  const limited = laneThreads({ lanes: '2', bind: 'auto' }, { bandwidth: limit });
  assert.equal(limited.threads, 1);
  assert.match(limited.obstacle ?? '', /both directions/);
  // There may be limits later.
  assert.equal(laneThreads({ lanes: '2', bind: 'auto' }, { bandwidth: {} }).threads, 1);
});
