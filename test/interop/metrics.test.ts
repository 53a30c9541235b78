/** Metrics of a real device, as a Prometheus beside it would scrape them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../kit/eventually.ts';
import { samplesOf } from '../kit/metrics.ts';
import { Namespace } from '../kit/netns.ts';
import { implementationUnderTest, newLinkName, requireInterop, runProgram } from '../kit/programs.ts';
import { newKeyPair } from '../kit/wg.ts';
import { OUTER, aim, startLinkedPair } from './sides.ts';

const own = implementationUnderTest();
const CULVERT = fileURLToPath(new URL('../../../bin/culvert', import.meta.url));
const skip = requireInterop([own], { programs: ['curl', 'ping'] });

function get(namespace: Namespace, path: string): string {
  return namespace.exec('curl', ['-sS', '--max-time', '20', `http://127.0.0.1:9586${path}`]).trim();
}

test(
  'metrics: CULVERT_METRICS serves what wg shows, and ends with the device',
  { skip, timeout: 60_000 },
  async (t) => {
    process.env['CULVERT_METRICS'] = '127.0.0.1:9586';
    t.after(() => delete process.env['CULVERT_METRICS']);
    await using pair = await startLinkedPair(own, own);
    const [one, two] = [pair.one.process.namespace, pair.two.process.namespace];
    aim(pair.one, pair.two, OUTER.two[4]);
    await one.run('ping', ['-n', '-q', '-c', '3', '-i', '0.1', pair.two.inner4]);
    const wg = pair.one.process.wg.peer();
    const samples = samplesOf(get(one, '/metrics'));
    const value = (family: string, labels: string) => Number(samples.get(`${family}{${labels}}`));
    const device = `device="${pair.one.process.link}"`;
    const peer = `${device},public_key="${wg.publicKey}"`;
    assert.equal(value('wireguard_peer_last_handshake_seconds', peer), wg.latestHandshake);
    assert.ok(value('wireguard_peer_receive_bytes_total', peer) >= 148);
    assert.equal(value('culvert_device_up', device), 1);
    assert.equal(value('culvert_peers', `${device},state="active"`), 1);
    assert.equal(value('culvert_handshakes_total', `${device},role="initiator",result="completed"`), 1);
    assert.ok(samples.has(`wireguard_peer_info{${peer},endpoint="${wg.endpoint}",name=""}`));
    const responder = samplesOf(get(two, '/metrics'));
    const other = `device="${pair.two.process.link}"`;
    assert.equal(
      responder.get(`culvert_handshakes_total{${other},role="responder",result="completed"}`),
      '1',
    );
    assert.equal(get(one, '/readyz'), '{"ready":true,"problems":[]}');
    one.ip(`link set ${pair.one.process.link} down`);
    await eventually('it is not ready', () => get(one, '/readyz').includes('is down'));
    await Promise.all([pair.one.process.stop(), pair.two.process.stop()]);
  },
);

test(
  'metrics: an address that the machine lacks fails the start and leaves nothing',
  { skip, timeout: 60_000 },
  async (t) => {
    await using one = Namespace.create();
    const link = newLinkName();
    const directory = mkdtempSync(join(tmpdir(), 'culvert-metrics-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const tokenFile = join(directory, 'token');
    writeFileSync(tokenFile, 'a-token-of-many-letters', { mode: 0o600 });
    const env = { CULVERT_METRICS: '192.0.2.1:9586', CULVERT_METRICS_TOKEN_FILE: tokenFile };
    const result = runProgram(own, one, [link], env);
    assert.equal(result.status, 1);
    assert.match(result.output, /metrics cannot listen on 192\.0\.2\.1:9586: EADDRNOTAVAIL/);
    assert.notEqual(one.try('ip', ['link', 'show', 'dev', link]).status, 0);
  },
);

test(
  'metrics: culvert up --metrics names peers as the comments of its file do',
  { skip, timeout: 60_000 },
  async (t) => {
    await using one = Namespace.create();
    const link = newLinkName();
    const directory = mkdtempSync(join(tmpdir(), 'culvert-metrics-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const [keys, peer] = [newKeyPair(), newKeyPair()];
    const lines = [
      '[Interface]',
      `PrivateKey = ${keys.privateKey}`,
      'Address = 10.0.0.1/24',
      '[Peer]',
      '# friendly_name = office',
      `PublicKey = ${peer.publicKey}`,
      'AllowedIPs = 10.0.0.2/32',
    ];
    writeFileSync(join(directory, `${link}.conf`), `${lines.join('\n')}\n`, { mode: 0o600 });
    const flags = ['--metrics', '9586', '--metrics-compat', 'mindflavor', '--detach'];
    one.exec(CULVERT, ['up', join(directory, `${link}.conf`), ...flags]);
    const samples = samplesOf(get(one, '/metrics'));
    const labels = `device="${link}",public_key="${peer.publicKey}"`;
    assert.equal(samples.get(`wireguard_peer_info{${labels},endpoint="",name="office"}`), '1');
    assert.equal(samples.get(`wireguard_device_info{device="${link}",public_key="${keys.publicKey}"}`), '1');
    const other = `interface="${link}",public_key="${peer.publicKey}",allowed_ips="10.0.0.2/32",friendly_name="office"`;
    assert.equal(samples.get(`wireguard_sent_bytes_total{${other}}`), '0');
    assert.ok([...samples.keys()].some((name) => name.startsWith('process_cpu_seconds_total')));
    one.exec(CULVERT, ['down', link]);
  },
);
