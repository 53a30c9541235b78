import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AppError } from '../../../src/core/errors.ts';
import { TlsFiles } from '../../../src/link/tls-files.ts';
import { CERTIFICATE, OTHER_CERTIFICATE, type TestCertificate } from '../../kit/certificates.ts';

function files(
  t: TestContext,
  pair: TestCertificate,
): { cert: string; key: string; write: typeof writeFileSync } {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-tls-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const [cert, key] = [join(directory, 'tls.crt'), join(directory, 'tls.key')];
  writeFileSync(cert, pair.cert);
  writeFileSync(key, pair.key);
  return { cert, key, write: writeFileSync };
}

test('a changed pair is noticed once', (t) => {
  const { cert, key, write } = files(t, CERTIFICATE);
  const tls = new TlsFiles(cert, key);
  assert.deepEqual(tls.pair, CERTIFICATE);
  assert.equal(tls.check(), undefined);
  write(cert, OTHER_CERTIFICATE.cert);
  write(key, OTHER_CERTIFICATE.key);
  assert.deepEqual(tls.check(), OTHER_CERTIFICATE);
  assert.equal(tls.check(), undefined);
});

test('while only one of the two has changed the old pair stays, and the problem is said once', (t) => {
  const { cert, key, write } = files(t, CERTIFICATE);
  const tls = new TlsFiles(cert, key);
  write(cert, OTHER_CERTIFICATE.cert);
  const error = tls.check();
  assert.ok(error instanceof AppError);
  assert.ok(error.message.includes(cert) && error.message.includes(key));
  assert.equal(tls.check(), undefined);
  assert.deepEqual(tls.pair, CERTIFICATE);
  write(key, OTHER_CERTIFICATE.key);
  assert.deepEqual(tls.check(), OTHER_CERTIFICATE);
});

test('a file that vanishes is named once and taken again when it is back', (t) => {
  const { cert, key, write } = files(t, CERTIFICATE);
  const tls = new TlsFiles(cert, key);
  rmSync(cert);
  assert.ok((tls.check() as AppError).message.startsWith(cert));
  assert.equal(tls.check(), undefined);
  write(cert, CERTIFICATE.cert);
  assert.equal(tls.check(), undefined);
  rmSync(cert);
  assert.ok(tls.check() instanceof AppError);
});

test('at the start a bad pair is an error', (t) => {
  const { cert, key, write } = files(t, CERTIFICATE);
  write(key, OTHER_CERTIFICATE.key);
  assert.throws(() => new TlsFiles(cert, key), { code: 'config' });
  write(cert, 'nonsense');
  assert.throws(() => new TlsFiles(cert, key), { code: 'config' });
  assert.throws(() => new TlsFiles(`${cert}.absent`, key), { code: 'io' });
});

test('other files take their place, unless they cannot be used', (t) => {
  const first = files(t, CERTIFICATE);
  const second = files(t, OTHER_CERTIFICATE);
  const tls = new TlsFiles(first.cert, first.key);
  assert.throws(() => tls.use(first.cert, second.key), { code: 'config' });
  assert.deepEqual(tls.pair, CERTIFICATE);
  assert.deepEqual(tls.use(second.cert, second.key), OTHER_CERTIFICATE);
  second.write(second.cert, CERTIFICATE.cert);
  second.write(second.key, CERTIFICATE.key);
  assert.deepEqual(tls.check(), CERTIFICATE);
});
