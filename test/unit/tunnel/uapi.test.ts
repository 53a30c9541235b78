import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError, SystemError } from '../../../src/core/errors.ts';
import { silentLogger } from '../../../src/core/log.ts';
import type { Configurable } from '../../../src/tunnel/config.ts';
import { serveUapi } from '../../../src/tunnel/uapi.ts';
import { parseState } from '../../../src/tunnel/uapi-reply.ts';
import { FakeDevice } from '../../kit/fake-device.ts';
import { fakeZones } from '../../kit/zones.ts';

const KEY_A = 'aa'.repeat(32);
const KEY_B = 'bb'.repeat(32);

/** Sends `chunks` one after the other, then closes the writing side. Returns everything the server answers. */
async function talk(device: Configurable, ...chunks: readonly string[]): Promise<string> {
  const answers: Buffer[] = [];
  async function* input(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) {
      await Promise.resolve();
      yield Uint8Array.from(Buffer.from(chunk));
    }
  }
  const write = (bytes: Uint8Array) => {
    answers.push(Buffer.from(bytes));
    return Promise.resolve();
  };
  await serveUapi({ input: input(), write }, { device, zones: fakeZones, logger: silentLogger });
  return Buffer.concat(answers).toString();
}

test('get prints the state in the order of wireguard-go', async () => {
  const device = new FakeDevice();
  const set =
    `set=1\nprivate_key=${KEY_A}\nlisten_port=51820\nfwmark=32\npublic_key=${KEY_A}\npreshared_key=${KEY_B}\n` +
    'endpoint=[fe80::1%eth0]:51821\npersistent_keepalive_interval=25\nallowed_ip=10.1.2.3/8\nallowed_ip=fd00::1/64\n' +
    `public_key=${KEY_B}\n\n`;
  assert.equal(await talk(device, set), 'errno=0\n\n');
  device.observe(KEY_A, { lastHandshakeMs: 1_700_000_000_123, txBytes: 2n ** 63n, rxBytes: 92n });
  assert.equal(
    await talk(device, 'get=1\n\n'),
    `private_key=a8${'aa'.repeat(30)}6a\nlisten_port=51820\nfwmark=32\n` +
      `public_key=${KEY_A}\npreshared_key=${KEY_B}\nprotocol_version=1\nendpoint=[fe80::1%eth0]:51821\n` +
      'last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=123000000\ntx_bytes=9223372036854775808\n' +
      'rx_bytes=92\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\nallowed_ip=fd00::/64\n' +
      `public_key=${KEY_B}\npreshared_key=${'0'.repeat(64)}\nprotocol_version=1\nlast_handshake_time_sec=0\n` +
      'last_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\npersistent_keepalive_interval=0\nerrno=0\n\n',
  );
});

test('a fresh device has nothing to tell', async () => {
  assert.equal(await talk(new FakeDevice(), 'get=1\n\n'), 'errno=0\n\n');
});

test('pipelined requests are all answered, in order, and each sees the one before', async () => {
  assert.equal(
    await talk(new FakeDevice(), 'set=1\nlisten_port=7\n\nget=1\n\nset=1\nbad\n\nget=1\n\n'),
    'errno=0\n\nlisten_port=7\nerrno=0\n\nerrno=-71\n\nlisten_port=7\nerrno=0\n\n',
  );
});

test('requests that come byte by byte are answered like those in one piece', async () => {
  const text = `set=1\nprivate_key=${KEY_A}\nlisten_port=7\n\nget=1\n\n`;
  assert.equal(await talk(new FakeDevice(), ...text.split('')), await talk(new FakeDevice(), text));
});

test('a failed set changes nothing: the device is not even asked', async () => {
  const device = new FakeDevice();
  assert.equal(
    await talk(device, `set=1\nlisten_port=7\npublic_key=${KEY_A}\nallowed_ip=bad\n\n`),
    'errno=-22\n\n',
  );
  assert.deepEqual(device.changes, []);
});

test('an unknown operation closes the connection without an answer', async () => {
  const device = new FakeDevice();
  assert.equal(await talk(device, 'delete=1\n\nset=1\nlisten_port=7\n\n'), '');
  assert.deepEqual(device.changes, []);
});

test('a set that ends with the connection is applied and answered', async () => {
  const device = new FakeDevice();
  assert.equal(await talk(device, 'set=1\n', 'listen_port=7\n'), 'errno=0\n\n');
  assert.equal(device.state().listenPort, 7);
});

const FAILURES: readonly (readonly [Error, number])[] = [
  [new SystemError('in_use', 'bind port 7', 98, 'EADDRINUSE'), -98],
  [new SystemError('permission', 'bind port 7', 13, 'EACCES'), -13],
  [new AppError('in_use', 'port 7'), -98],
  [new AppError('config', 'too many peers'), -22],
  [new AppError('io', 'socket'), -5],
  [new AppError('internal', 'broken'), -55],
  [new TypeError('a bug'), -55],
];
for (const [failure, errno] of FAILURES) {
  test(`a device that answers ${failure.message} gives errno=${errno}`, async () => {
    const device = new FakeDevice();
    device.failure = failure;
    assert.equal(await talk(device, 'set=1\nlisten_port=7\n\nget=1\n\n'), `errno=${errno}\n\nerrno=0\n\n`);
  });
}

test('the answer to get waits until the set before it is through', async () => {
  const device = new FakeDevice();
  let open = () => {};
  device.gate = new Promise((resolve) => {
    open = resolve;
  });
  const answer = talk(device, 'set=1\nlisten_port=7\n\nget=1\n\n');
  setImmediate(open);
  assert.equal(await answer, 'errno=0\n\nlisten_port=7\nerrno=0\n\n');
});

test('130,560 allowed IPs go in and come out, in slices that let others run', async () => {
  const lines: string[] = [];
  for (let i = 0; i < 130_560; i++) lines.push(`allowed_ip=10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32\n`);
  const device = new FakeDevice();
  await talk(device, `set=1\npublic_key=${KEY_A}\n${lines.join('')}\n`);
  let turns = 0;
  let isDone = false;
  const turn = () => {
    turns++;
    if (!isDone) setImmediate(turn);
  };
  setImmediate(turn);
  const answer = await talk(device, 'get=1\n\n');
  isDone = true;
  assert.ok(turns > 20, `only ${turns} turns of the event loop`);
  assert.ok(answer.includes(`${lines.join('')}errno=0\n\n`));
});

test('slices are wiped once they are written', async () => {
  const device = new FakeDevice();
  await talk(device, `set=1\nprivate_key=${KEY_A}\n\n`);
  const written: Uint8Array[] = [];
  async function* input(): AsyncGenerator<Uint8Array> {
    yield Uint8Array.from(Buffer.from('get=1\n\n'));
  }
  const write = (bytes: Uint8Array) => {
    written.push(bytes);
    return Promise.resolve();
  };
  await serveUapi({ input: input(), write }, { device, zones: fakeZones, logger: silentLogger });
  assert.ok(written[0]?.every((byte) => byte === 0));
});

for (const failure of [undefined, new AppError('io', 'socket')]) {
  test(`the keys of a set are wiped once the device ${failure ? 'has refused' : 'has copied'} them`, async () => {
    const device = new FakeDevice();
    device.failure = failure;
    await talk(device, `set=1\nprivate_key=${KEY_A}\npublic_key=${KEY_B}\npreshared_key=${KEY_A}\n\n`);
    const [change] = device.given;
    assert.equal(change?.privateKey?.isZero, true);
    assert.equal(change?.peers[0]?.presharedKey?.isZero, true);
  });
}

test('set, get, set again what get said, get: nothing changes', async () => {
  const device = new FakeDevice();
  await talk(
    device,
    `set=1\nprivate_key=${KEY_A}\nlisten_port=7\nfwmark=9\npublic_key=${KEY_B}\npreshared_key=${KEY_A}\n` +
      'endpoint=[fd00::9]:1\npersistent_keepalive_interval=3\nallowed_ip=0.0.0.0/0\n\n',
  );
  const first = await talk(device, 'get=1\n\n');
  const settable = first
    .split('\n')
    .filter((line) => !/^(last_handshake|tx_bytes|rx_bytes|errno)/.test(line))
    .join('\n');
  const copy = new FakeDevice();
  assert.equal(await talk(copy, `set=1\n${settable}`), 'errno=0\n\n');
  assert.equal(await talk(copy, 'get=1\n\n'), first);
});

test('a client parses what the server prints', async () => {
  const device = new FakeDevice();
  await talk(
    device,
    `set=1\nlisten_port=7\npublic_key=${KEY_B}\nendpoint=[fe80::1%eth0]:1\nallowed_ip=10.0.0.0/8\n\n`,
  );
  device.observe(KEY_B, { lastHandshakeMs: 1_700_000_000_123, txBytes: 2n ** 64n - 1n });
  const { device: seen, errno } = parseState(await talk(device, 'get=1\n\n'));
  assert.equal(errno, 0);
  assert.equal(seen.listenPort, 7);
  assert.equal(seen.peers[0]?.endpoint?.zone, 'eth0');
  assert.equal(seen.peers[0]?.lastHandshakeMs, 1_700_000_000_123);
  assert.equal(seen.peers[0]?.txBytes, 2n ** 64n - 1n);
});

test('a client refuses an answer that is cut off or malformed, without repeating secrets', () => {
  assert.throws(() => parseState('listen_port=7\n'), { code: 'protocol' });
  assert.throws(
    () => parseState(`private_key=${'c'.repeat(63)}\nerrno=0\n\n`),
    (error: Error) => !error.message.includes('ccc'),
  );
});
