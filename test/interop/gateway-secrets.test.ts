/** Tokens and keys of a gateway and its machines must not be found in anything that the two programs emit. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SqliteStore } from '../../src/link/sqlite-store.ts';
import { generatePlainToken } from '../../src/link/join-token.ts';
import { systemRandom } from '../../src/core/random.ts';
import { CREATE_STREAM_PATH } from '../../src/link/grpc-front.ts';
import { createSite, CULVERT, GATEWAY_ADDRESS, GatewayProgram, uuid } from '../kit/gateway-program.ts';
import type { Namespace } from '../kit/netns.ts';
import { requireRoot } from '../kit/netns.ts';
import { TEST_TIMEOUT_MS } from './sides.ts';

const skip = requireRoot({ tun: true, programs: ['curl', 'setpriv'] });

/** Pids of all processes in the namespace. */
function pidsIn(namespace: Namespace): number[] {
  return namespace
    .exec('ip', ['netns', 'pids', namespace.name])
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

/** Empty for one that has gone, as the program has that listed them. */
function commandLineOf(pid: number): string[] {
  try {
    return [readFileSync(`/proc/${pid}/cmdline`, 'latin1')];
  } catch {
    return [];
  }
}

function assertHidden(
  texts: Readonly<Record<string, string>>,
  secrets: Readonly<Record<string, string>>,
): void {
  for (const [where, text] of Object.entries(texts)) {
    for (const [name, secret] of Object.entries(secrets)) {
      const bytes = Buffer.from(secret, 'base64');
      for (const form of [
        secret.slice(0, 20),
        encodeURIComponent(secret).slice(0, 20),
        bytes.toString('hex').slice(0, 24),
      ]) {
        assert.ok(!text.includes(form), `${where} shows the ${name}`);
      }
    }
  }
}

test(
  'gateway and machine: no token or key in logs, /proc/*/cmdline, metrics or answers',
  { skip, timeout: TEST_TIMEOUT_MS },
  async (t) => {
    const site = createSite(1);
    t.after(() => site.close());
    const gateway = new GatewayProgram(site.gateway, ['--log-level', 'debug', '--log-format', 'json']);
    // The first start says how to join, with the token; that is what it is for.
    await gateway.start();
    const { joinUrl } = await gateway.join();
    await gateway.end('SIGTERM');
    await gateway.start();
    const folder = mkdtempSync(join(tmpdir(), 'culvert-secrets-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const config = join(folder, 'link.yaml');
    const uniqueToken = generatePlainToken(systemRandom);
    const unique = JSON.stringify({ Fingerprint: 'f', Token: uniqueToken });
    writeFileSync(
      config,
      `apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: ${joinUrl}\nuniqueToken: '${unique}'\n`,
      { mode: 0o600 },
    );
    const machine = site.machines[0] as Namespace;
    const state = join(folder, 'state');
    let output = '';
    const child = machine.spawn(
      CULVERT,
      [
        'join',
        '--config',
        config,
        '--uuid',
        uuid(1),
        '--state',
        state,
        '--log-level',
        'debug',
        '--interface',
        'cvsecret',
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (text: Buffer) => (output += text.toString()));
    await gateway.connected(uuid(1));
    const joinToken = new URL(joinUrl.replace(/^grpc:/, 'http:')).searchParams.get('jointoken') as string;
    const wrongToken = generatePlainToken(systemRandom);
    const { serverKey } = SqliteStore.read(gateway.directory);
    assert.ok(serverKey && joinToken.length > 20);
    const secrets = {
      'join token': joinToken,
      'unique token': uniqueToken,
      'server key': serverKey.exposeBase64(),
    };
    // Wrong in a place where a secret stands.
    const bad = machine.try(CULVERT, [
      'join',
      '--uuid',
      uuid(2),
      '--state',
      join(folder, 'bad'),
      joinUrl.replace('grpc:', 'gopher:'),
    ]);
    const page = site.gateway.exec('curl', ['-sS', 'http://127.0.0.1:9586/metrics']);
    const refused = machine.try('curl', [
      '-sS',
      '--http2-prior-knowledge',
      '-X',
      'POST',
      '-H',
      'content-type: application/grpc',
      '-H',
      `x-siderolink-ipv6-addr: ${wrongToken}`,
      '--max-time',
      '2',
      `http://${GATEWAY_ADDRESS}:4000${CREATE_STREAM_PATH}`,
    ]);
    const listed = site.gateway.exec(CULVERT, ['machines', 'ls', '--state', gateway.directory]);
    const commandLines = [...pidsIn(site.gateway), ...pidsIn(machine)].flatMap(commandLineOf);
    assert.ok(commandLines.length >= 2);
    assertHidden(
      {
        'the log of the gateway': gateway.output,
        'the output of the machine': output,
        'a command line': commandLines.join('\n'),
        'the metrics page': page,
        'an answer': refused.stdout + refused.stderr,
        'an error': bad.stdout + bad.stderr,
        'the list of machines': listed,
      },
      secrets,
    );
    assert.match(gateway.output, /"event"/);
    // The admin socket too: the kernel lets nobody else connect to it.
    const files = readdirSync(gateway.directory);
    assert.ok(files.includes('admin.sock') && files.includes('state.db'), String(files));
    assert.equal(statSync(gateway.directory).mode & 0o777, 0o700);
    for (const name of files) assert.equal(statSync(join(gateway.directory, name)).mode & 0o777, 0o600, name);
    const stranger = site.gateway.try('setpriv', [
      '--reuid=65534',
      '--clear-groups',
      'curl',
      '-sS',
      '--unix-socket',
      join(gateway.directory, 'admin.sock'),
      'http://gateway/v1/status',
    ]);
    assert.notEqual(stranger.status, 0);
    assert.equal(stranger.stdout, '');
    child.kill('SIGTERM');
  },
);
