import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { TrustStore } from '../../../../src/app/agent/trust.ts';
import { CERTIFICATE, OTHER_CERTIFICATE } from '../../../kit/certificates.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'culvert-trust-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('the machine’s list is trusted, and what the user adds', (t) => {
  const path = directory(t);
  const [list, mine] = [join(path, 'list.pem'), join(path, 'mine.pem')];
  writeFileSync(list, CERTIFICATE.cert);
  writeFileSync(mine, OTHER_CERTIFICATE.cert);
  const lists = [join(path, 'absent.pem'), list];
  assert.deepEqual(new TrustStore([], {}, lists).certificates(), [CERTIFICATE.cert]);
  assert.deepEqual(new TrustStore([mine], {}, lists).certificates(), [
    CERTIFICATE.cert,
    OTHER_CERTIFICATE.cert,
  ]);
  assert.deepEqual(new TrustStore([], { SSL_CERT_FILE: mine }, lists).certificates(), [
    OTHER_CERTIFICATE.cert,
  ]);
});

test('where the machine has no list, that of Node stands in', (t) => {
  const certificates = new TrustStore([], {}, [join(directory(t), 'absent.pem')]).certificates();
  assert.deepEqual(certificates, [...rootCertificates]);
});

test('a file that changes is read again; one that is gone for a moment is remembered', (t) => {
  const path = directory(t);
  const mine = join(path, 'mine.pem');
  writeFileSync(mine, CERTIFICATE.cert);
  const trust = new TrustStore([mine], {}, []);
  const own = () => trust.certificates().at(-1);
  assert.equal(own(), CERTIFICATE.cert);
  writeFileSync(mine, `${OTHER_CERTIFICATE.cert}\n`);
  assert.equal(own(), `${OTHER_CERTIFICATE.cert}\n`);
  rmSync(mine);
  assert.equal(own(), `${OTHER_CERTIFICATE.cert}\n`);
});

test('a file without a certificate is refused at once', (t) => {
  const path = join(directory(t), 'x.pem');
  assert.throws(() => new TrustStore([path], {}, []), { code: 'not_found' });
  writeFileSync(path, 'binary');
  assert.throws(() => new TrustStore([path], {}, []), { code: 'config', message: /has no PEM certificate/ });
});
