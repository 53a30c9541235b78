import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metricsFlagsOf, readMetricsFlags } from '../../../../src/app/metrics/metrics-options.ts';
import { AppError } from '../../../../src/core/errors.ts';

test('metrics options: none are wanted unless an address is named', () => {
  assert.equal(readMetricsFlags({}), undefined);
  assert.equal(readMetricsFlags({ metrics: '' }), undefined);
  assert.equal(readMetricsFlags({ metricsCompat: 'mindflavor' }), undefined);
});

test('metrics options: flags and their twins in the environment say the same', () => {
  const expected = {
    address: { host: '127.0.0.1', port: 9586 },
    withMindFlavor: true,
    perPeer: 'off',
  };
  const env = {
    CULVERT_METRICS: '9586',
    CULVERT_METRICS_COMPAT: 'mindflavor',
    CULVERT_METRICS_PER_PEER: 'off',
  };
  assert.deepEqual(readMetricsFlags(metricsFlagsOf(env)), expected);
  assert.deepEqual(
    readMetricsFlags({ metrics: '9586', metricsCompat: 'mindflavor', metricsPerPeer: 'off' }),
    expected,
  );
  assert.deepEqual(metricsFlagsOf({ CULVERT_METRICS: '' }), {});
  assert.deepEqual(readMetricsFlags({ metrics: '0.0.0.0:1' }), {
    address: { host: '0.0.0.0', port: 1 },
    withMindFlavor: false,
    perPeer: 'auto',
  });
});

test('metrics options: what is not possible is a usage error', () => {
  for (const flags of [
    { metrics: 'x' },
    { metrics: '1', metricsCompat: 'other' },
    { metrics: '1', metricsPerPeer: 'yes' },
  ])
    assert.throws(
      () => readMetricsFlags(flags),
      (error) => error instanceof AppError && error.exitCode === 2,
      JSON.stringify(flags),
    );
});
