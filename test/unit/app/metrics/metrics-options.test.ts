import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { BearerToken } from '../../../../src/app/http/bearer-token.ts';
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
});

test('metrics options: what is not possible is a usage error', () => {
  for (const flags of [
    { metrics: 'x' },
    // Beyond loopback without a token.
    { metrics: '0.0.0.0:1' },
    { metrics: '[::]:1' },
    { metrics: '1', metricsCompat: 'other' },
    { metrics: '1', metricsPerPeer: 'yes' },
  ])
    assert.throws(
      () => readMetricsFlags(flags),
      (error) => error instanceof AppError && error.exitCode === 2,
      JSON.stringify(flags),
    );
});

test('metrics options: a token is read from a file of its owner, and does not print itself', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-metrics-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'token');
  const secret = 'a-token-of-many-letters';
  const flags = { metrics: '0.0.0.0:1', metricsTokenFile: file };
  assert.throws(() => readMetricsFlags(flags), { code: 'not_found' });
  writeFileSync(file, `${secret}\n`, { mode: 0o600 });
  const address = readMetricsFlags(flags)?.address;
  const token = address?.token;
  assert.ok(token instanceof BearerToken);
  assert.ok(token.matches(secret));
  assert.ok(!token.matches(`${secret}x`) && !token.matches(''));
  for (const text of [inspect(address, { depth: 9 }), JSON.stringify(address)])
    assert.ok(!text.includes(secret));
  chmodSync(file, 0o640);
  assert.throws(() => readMetricsFlags(flags), { code: 'permission' });
  chmodSync(file, 0o600);
  writeFileSync(file, 'short');
  assert.throws(() => readMetricsFlags(flags), { code: 'config' });
});
