import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatPrefix, formatSocketAddress } from '../../../src/core/ip.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../../src/noise/keys.ts';
import type { DeviceChange } from '../../../src/tunnel/config.ts';
import { printChange } from '../../../src/tunnel/uapi-change.ts';
import { UAPI_LIMITS } from '../../../src/tunnel/uapi-errno.ts';
import { printEndpoint } from '../../../src/tunnel/uapi-reply.ts';
import { UapiReader, type UapiRequest } from '../../../src/tunnel/uapi-request.ts';
import { fakeZones } from '../../kit/zones.ts';

const KEY_A = 'aa'.repeat(31) + '01';
const KEY_B = 'bb'.repeat(32);

function readAll(text: string, chunkSize = 65_536): UapiRequest[] {
  const reader = new UapiReader(fakeZones);
  const bytes = Buffer.from(text, 'utf8');
  const requests: UapiRequest[] = [];
  for (let at = 0; at < bytes.length; at += chunkSize)
    requests.push(...reader.read(Uint8Array.from(bytes.subarray(at, at + chunkSize))));
  const last = reader.end();
  if (last) requests.push(last);
  return requests;
}

function change(text: string): DeviceChange {
  const requests = readAll(`set=1\n${text}\n`);
  const [request] = requests;
  assert.equal(requests.length, 1);
  assert.ok(request?.kind === 'set', JSON.stringify(request));
  return request.change;
}

function errno(lines: string): number {
  const requests = readAll(`set=1\n${lines}\n`);
  const [request] = requests;
  assert.equal(requests.length, 1, 'one answer for the whole request');
  assert.ok(request?.kind === 'refused', `accepted: ${lines}`);
  return request.errno;
}

/** A change in comparable form; keys as hexadecimal. */
function plain(change: DeviceChange): unknown {
  return {
    ...change,
    privateKey: change.privateKey?.exposeHex(),
    peers: change.peers.map((peer) => ({
      ...peer,
      publicKey: peer.publicKey.hex,
      presharedKey: peer.presharedKey?.exposeHex(),
      endpoint: peer.endpoint && printEndpoint(peer.endpoint, fakeZones),
      allowedIps: peer.allowedIps?.map(({ prefix, remove }) => `${remove ? '-' : ''}${formatPrefix(prefix)}`),
    })),
  };
}

test('a set request holds every device and peer key of the protocol', () => {
  const parsed = change(
    `private_key=${KEY_A}\nlisten_port=51820\nfwmark=4294967295\nreplace_peers=true\n` +
      `public_key=${KEY_A}\nupdate_only=true\npreshared_key=${KEY_B}\nendpoint=192.0.2.1:51821\n` +
      `persistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=10.1.2.3/8\nallowed_ip=-fd00::1/64\n` +
      `protocol_version=1\npublic_key=${KEY_B}\nremove=true\n`,
  );
  assert.deepEqual(plain(parsed), {
    privateKey: 'a8' + 'aa'.repeat(30) + '41',
    listenPort: 51820,
    fwmark: 4294967295,
    replacePeers: true,
    peers: [
      {
        publicKey: KEY_A,
        updateOnly: true,
        presharedKey: KEY_B,
        endpoint: '192.0.2.1:51821',
        persistentKeepalive: 25,
        replaceAllowedIps: true,
        allowedIps: ['10.0.0.0/8', '-fd00::/64'],
      },
      { publicKey: KEY_B, presharedKey: undefined, endpoint: undefined, remove: true, allowedIps: [] },
    ],
  });
});

test('upper case hexadecimal is accepted', () => {
  const [peer] = change(`public_key=${KEY_A.toUpperCase()}\n`).peers;
  assert.equal(peer?.publicKey.hex, KEY_A);
});

test('an all-zero private key is kept as such, because it means "remove the key"', () => {
  assert.equal(change(`private_key=${'0'.repeat(64)}\n`).privateKey?.isZero, true);
});

test('a link-local endpoint takes the index of its interface, by name or by number', () => {
  const scope = (zone: string) =>
    change(`public_key=${KEY_A}\nendpoint=[fe80::1%${zone}]:7\n`).peers[0]?.endpoint?.scope;
  assert.equal(scope('eth0'), 2);
  assert.equal(scope('19'), 19);
});

test('replace_allowed_ips takes back the allowed_ip lines before it', () => {
  const [peer] = change(
    `public_key=${KEY_A}\nallowed_ip=10.0.0.0/8\nreplace_allowed_ips=true\nallowed_ip=10.1.0.0/16\n`,
  ).peers;
  assert.deepEqual(
    peer?.allowedIps?.map(({ prefix }) => formatPrefix(prefix)),
    ['10.1.0.0/16'],
  );
});

const INVALID = -22;
const PROTOCOL = -71;
const REFUSED: readonly (readonly [string, number])[] = [
  ['unknown_key=1\n', INVALID],
  ['__proto__=1\n', INVALID],
  ['constructor=1\n', INVALID],
  ['=\n', INVALID],
  ['no equals sign\n', PROTOCOL],
  ['private_key=00\n', INVALID],
  [`private_key=${'g'.repeat(64)}\n`, INVALID],
  [`private_key=${KEY_A}0\n`, INVALID],
  ['listen_port=65536\n', INVALID],
  ['listen_port=-1\n', INVALID],
  ['listen_port=+1\n', INVALID],
  ['listen_port=0x10\n', INVALID],
  ['listen_port=1 \n', INVALID],
  ['listen_port=\n', INVALID],
  ['fwmark=4294967296\n', INVALID],
  ['fwmark=0x20\n', INVALID],
  ['fwmark=\n', INVALID],
  ['replace_peers=false\n', INVALID],
  ['replace_peers=1\n', INVALID],
  ['endpoint=1.2.3.4:5\n', INVALID],
  ['public_key=\n', INVALID],
  [`public_key=${KEY_A}\nlisten_port=1\n`, INVALID],
  [`public_key=${KEY_A}\n__proto__=1\n`, INVALID],
  [`public_key=${KEY_A}\nupdate_only=false\n`, INVALID],
  [`public_key=${KEY_A}\nremove=\n`, INVALID],
  [`public_key=${KEY_A}\nremove=true\npreshared_key=1\n`, INVALID],
  [`public_key=${KEY_A}\npreshared_key=${KEY_A.slice(1)}\n`, INVALID],
  [`public_key=${KEY_A}\nendpoint=example.org:51820\n`, INVALID],
  [`public_key=${KEY_A}\nendpoint=1.2.3.4\n`, INVALID],
  [`public_key=${KEY_A}\nendpoint=1.2.3.4:65536\n`, INVALID],
  [`public_key=${KEY_A}\nendpoint=fd00::1:51820\n`, INVALID],
  [`public_key=${KEY_A}\nendpoint=[1.2.3.4]:51820\n`, INVALID],
  [`public_key=${KEY_A}\nendpoint=[fe80::1%nosuch]:51820\n`, INVALID],
  [`public_key=${KEY_A}\npersistent_keepalive_interval=65536\n`, INVALID],
  [`public_key=${KEY_A}\npersistent_keepalive_interval=off\n`, INVALID],
  [`public_key=${KEY_A}\nreplace_allowed_ips=yes\n`, INVALID],
  [`public_key=${KEY_A}\nallowed_ip=10.0.0.1\n`, INVALID],
  [`public_key=${KEY_A}\nallowed_ip=10.0.0.0/33\n`, INVALID],
  [`public_key=${KEY_A}\nallowed_ip=--10.0.0.0/8\n`, INVALID],
  [`public_key=${KEY_A}\nallowed_ip=+10.0.0.0/8\n`, INVALID],
  [`public_key=${KEY_A}\nprotocol_version=2\n`, INVALID],
];
for (const [lines, expected] of REFUSED) {
  test(`a set request with ${JSON.stringify(lines.replaceAll(KEY_A, '…'))} is refused with errno=${expected}`, () => {
    assert.equal(errno(lines), expected);
  });
}

test('the first problem of a request decides its errno', () => {
  assert.equal(errno('no equals sign\nlisten_port=x\n'), PROTOCOL);
  assert.equal(errno('listen_port=x\nno equals sign\n'), INVALID);
});

test('a refusal names the bad value but never a key', () => {
  const secret = 'c'.repeat(63);
  for (const lines of [`private_key=${secret}\n`, `public_key=${KEY_A}\npreshared_key=${secret}\n`]) {
    const [request] = readAll(`set=1\n${lines}\n`);
    assert.ok(request?.kind === 'refused');
    assert.ok(!request.problem.includes(secret));
  }
  const [request] = readAll('set=1\nlisten_port=99999\n\n');
  assert.ok(request?.kind === 'refused' && request.problem.includes('99999'));
});

test('get=1 with a line of its own is refused and read to its blank line', () => {
  assert.deepEqual(
    readAll('get=1\nfoo=1\n\nget=1\n\n').map((request) => request.kind),
    ['refused', 'get'],
  );
});

for (const first of ['', 'get', 'get=2', 'GET=1', 'set=1 ', 'set=10', '\0', 'x'.repeat(5000)]) {
  test(`the first line ${JSON.stringify(first.slice(0, 10))} ends the connection`, () => {
    assert.deepEqual(
      readAll(`${first}\n`).map((request) => request.kind),
      ['unknown'],
    );
  });
}

test('requests may follow each other in one write', () => {
  assert.deepEqual(
    readAll('set=1\nlisten_port=1\n\nget=1\n\nset=1\nbad\n\nget=1\n\n').map((request) => request.kind),
    ['set', 'get', 'refused', 'get'],
  );
});

test('an empty set is a valid request that changes nothing', () => {
  assert.deepEqual(readAll('set=1\n\n'), [{ kind: 'set', change: { peers: [] } }]);
});

test('the end of the connection ends a set request like a blank line', () => {
  assert.deepEqual(readAll('set=1\nlisten_port=7\n'), [
    { kind: 'set', change: { listenPort: 7, peers: [] } },
  ]);
});

test('a set request whose last line is cut off is never applied', () => {
  const requests = readAll(`set=1\npublic_key=${KEY_A}\nallowed_ip=10.0.0.0/2`);
  assert.ok(requests[0]?.kind === 'refused');
  assert.equal(requests[0].errno, PROTOCOL);
});

test('the end of the connection within get=1 or the first line is no request', () => {
  assert.deepEqual(readAll('get=1\n'), []);
  assert.deepEqual(readAll('set=1'), []);
  assert.deepEqual(readAll(''), []);
});

test('a line longer than the limit is refused without being stored, in one piece or many', () => {
  const line = `listen_port=${'0'.repeat(3 * UAPI_LIMITS.lineBytes)}1`;
  for (const chunkSize of [1, 100, 1 << 20]) {
    const requests = readAll(`set=1\n${line}\n\nget=1\n\n`, chunkSize);
    assert.ok(requests[0]?.kind === 'refused');
    assert.equal(requests[0].errno, INVALID);
    assert.equal(requests[1]?.kind, 'get');
  }
});

test('a line of exactly the limit is still read, in one piece or many', () => {
  const line = `fwmark=${'x'.repeat(UAPI_LIMITS.lineBytes - 'fwmark='.length)}`;
  for (const chunkSize of [1, 1 << 20]) {
    const [request] = readAll(`set=1\n${line}\n\n`, chunkSize);
    assert.ok(request?.kind === 'refused' && request.problem.startsWith('fwmark'));
  }
});

test('a request above the size limit is refused with E2BIG and the next one is served', () => {
  const reader = new UapiReader(fakeZones, 1000);
  const text = `set=1\npublic_key=${KEY_A}\n${'allowed_ip=10.0.0.0/8\n'.repeat(60)}\nget=1\n\n`;
  const requests = [...reader.read(Uint8Array.from(Buffer.from(text)))];
  assert.ok(requests[0]?.kind === 'refused');
  assert.equal(requests[0].errno, -7);
  assert.equal(requests[1]?.kind, 'get');
});

test('130,560 allowed IPs fit in one request', () => {
  const lines: string[] = [];
  for (let i = 0; i < 130_560; i++) lines.push(`allowed_ip=10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`);
  const parsed = change(`public_key=${KEY_A}\n${lines.join('\n')}\n`);
  assert.equal(parsed.peers[0]?.allowedIps?.length, 130_560);
});

test('what the reader has read is wiped', () => {
  const reader = new UapiReader(fakeZones);
  const chunk = Uint8Array.from(Buffer.from(`set=1\nprivate_key=${KEY_A}\n`));
  assert.deepEqual([...reader.read(chunk)], []);
  assert.ok(chunk.every((byte) => byte === 0));
});

// Properties.

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const v4 = fc.ipV4().map((text) => Uint8Array.from(text.split('.'), Number));
const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const prefix = fc.oneof(v4, v6).chain((address) =>
  fc.nat(address.length * 8).map((length) => {
    const masked = address.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i))));
    return { address: masked, length };
  }),
);
const endpoint = fc
  .record({ address: fc.oneof(v4, v6), port: fc.nat(65535), zone: fc.constantFrom(0, 2, 3, 77) })
  .map(({ address, port, zone }) => ({ address, port, scope: address.length === 4 ? 0 : zone, carrier: 0 }));
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const peerChange = fc.record(
  {
    publicKey: key.map((bytes) => new PublicKey(bytes)),
    updateOnly: fc.constant(true),
    remove: fc.constant(true),
    presharedKey: key.map((bytes) => new PresharedKey(bytes)),
    endpoint,
    persistentKeepalive: fc.nat(65535),
    replaceAllowedIps: fc.constant(true),
    allowedIps: fc.array(fc.record({ prefix, remove: fc.boolean() }), { maxLength: 5 }),
  },
  { requiredKeys: ['publicKey', 'allowedIps'] },
);
const deviceChange: fc.Arbitrary<DeviceChange> = fc.record(
  {
    privateKey: key.map((bytes) => new PrivateKey(bytes)),
    listenPort: fc.nat(65535),
    fwmark: uint32,
    replacePeers: fc.constant(true),
    peers: fc.array(peerChange, { maxLength: 4 }),
  },
  { requiredKeys: ['peers'] },
);

test('parse(print(change)) is the change, however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(deviceChange, { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 200 }),
      (changes, size) => {
        const text = changes.map((one) => printChange(one, (to) => printEndpoint(to, fakeZones))).join('');
        const requests = readAll(text, size);
        assert.deepEqual(
          requests.map((request) => (request.kind === 'set' ? plain(request.change) : request)),
          changes.map(plain),
        );
      },
    ),
  );
});

const token = fc.constantFrom(
  'get=1',
  'set=1',
  '\n',
  '\n\n',
  '=',
  'private_key=',
  'public_key=',
  KEY_A,
  KEY_B,
  'endpoint=',
  'allowed_ip=',
  '1.2.3.4',
  '/',
  ':',
  '51820',
  '-',
  '[',
  ']',
  '%eth0',
  '::',
  'true',
  'remove=',
  '\0',
  '\r',
  'é',
);
test('no sequence of bytes makes the reader throw, and cutting it differently changes nothing', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 400 }),
    fc.array(token, { maxLength: 40 }).map((all) => all.join('')),
  );
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 7 }), (tail, size) => {
      const input = `set=1\n${tail}`;
      const show = (request: UapiRequest) => (request.kind === 'set' ? plain(request.change) : request);
      assert.deepEqual(readAll(input, size).map(show), readAll(input).map(show));
    }),
    { numRuns: 500 },
  );
});

test('endpoints print as wg reads them', () => {
  assert.equal(formatSocketAddress({ address: Uint8Array.of(1, 2, 3, 4), port: 5 }), '1.2.3.4:5');
  assert.equal(
    printEndpoint({ address: new Uint8Array(16).fill(1, 15), port: 9, scope: 3, carrier: 0 }, fakeZones),
    '[::1%wlan0]:9',
  );
});
