/** Who gets in: tokens in every state, TLS with a private CA, manual acceptance. Machines are `culvert join`. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { CERTIFICATE, OTHER_CERTIFICATE } from '../kit/certificates.ts';
import { eventually } from '../kit/eventually.ts';
import {
  createSite,
  GATEWAY_ADDRESS,
  GatewayProgram,
  JoinProgram,
  type Site,
  uuid,
} from '../kit/gateway-program.ts';
import { type Namespace, requireRoot } from '../kit/netns.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const skip = requireRoot({ tun: true, programs: ['ping', 'curl'] });

function temporaryFile(t: TestContext, name: string, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-admission-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

describe('join tokens', { skip, timeout: TEST_TIMEOUT_MS }, () => {
  let site: Site;
  let gateway: GatewayProgram;

  before(async () => {
    site = createSite(2);
    gateway = new GatewayProgram(site.gateway);
    await gateway.start();
  });
  after(() => site?.close());

  /** The gateway's count of refusals for this reason goes up while the machine tries. */
  async function isRefused(url: string, number: number, reason: string): Promise<void> {
    const sample = `culvert_provision_refusals_total{reason="${reason}"}`;
    const count = () => gateway.metric(sample) || 0;
    const before = count();
    const [namespace] = site.machines as [Namespace];
    const machine = new JoinProgram(namespace, { url, uuid: uuid(number), transport: 'udp' });
    await eventually(`refused: ${reason}\n${machine.output}`, () => count() > before, 30_000);
    await machine.end();
    assert.ok(!(await gateway.machines()).some(({ id }) => id === uuid(number)));
  }

  test('a wrong one is refused', async () => {
    const { joinUrl } = await gateway.join();
    await isRefused(joinUrl.replace(/jointoken=.*/, 'jointoken=wrong'), 10, 'unknown_join_token');
    await isRefused(joinUrl.replace(/\?.*/, ''), 11, 'missing_join_token');
  });

  test('one that was revoked is refused, and taken again when that is undone', async () => {
    const { joinUrl } = await gateway.admin.call('tokens.create', { name: 'revoked' });
    await gateway.admin.call('tokens.revoke', { name: 'revoked', isRevoked: true });
    await isRefused(joinUrl, 12, 'revoked_join_token');
    await gateway.admin.call('tokens.revoke', { name: 'revoked', isRevoked: false });
    const [namespace] = site.machines as [Namespace];
    const machine = new JoinProgram(namespace, { url: joinUrl, uuid: uuid(12), transport: 'udp' });
    await gateway.connected(uuid(12));
    await machine.end();
  });

  test('one that has expired is refused', async () => {
    const { joinUrl } = await gateway.admin.call('tokens.create', {
      name: 'expired',
      expiresAtMs: Date.now() + 50,
    });
    await eventually('it expires', async () =>
      (await gateway.admin.call('tokens.list', {})).some(
        ({ name, status }) => name === 'expired' && status === 'expired',
      ),
    );
    await isRefused(joinUrl, 13, 'expired_join_token');
  });

  test('one for a single machine lets that one in, again and again, and no other', async () => {
    const { joinUrl } = await gateway.admin.call('tokens.create', { name: 'single', useLimit: 1 });
    const [, namespace] = site.machines as [Namespace, Namespace];
    const first = new JoinProgram(namespace, { url: joinUrl, uuid: uuid(14), transport: 'udp' });
    const { address } = await gateway.connected(uuid(14));
    await isRefused(joinUrl, 15, 'used_up_join_token');
    await first.end();
    const again = new JoinProgram(namespace, { url: joinUrl, uuid: uuid(14), transport: 'grpc' });
    assert.equal((await gateway.connected(uuid(14), 'grpc')).address, address);
    await again.end();
  });
});

describe('TLS with a private CA', { skip, timeout: TEST_TIMEOUT_MS }, () => {
  let site: Site;
  before(() => (site = createSite(0)));
  after(() => site?.close());

  test('machines that trust it join over UDP and gRPC, others do not; a new certificate is taken without a restart', async (t) => {
    const cert = temporaryFile(t, 'cert.pem', CERTIFICATE.cert);
    const key = temporaryFile(t, 'key.pem', CERTIFICATE.key);
    const gateway = new GatewayProgram(site.gateway, [
      ...['--tls-cert', cert, '--tls-key', key],
      ...['--advertise', 'https://gateway.test:4000', '--wg-endpoint', `${GATEWAY_ADDRESS}:50180`],
    ]);
    await gateway.start();
    const { joinUrl } = await gateway.join();
    assert.match(joinUrl, /^https:\/\/gateway\.test:4000\?/);
    // No resolver in a namespace: through loopback, where localhost is a name of the certificate.
    const local = joinUrl.replace('gateway.test', 'localhost');
    const stranger = new JoinProgram(site.gateway, { url: local, uuid: uuid(20), transport: 'udp' });
    await eventually(`the certificate is not trusted\n${stranger.output}`, () =>
      /certificate/i.test(stranger.output),
    );
    await stranger.end();
    const ca = temporaryFile(t, 'ca.pem', CERTIFICATE.cert + OTHER_CERTIFICATE.cert);
    const trusting = new JoinProgram(site.gateway, {
      url: local,
      uuid: uuid(21),
      transport: 'grpc',
      args: ['--ca', ca],
    });
    await gateway.connected(uuid(21), 'grpc');
    writeFileSync(key, OTHER_CERTIFICATE.key);
    writeFileSync(cert, OTHER_CERTIFICATE.cert);
    await eventually('the new one is taken', () => gateway.output.includes('certificate_reloaded'), 30_000);
    const onlyNew = temporaryFile(t, 'new.pem', OTHER_CERTIFICATE.cert);
    const later = new JoinProgram(site.gateway, {
      url: local,
      uuid: uuid(22),
      transport: 'udp',
      args: ['--ca', onlyNew],
    });
    await gateway.connected(uuid(22), 'udp');
    await gateway.connected(uuid(21), 'grpc');
    await Promise.all([trusting.end(), later.end()]);
  });
});

describe('serve --accept manual', { skip, timeout: TEST_TIMEOUT_MS }, () => {
  let site: Site;
  before(() => (site = createSite(2)));
  after(() => site?.close());

  test('a new machine waits, is listed, and is let in; one that is denied stays out', async () => {
    const gateway = new GatewayProgram(site.gateway, ['--accept', 'manual']);
    await gateway.start();
    const { joinUrl } = await gateway.join();
    const [a, b] = site.machines as [Namespace, Namespace];
    const wanted = new JoinProgram(a, { url: joinUrl, uuid: uuid(30), transport: 'udp' });
    const unwanted = new JoinProgram(b, { url: joinUrl, uuid: uuid(31), transport: 'udp' });
    const waiting = (number: number) =>
      eventually(
        `machine ${number} waits`,
        async () =>
          (await gateway.machines()).find(({ id, state }) => id === uuid(number) && state === 'pending'),
        30_000,
      );
    const { address } = await waiting(30);
    await waiting(31);
    await gateway.admin.call('machines.accept', { machine: uuid(30) });
    assert.equal((await gateway.connected(uuid(30))).address, address, 'it keeps its address');
    await gateway.admin.call('machines.deny', { machine: uuid(31) });
    const { machines, denied } = await gateway.admin.call('machines.list', {});
    assert.deepEqual([machines.length, denied], [1, [uuid(31)]]);
    await Promise.all([wanted.end(), unwanted.end()]);
  });
});
