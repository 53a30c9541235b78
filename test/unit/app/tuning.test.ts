import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../../src/core/errors.ts';
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
