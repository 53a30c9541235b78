/** Known keys must not be found in anything that a running program emits: output, logs, /proc, answers to bad requests. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/eventually.ts';
import { joinByVeth, Namespace } from '../kit/netns.ts';
import { CULVERT_GO, newLinkName, requireInterop, socketPath } from '../kit/programs.ts';
import { ping } from '../kit/traffic.ts';
import { askUapi } from '../kit/uapi-client.ts';
import { newKeyPair, newPresharedKey } from '../kit/wg.ts';
import { aim, introduce, OUTER, startLinkedPair, startPair, TEST_TIMEOUT_MS } from './sides.ts';

const CULVERT = join(dirname(CULVERT_GO.path), 'culvert');
const skip = requireInterop([CULVERT_GO], { programs: ['ping'] });
const options = { skip, timeout: TEST_TIMEOUT_MS };

/** A key in every form in which it could be printed; a third of it is enough to be told. */
function forms(base64: string): string[] {
  const bytes = Buffer.from(base64, 'base64');
  const start = [...bytes.subarray(0, 10)];
  return [
    base64.slice(0, 16),
    encodeURIComponent(base64).slice(0, 20),
    bytes.toString('hex').slice(0, 20),
    bytes.toString('hex').toUpperCase().slice(0, 20),
    bytes.subarray(0, 10).toString('latin1'),
    start.join(','),
    start.join(', '),
    [...bytes.subarray(0, 10)].map((byte) => byte.toString(16).padStart(2, '0')).join(' '),
  ];
}

function assertSilent(texts: Readonly<Record<string, string>>, secrets: readonly string[]): void {
  for (const [where, text] of Object.entries(texts))
    for (const secret of secrets)
      for (const form of forms(secret)) assert.ok(!text.includes(form), `${where} shows a secret: ${form}`);
}

/** What everybody with an account, or with root, can read of a process without looking into its memory. */
function procOf(pid: number): Record<string, string> {
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'latin1');
  const files = readdirSync(`/proc/${pid}/fd`);
  return {
    cmdline: read('cmdline'),
    environ: read('environ'),
    comm: read('comm'),
    status: read('status'),
    maps: read('maps'),
    descriptors: String(files.length),
  };
}

/** Requests that are wrong in a place where a secret stands. */
function badRequests(privateKey: string, presharedKey: string, publicKey: string): string[] {
  const [secret, shared, peer] = [privateKey, presharedKey, publicKey].map((key) =>
    Buffer.from(key, 'base64').toString('hex'),
  ) as [string, string, string];
  return [
    `set=1\nprivate_key=${secret}0`,
    `set=1\nprivate_key=${secret.slice(1)}`,
    `set=1\nprivatekey=${secret}`,
    `set=1\n${secret}`,
    `set=1\nlisten_port=${secret}`,
    `set=1\nprivate_key=${secret}\npublic_key=${peer}\npreshared_key=${shared}x`,
    `set=1\npublic_key=${peer}\nendpoint=${shared}`,
    `set=1\npublic_key=${peer}\nallowed_ip=${shared}/32`,
    `set=1\nprivate_key=${secret}\nlisten_port=99999`,
  ];
}

test(
  'culvert-go: no key in logs, /proc or answers to bad requests, also with every log line on',
  options,
  async (t) => {
    await using left = Namespace.create();
    await using right = Namespace.create();
    const folder = mkdtempSync(join(tmpdir(), 'culvert-secrets-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const logFile = join(folder, 'log');
    joinByVeth(
      { namespace: left, link: 'veth', addresses: ['10.0.0.1/24'] },
      { namespace: right, link: 'veth', addresses: ['10.0.0.2/24'] },
    );
    const presharedKey = newPresharedKey();
    const env = { LOG_LEVEL: 'verbose', WG_LOG_FILE: logFile };
    const { one, two } = await startPair(
      { implementation: CULVERT_GO, namespace: left, env },
      { implementation: CULVERT_GO, namespace: right },
      presharedKey,
    );
    aim(one, two, OUTER.two[4]);
    await ping(left, two.inner4, { count: 3 });
    const secrets = [one.keys.privateKey, two.keys.privateKey, presharedKey];
    const answers: string[] = [];
    for (const request of badRequests(one.keys.privateKey, presharedKey, two.keys.publicKey))
      answers.push(await askUapi(one.process.socketPath, request).catch(() => ''));
    // A key that is taken back is no less a secret.
    const next = newKeyPair();
    introduce({ ...one, keys: next }, two);
    const proc = procOf(one.process.pid());
    await one.process.stop();
    const log = readFileSync(logFile, 'utf8');
    assert.match(log, /handshake/i);
    assert.ok(answers.filter((answer) => answer.startsWith('errno=-')).length >= 7);
    assertSilent({ log, answers: answers.join('\n'), ...proc }, [...secrets, next.privateKey]);
    assert.equal(statSync(logFile).mode & 0o777, 0o600);
  },
);

test('culvert-go: the socket is for root alone', options, async () => {
  await using pair = await startLinkedPair(CULVERT_GO, CULVERT_GO);
  const { mode, uid } = statSync(pair.one.process.socketPath);
  assert.equal(mode & 0o777, 0o700);
  assert.equal(uid, process.getuid?.());
});

test(
  'culvert up and check: no key in output, logs or /proc, whether the file is right or wrong',
  options,
  async (t) => {
    await using namespace = Namespace.create();
    const folder = mkdtempSync(join(tmpdir(), 'culvert-secrets-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const link = newLinkName();
    namespace.defer(() => rmSync(socketPath(link), { force: true }));
    const file = join(folder, `${link}.conf`);
    const [{ privateKey }, { publicKey }, presharedKey] = [newKeyPair(), newKeyPair(), newPresharedKey()];
    const right = [
      `[Interface]\nPrivateKey = ${privateKey}\nAddress = 10.7.0.1/24`,
      `[Peer]\nPublicKey = ${publicKey}\nPresharedKey = ${presharedKey}\nAllowedIPs = 10.8.0.0/16\n`,
    ].join('\n');
    const wrong = [
      right.replace('PrivateKey', 'PrivatKey'),
      right.replace('PrivateKey = ', 'PrivateKey = x'),
      right.replace('\nAddress', ' Address'),
      right.replace('PresharedKey = ', 'PresharedKey '),
      right.replace('[Interface]\n', '['),
      right.replace('Address = ', `ListenPort = ${privateKey}\nAddress = `),
    ];
    for (const text of wrong) {
      writeFileSync(file, text, { mode: 0o600 });
      for (const args of [
        ['check', file],
        ['up', file],
      ]) {
        const { stdout, stderr } = namespace.try(CULVERT, args, { env: { CULVERT_DEBUG: '1' } });
        assert.notEqual(stdout + stderr, '');
        assertSilent({ [`${args[0]}: ${stderr}`]: stdout + stderr }, [privateKey, presharedKey]);
      }
    }
    writeFileSync(file, right, { mode: 0o600 });
    let output = '';
    const child = namespace.spawn(CULVERT, ['up', file, '--log-level', 'debug'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const exited = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
    await eventually('it is up', () => namespace.try('wg', ['show', link]).status === 0);
    await eventually('it has its peer', () =>
      namespace.exec('wg', ['show', link, 'peers']).includes(publicKey),
    );
    const proc = procOf(
      Number(/pid=(\d+)/.exec(namespace.exec('ss', ['-xlpH', 'src', socketPath(link)]))?.[1]),
    );
    const shown = namespace.exec(CULVERT, ['show', link]);
    child.kill('SIGTERM');
    await exited;
    assert.match(output, /device_up/);
    assertSilent({ output, shown, ...proc }, [privateKey, presharedKey]);
  },
);
