/** HTTP API of a plain device beside a real one, and `culvert page`. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DeviceStatusView } from '../../src/app/api/device-views.ts';
import type { DatapathView } from '../../src/app/api/datapath-view.ts';
import { STATE_DIRECTORY } from '../../src/app/undo-store.ts';
import { eventually } from '../kit/eventually.ts';
import { Namespace } from '../kit/netns.ts';
import { CULVERT_GO, newLinkName, requireInterop, runProgram } from '../kit/programs.ts';
import { newKeyPair } from '../kit/wg.ts';

const CULVERT = fileURLToPath(new URL('../../../bin/culvert', import.meta.url));
const skip = requireInterop([CULVERT_GO], { programs: ['curl', 'ping'] });

interface Asked {
  readonly url: string;
  readonly token: string;
}

/** What `culvert page` prints, taken apart. */
function signIn(namespace: Namespace, link: string): Asked {
  const [url = '', token = ''] = namespace.exec(CULVERT, ['page', link]).trim().split('#token=');
  return { url, token };
}

function get(namespace: Namespace, { url, token }: Asked, path: string): unknown {
  const header = `Authorization: Bearer ${token}`;
  return JSON.parse(namespace.exec('curl', ['-sS', '--max-time', '20', '-H', header, `${url}api/v1${path}`]));
}

const getStatus = (namespace: Namespace, asked: Asked) =>
  get(namespace, asked, '/status') as DeviceStatusView;
const getDatapath = (namespace: Namespace, asked: Asked) =>
  get(namespace, asked, '/datapath') as DatapathView;

test(
  'device API: CULVERT_HTTP serves it beside culvert-go, and its sign-in file ends with the device',
  { skip, timeout: 60_000 },
  async () => {
    await using namespace = Namespace.create();
    namespace.ip('link set lo up');
    const link = newLinkName();
    const file = join(STATE_DIRECTORY, `${link}.page`);
    const started = runProgram(CULVERT_GO, namespace, [link], { CULVERT_HTTP: '0' });
    assert.equal(started.status, 0, started.output);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const asked = signIn(namespace, link);
    assert.deepEqual(getStatus(namespace, asked).interface, link);
    namespace.ip(`link set ${link} up`);
    await eventually('it is up', () => getStatus(namespace, asked).isUp);
    const { device } = getDatapath(namespace, asked);
    const names = device.queues.map(({ name }) => name);
    for (const name of ['tun', 'staged', 'udp4_in', 'udp4_out', 'handshake_in_flight', 'handshake'])
      assert.ok(names.includes(name as never), name);
    assert.equal(device.offloads.gso, 'on');
    namespace.ip(`link delete ${link}`);
    await eventually('the file is gone', () => !existsSync(file));
    const gone = namespace.try(CULVERT, ['page', link]);
    assert.equal(gone.status, 1);
  },
);

test(
  'device API: culvert up --http names peers as its file does, counts what waits, and keeps keys to itself',
  { skip, timeout: 60_000 },
  async (t) => {
    await using namespace = Namespace.create();
    namespace.ip('link set lo up');
    const link = newLinkName();
    const directory = mkdtempSync(join(tmpdir(), 'culvert-page-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const [keys, peer, preshared] = [newKeyPair(), newKeyPair(), newKeyPair().privateKey];
    const lines = [
      '[Interface]',
      `PrivateKey = ${keys.privateKey}`,
      'Address = 10.0.0.1/24',
      '[Peer]',
      '# friendly_name = office',
      `PublicKey = ${peer.publicKey}`,
      `PresharedKey = ${preshared}`,
      'Endpoint = 127.0.0.1:9',
      'AllowedIPs = 10.0.0.2/32',
    ];
    writeFileSync(join(directory, `${link}.conf`), `${lines.join('\n')}\n`, { mode: 0o600 });
    const file = join(STATE_DIRECTORY, `${link}.page`);
    namespace.exec(CULVERT, [
      'up',
      join(directory, `${link}.conf`),
      '--http',
      '0',
      '--detach',
      '--user',
      'nobody',
    ]);
    const asked = signIn(namespace, link);
    const said = JSON.stringify(
      ['/status', '/peers', '/peers/office'].map((path) => get(namespace, asked, path)),
    );
    assert.ok(said.includes(peer.publicKey) && said.includes('"hasPresharedKey":true'));
    assert.ok(!said.includes(keys.privateKey) && !said.includes(preshared));
    namespace.try('ping', ['-n', '-q', '-c', '3', '-i', '0.1', '-W', '1', '10.0.0.2']);
    assert.deepEqual(getDatapath(namespace, asked).device.staged, {
      packets: 3,
      bytes: 3 * 84,
      peers: 1,
    });
    namespace.exec(CULVERT, ['down', link]);
    // Somebody else than the device removes it: that has given up the right.
    await eventually('the file is gone', () => !existsSync(file));
  },
);
