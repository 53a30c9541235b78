import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatAddress, formatPrefix } from '../../../src/core/ip.ts';
import { PresharedKey, PrivateKey, PublicKey } from '../../../src/noise/keys.ts';
import {
  type WgConf,
  checkWgConf,
  interfaceNameOf,
  isInterfaceName,
  parseWgConf,
} from '../../../src/app/wg-conf.ts';
import {
  formatHostPort,
  formatInterfaceAddress,
  printWgConf,
  toDeviceChange,
} from '../../../src/app/wg-conf-print.ts';

const PRIVATE = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const PUBLIC_A = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const PUBLIC_B = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';
const PRESHARED = 'FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=';

/** A WgConf in comparable form. */
function plain(conf: WgConf): unknown {
  const { device, peers } = conf;
  return {
    device: {
      ...device,
      privateKey: device.privateKey?.exposeBase64(),
      addresses: device.addresses.map(formatInterfaceAddress),
      dns: device.dns.map(formatAddress),
    },
    peers: peers.map((peer) => ({
      ...peer,
      publicKey: peer.publicKey.base64,
      presharedKey: peer.presharedKey?.exposeBase64(),
      endpoint: peer.endpoint && formatHostPort(peer.endpoint),
      allowedIps: peer.allowedIps.map(({ prefix, remove }) => (remove ? '-' : '') + formatPrefix(prefix)),
    })),
  };
}

function parse(text: string): WgConf {
  return parseWgConf(text, 'wg0.conf').conf;
}

/** The message of the first problem, with its place. */
function failure(text: string): string {
  let message = '';
  assert.throws(
    () => parse(text),
    (error: Error & { code: string; exitCode: number; hint?: string }) => {
      assert.equal(error.code, 'config');
      assert.equal(error.exitCode, 2);
      message = error.hint === undefined ? error.message : `${error.message} | ${error.hint}`;
      return true;
    },
  );
  return message;
}

const inPeer = (line: string) => `[Peer]\nPublicKey = ${PUBLIC_A}\n${line}\n`;
const inInterface = (line: string) => `[Interface]\n${line}\n`;

test('every key of wg and wg-quick is read', () => {
  const conf = parse(`
    [Interface]
    Address = 10.0.0.1/24, fd00::1/64
    Address = 192.0.2.7
    DNS = 1.1.1.1, 2606:4700::1111 example.org,lan
    MTU = 1380
    Table = off
    PreUp = echo pre %i
    PostUp = echo a; echo b
    PostUp = echo c=d
    PreDown = echo down
    PostDown = echo post
    SaveConfig = true
    PrivateKey = ${PRIVATE}
    ListenPort = 51820
    FwMark = 0xca6c
    [Peer]
    PublicKey = ${PUBLIC_A}
    PresharedKey = ${PRESHARED}
    AllowedIPs = 0.0.0.0/0, ::/0
    AllowedIPs = 10.1.2.3
    Endpoint = vpn.example.org:51820
    PersistentKeepalive = 25
    [Peer]
    PublicKey = ${PUBLIC_B}
    Endpoint = [fd00::9]:1
    PersistentKeepalive = off`);
  assert.deepEqual(plain(conf), {
    device: {
      addresses: ['10.0.0.1/24', 'fd00::1/64', '192.0.2.7/32'],
      dns: ['1.1.1.1', '2606:4700::1111'],
      dnsSearch: ['example.org', 'lan'],
      mtu: 1380,
      table: 'off',
      preUp: ['echo pre %i'],
      postUp: ['echo a; echo b', 'echo c=d'],
      preDown: ['echo down'],
      postDown: ['echo post'],
      saveConfig: true,
      privateKey: PRIVATE,
      listenPort: 51820,
      fwmark: 0xca6c,
    },
    peers: [
      {
        publicKey: PUBLIC_A,
        presharedKey: PRESHARED,
        allowedIps: ['0.0.0.0/0', '::/0', '10.1.2.3/32'],
        endpoint: 'vpn.example.org:51820',
        persistentKeepalive: 25,
      },
      {
        publicKey: PUBLIC_B,
        presharedKey: undefined,
        allowedIps: [],
        endpoint: '[fd00::9]:1',
        persistentKeepalive: 0,
      },
    ],
  });
});

test('an empty file is an empty configuration', () => {
  assert.deepEqual(plain(parse('')), plain(parse('[Interface]\n')));
});

test('keys and sections are read in any case, with any white space, as wg does', () => {
  const conf = parse(
    `\uFEFF[ INTERFACE ]\r\nlistenport=1\r\n FWMARK\t=\t0X20 \r\n[peer]\r\npublickey=${PUBLIC_A}\r\n`,
  );
  assert.equal(conf.device.listenPort, 1);
  assert.equal(conf.device.fwmark, 0x20);
  assert.equal(conf.peers.length, 1);
});

test('everything behind # is a comment', () => {
  const conf = parse('[Interface] # mine\n# ListenPort = 1\nListenPort = 2 # not 3\nPostUp = echo a # b\n');
  assert.equal(conf.device.listenPort, 2);
  assert.deepEqual(conf.device.postUp, ['echo a']);
});

test('a repeated single key counts last, with a warning', () => {
  const { conf, warnings } = parseWgConf('[Interface]\nListenPort = 1\nListenPort = 2\n', 'wg0.conf');
  assert.equal(conf.device.listenPort, 2);
  assert.deepEqual(warnings, ['wg0.conf:3: ListenPort occurs again; the last one counts']);
});

test('host bits of AllowedIPs are masked, with a warning; those of Address are kept', () => {
  const { conf, warnings } = parseWgConf(inPeer('AllowedIPs = 10.1.2.3/8, fd00::/8'), 'wg0.conf');
  assert.deepEqual((plain(conf) as { peers: { allowedIps: unknown }[] }).peers[0]?.allowedIps, [
    '10.0.0.0/8',
    'fd00::/8',
  ]);
  assert.deepEqual(warnings, ['wg0.conf:3: AllowedIPs "10.1.2.3/8" has a nonzero host part']);
});

test('+ and - before an allowed IP change the list instead of replacing it', () => {
  const [peer] = parse(inPeer('AllowedIPs = +10.0.0.0/8, -10.1.0.0/16')).peers;
  assert.equal(peer?.isIncremental, true);
  assert.deepEqual(
    peer?.allowedIps.map(({ remove }) => remove),
    [false, true],
  );
  const change = toDeviceChange(parse(inPeer('AllowedIPs = -10.1.0.0/16')), () => undefined);
  assert.equal(change.peers[0]?.replaceAllowedIps, undefined);
});

test('an endpoint may be a name, IPv4, or IPv6 with or without brackets', () => {
  const endpoint = (text: string) => parse(inPeer(`Endpoint = ${text}`)).peers[0]?.endpoint;
  assert.deepEqual(endpoint('vpn.example.org:1'), { host: 'vpn.example.org', port: 1 });
  assert.deepEqual(endpoint('192.0.2.1:65535'), { host: '192.0.2.1', port: 65535 });
  assert.deepEqual(endpoint('[fe80::1%eth0]:2'), { host: 'fe80::1%eth0', port: 2 });
  assert.deepEqual(endpoint('fd00::1:51820'), { host: 'fd00::1', port: 51820 });
});

test('a friendly_name comment names the peer below it, or the peer whose section it opens', () => {
  const names = (text: string) => parse(text).peers.map((peer) => peer.name);
  assert.deepEqual(names(`# friendly_name = laptop\n[Peer]\nPublicKey = ${PUBLIC_A}\n`), ['laptop']);
  assert.deepEqual(names(`[Peer]\n#friendly_name=my phone\nPublicKey = ${PUBLIC_A}\n`), ['my phone']);
  assert.deepEqual(
    names(`[Peer]\nPublicKey = ${PUBLIC_A}\n\n# friendly_name = second\n[Peer]\nPublicKey = ${PUBLIC_B}\n`),
    [undefined, 'second'],
  );
  assert.deepEqual(names(`[Peer]\nPublicKey = ${PUBLIC_A}\n# friendly_name = late\n`), ['late']);
});

const PROBLEMS: readonly (readonly [string, string])[] = [
  [inPeer('AllowedIPs = 10.0.0.0/33'), 'wg0.conf:3: AllowedIPs "10.0.0.0/33": prefix length must be 0-32'],
  [
    inPeer('AllowedIPs = 10.0.0.0/8, fd00::/129'),
    'wg0.conf:3: AllowedIPs "fd00::/129": prefix length must be 0-128',
  ],
  [inPeer('AllowedIPs = 10.0.0/8'), 'wg0.conf:3: AllowedIPs "10.0.0/8": not an IP address'],
  [inPeer('AllowedIPs = 10.0.0.0/8,'), 'wg0.conf:3: AllowedIPs "": not an IP address'],
  [inPeer('AllowedIPs ='), 'wg0.conf:3: AllowedIPs lacks a value'],
  [inPeer('AlowedIPs = 10.0.0.0/8'), 'wg0.conf:3: unknown key "AlowedIPs" | did you mean AllowedIPs?'],
  [inPeer('Frobnicate = 1'), 'wg0.conf:3: unknown key "Frobnicate"'],
  [inPeer('__proto__ = 1'), 'wg0.conf:3: unknown key "__proto__"'],
  [inPeer('Endpoint = example.org'), 'wg0.conf:3: Endpoint "example.org": expected HOST:PORT or [IPv6]:PORT'],
  [inPeer('Endpoint = example.org:0'), 'wg0.conf:3: Endpoint "example.org:0": the port must be 1-65535'],
  [inPeer('Endpoint = [fd00::1:2'), 'wg0.conf:3: Endpoint "[fd00::1:2": expected HOST:PORT or [IPv6]:PORT'],
  [
    inPeer('Endpoint = 1.2.3.999:4'),
    'wg0.conf:3: Endpoint "1.2.3.999:4": "1.2.3.999" is neither an address nor a name',
  ],
  [
    inPeer('PersistentKeepalive = 65536'),
    'wg0.conf:3: PersistentKeepalive "65536": expected off or 0-65535 seconds',
  ],
  [inPeer('PublicKey = AAAA'), 'wg0.conf:3: PublicKey "AAAA": expected 44 characters of base64'],
  [inPeer('PresharedKey = AAAA'), 'wg0.conf:3: PresharedKey (not shown): expected 44 characters of base64'],
  [inPeer('MTU = 1420'), 'wg0.conf:3: MTU does not belong into [Peer] | move it to [Interface]'],
  [
    inInterface('PrivateKey = hunter2'),
    'wg0.conf:2: PrivateKey (not shown): expected 44 characters of base64',
  ],
  [inInterface('ListenPort = 65536'), 'wg0.conf:2: ListenPort "65536": expected a port, 0-65535'],
  [
    inInterface('FwMark = 0x100000000'),
    'wg0.conf:2: FwMark "0x100000000": expected off, or a number below 2^32, decimal or 0x...',
  ],
  [inInterface('Address = 10.0.0.1/33'), 'wg0.conf:2: Address "10.0.0.1/33": prefix length must be 0-32'],
  [inInterface('DNS = 1.1.1'), 'wg0.conf:2: DNS "1.1.1": not an IP address'],
  [inInterface('MTU = 20'), 'wg0.conf:2: MTU "20": expected a size in bytes, 68-65535'],
  [
    inInterface('Table = a b'),
    'wg0.conf:2: Table "a b": expected auto, off, a number or the name of a table',
  ],
  [inInterface('SaveConfig = yes'), 'wg0.conf:2: SaveConfig "yes": expected true or false'],
  [
    inInterface('AllowedIPs = ::/0'),
    'wg0.conf:2: AllowedIPs does not belong into [Interface] | move it to [Peer]',
  ],
  [inInterface('secret'), 'wg0.conf:2: expected "Key = Value" or a [Section]'],
  ['ListenPort = 1\n', 'wg0.conf:1: ListenPort stands before any section | put [Interface] above it'],
  ['[Interfaces]\n', 'wg0.conf:1: unknown section "[Interfaces]" | did you mean [Interface]?'],
  ['[Interface]\n[Peer]\n[Peer]\n', 'wg0.conf:2: [Peer] lacks a PublicKey'],
];
for (const [text, expected] of PROBLEMS) {
  test(`problem: ${expected}`, () => {
    assert.equal(failure(text), expected);
  });
}

test('all problems are found at once, in the order of the lines', () => {
  const { conf, problems } = checkWgConf(
    '[Interface]\nMTU = x\nFoo = 1\n[Peer]\nEndpoint = a\n[Nope]\nBar = 1\n',
  );
  assert.equal(conf, undefined);
  assert.deepEqual(
    problems.map(({ line }) => line),
    [2, 3, 4, 5, 6],
  );
});

test('no problem or warning ever quotes a private or preshared key', () => {
  const secret = `${PRIVATE.slice(0, 42)}=`;
  for (const text of [
    inInterface(`PrivateKey = ${secret}`),
    inInterface(`PrivatKey = ${secret}`),
    inPeer(`PresharedKey = ${secret}`),
    inInterface(secret.replace('=', '')),
    inInterface(secret),
    `PrivateKey = ${secret}\n`,
  ]) {
    const { problems, warnings } = checkWgConf(text);
    assert.ok(problems.length > 0);
    assert.ok(!JSON.stringify([problems, warnings]).includes(secret.slice(0, 10)), text);
  }
});

test('the change of a file clears what the file does not mention, as wg setconf does', () => {
  const change = toDeviceChange(parse(inPeer('')), () => undefined);
  assert.equal(change.privateKey?.isZero, true);
  assert.equal(change.listenPort, 0);
  assert.equal(change.fwmark, 0);
  assert.equal(change.replacePeers, true);
  assert.deepEqual(change.peers, [
    { publicKey: parse(inPeer('')).peers[0]?.publicKey, replaceAllowedIps: true, allowedIps: [] },
  ]);
});

test('interface names follow wg-quick and the kernel', () => {
  for (const good of ['wg0', 'a', 'A_=+.-9', 'x'.repeat(15)]) assert.ok(isInterfaceName(good), good);
  for (const bad of ['', 'x'.repeat(16), 'a b', 'a/b', 'ä', '.', '..', 'a\n'])
    assert.ok(!isInterfaceName(bad), bad);
  assert.equal(interfaceNameOf('/etc/wireguard/wg0.conf'), 'wg0');
  assert.equal(interfaceNameOf('my.net.conf'), 'my.net');
  for (const bad of ['wg0', '/etc/wireguard/.conf', 'a b.conf', `${'x'.repeat(16)}.conf`])
    assert.throws(() => interfaceNameOf(bad), { code: 'usage' });
});

// Properties.

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const address = fc.oneof(v4, v6);
const interfaceAddress = address.chain((bytes) =>
  fc.nat(bytes.length * 8).map((length) => ({ address: bytes, length })),
);
const prefix = interfaceAddress.map((one) => ({
  address: one.address.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, one.length - 8 * i)))),
  length: one.length,
}));
const word = fc.stringMatching(/^[a-z][a-z0-9.-]{0,12}[a-z0-9]$/);
const line = fc
  .string({ minLength: 1, maxLength: 30 })
  .map((text) => text.replace(/[#\r\n\u2028\u2029]/g, '').trim())
  .filter((text) => text !== '');
const lines = fc.array(line, { maxLength: 2 });
const port = fc.integer({ min: 1, max: 65535 });
const host = fc.oneof(word, v4.map(formatAddress), v6.map(formatAddress), fc.constant('fe80::1%eth0'));
const peer = fc
  .record(
    {
      publicKey: key.map((bytes) => new PublicKey(bytes)),
      name: line,
      presharedKey: key.map((bytes) => new PresharedKey(bytes)),
      endpoint: fc.record({ host, port }),
      allowedIps: fc.array(fc.record({ prefix, remove: fc.boolean() }), { maxLength: 4 }),
      persistentKeepalive: fc.nat(65535),
    },
    { requiredKeys: ['publicKey', 'allowedIps'] },
  )
  .chain((one) =>
    one.allowedIps.some(({ remove }) => remove)
      ? fc.constant({ ...one, isIncremental: true as const })
      : fc.constant(one),
  );
const wgConf: fc.Arbitrary<WgConf> = fc.record({
  device: fc.record(
    {
      privateKey: key.map((bytes) => new PrivateKey(bytes)),
      listenPort: fc.nat(65535),
      fwmark: fc.integer({ min: 0, max: 0xffffffff }),
      addresses: fc.array(interfaceAddress, { maxLength: 3 }),
      dns: fc.array(address, { maxLength: 2 }),
      dnsSearch: fc.array(word, { maxLength: 2 }),
      mtu: fc.integer({ min: 68, max: 65535 }),
      table: fc.oneof(fc.constantFrom('auto', 'off', '51820', '0x10'), word),
      preUp: lines,
      postUp: lines,
      preDown: lines,
      postDown: lines,
      saveConfig: fc.boolean(),
    },
    { requiredKeys: ['addresses', 'dns', 'dnsSearch', 'preUp', 'postUp', 'preDown', 'postDown'] },
  ),
  peers: fc.array(peer, { maxLength: 3 }),
});

test('parse(print(conf)) is the configuration', () => {
  fc.assert(
    fc.property(wgConf, (conf) => {
      assert.deepEqual(plain(parse(printWgConf(conf))), plain(conf));
    }),
    { numRuns: 300 },
  );
});

test('no text makes the parser throw anything but a configuration error', () => {
  const piece = fc.constantFrom(
    '[Interface]',
    '[Peer]',
    'PublicKey',
    'AllowedIPs',
    'Endpoint',
    '=',
    '\n',
    '#',
    ',',
    '/',
    '[',
    ']',
    ':',
    '%',
    'PrivateKey',
    PUBLIC_A,
    '1.2.3.4',
    '::',
    'off',
    '0x',
    '+',
    '-',
    ' ',
    'friendly_name',
  );
  const text = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.array(piece, { maxLength: 60 }).map((all) => all.join('')),
  );
  fc.assert(
    fc.property(text, (input) => {
      const { conf, problems } = checkWgConf(input);
      assert.equal(conf === undefined, problems.length > 0);
    }),
    { numRuns: 1000 },
  );
});

test('a missing line break does not make a secret part of a message', () => {
  for (const text of [
    `[PrivateKey = ${PRIVATE}\n`,
    `[Interface]\nListenPort = PrivateKey = ${PRIVATE}\n`,
    `[Interface]\nPrivateKey = ${PRIVATE}\n[Peer]\nEndpoint = 1.2.3.4:1 PresharedKey=${PRESHARED}\n`,
    `[Interface]\nPrivateKey = ${PRIVATE}\n[Peer]\nPublicKey = ${PUBLIC_A}\vPresharedKey = ${PRESHARED}\n`,
  ]) {
    const { problems, warnings } = checkWgConf(text);
    assert.ok(problems.length > 0);
    const messages = [...problems, ...warnings].map(({ message }) => message).join('\n');
    for (const secret of [PRIVATE, PRESHARED]) assert.ok(!messages.includes(secret.slice(0, 30)), messages);
  }
});
