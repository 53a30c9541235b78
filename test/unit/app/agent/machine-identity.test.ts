import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type IdentityOptions, loadIdentity } from '../../../../src/app/agent/machine-identity.ts';
import { seededRandom } from '../../../kit/random.ts';

const FIRMWARE = '4c4c4544-0042-3510-8052-c2c04f595231';

interface Setting {
  readonly root: string;
  readonly state: string;
  readonly warnings: string[];
  readonly load: (more?: Partial<IdentityOptions>, seed?: number) => ReturnType<typeof loadIdentity>;
}

function setting(t: TestContext): Setting {
  const root = mkdtempSync(join(tmpdir(), 'culvert-identity-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const state = join(root, 'state', 'agent');
  const warnings: string[] = [];
  const load: Setting['load'] = (more = {}, seed = 1) =>
    loadIdentity({
      stateDirectory: state,
      uuid: undefined,
      keyFile: undefined,
      documentToken: undefined,
      random: seededRandom(seed),
      root,
      warn: (text) => warnings.push(text),
      ...more,
    });
  return { root, state, warnings, load };
}

function put(path: string, text: string): void {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
}

test('a machine without firmware makes its UUID and its unique token once and keeps them to itself', (t) => {
  const { state, load } = setting(t);
  const first = load();
  assert.match(first.uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const second = load({}, 2);
  assert.deepEqual([second.uuid, second.uniqueToken], [first.uuid, first.uniqueToken]);
  for (const file of ['uuid', 'unique-token']) assert.equal(statSync(join(state, file)).mode & 0o777, 0o600);
  assert.equal(statSync(state).mode & 0o777, 0o700);
});

test('the UUID is the given one, else the kept one, else that of the firmware', (t) => {
  const { root, state, load } = setting(t);
  put(join(root, 'sys/class/dmi/id/product_uuid'), `${FIRMWARE.toUpperCase()}\n`);
  assert.equal(load().uuid, FIRMWARE);
  put(join(state, 'uuid'), '11111111-2222-3333-4444-555555555555\n');
  assert.equal(load().uuid, '11111111-2222-3333-4444-555555555555');
  assert.equal(load({ uuid: FIRMWARE }).uuid, FIRMWARE);
});

test('numbers that firmware gives to every machine are nobody’s', (t) => {
  const { root, load } = setting(t);
  for (const text of [
    '00000000-0000-0000-0000-000000000000',
    'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF',
    '03000200-0400-0500-0006-000700080009',
    'Not Specified',
    '',
  ]) {
    put(join(root, 'sys/class/dmi/id/product_uuid'), text);
    assert.notEqual(load().uuid, text.toLowerCase());
  }
});

test('a kept UUID that is none is an error that names the file', (t) => {
  const { state, load } = setting(t);
  put(join(state, 'uuid'), 'oops');
  assert.throws(load, { code: 'config', message: `${join(state, 'uuid')}: "oops" is not a UUID` });
});

test('the unique token is the kept one, else that of the document, else a new one over the hardware addresses', (t) => {
  const { root, state, load } = setting(t);
  for (const [name, address] of [
    ['eth1', '52:54:00:00:00:02'],
    ['eth0', '52:54:00:00:00:01'],
  ] as const) {
    put(join(root, 'sys/class/net', name, 'address'), `${address}\n`);
    mkdirSync(join(root, 'sys/class/net', name, 'device'));
  }
  put(join(root, 'sys/class/net/veth0/address'), '52:54:00:00:00:03\n');
  const document = '{"Fingerprint":"","Token":"from the document"}';
  assert.equal(load({ documentToken: document }).uniqueToken, document);
  const made = load().uniqueToken;
  const fingerprint = createHash('sha256').update('52:54:00:00:00:0152:54:00:00:00:02').digest('hex');
  assert.equal((JSON.parse(made) as { Fingerprint: string }).Fingerprint, fingerprint);
  assert.equal(load({ documentToken: document }).uniqueToken, made);
  put(join(state, 'unique-token'), '{"Token":""}');
  assert.throws(load, { code: 'config', message: /unique-token: node unique token has no "Token"/ });
});

test('without a key file each start has another key; with one it stays', (t) => {
  const { root, warnings, load } = setting(t);
  assert.ok(!load({}, 1).privateKey.equals(load({}, 2).privateKey));
  const keyFile = join(root, 'keys', 'agent.key');
  const first = load({ keyFile }, 1).privateKey;
  assert.equal(statSync(keyFile).mode & 0o777, 0o600);
  assert.ok(load({ keyFile }, 2).privateKey.equals(first));
  assert.deepEqual(warnings, []);
  chmodSync(keyFile, 0o644);
  load({ keyFile });
  assert.match(warnings[0] ?? '', /can be read by others/);
  writeFileSync(keyFile, 'not a key');
  assert.throws(() => load({ keyFile }), { code: 'config', message: /is not a WireGuard key/ });
  assert.equal(readFileSync(keyFile, 'utf8'), 'not a key');
});
