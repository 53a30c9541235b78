/** Decoders of what people and programs of this machine write: addresses, keys, the UAPI, configuration files. */
import assert from 'node:assert/strict';
import { checkWgConf, isInterfaceName, parseWgConf } from '../../src/app/wg-conf.ts';
import { printWgConf } from '../../src/app/wg-conf-print.ts';
import { constantTimeEqual, parseBase64, parseHex, toBase64, toHex } from '../../src/core/bytes.ts';
import {
  addressesEqual,
  formatAddress,
  formatPrefix,
  formatSocketAddress,
  maskAddress,
  parseAddress,
  parsePrefix,
  parseSocketAddress,
} from '../../src/core/ip.ts';
import { printChange } from '../../src/tunnel/uapi-change.ts';
import { parseState, printEndpoint } from '../../src/tunnel/uapi-reply.ts';
import { type UapiRequest, UapiReader } from '../../src/tunnel/uapi-request.ts';
import { fakeZones } from '../kit/zones.ts';
import { type FuzzTarget, bytesOf, chunksOf, latin1Of, orRefusal, textOf } from './target.ts';

const KEY = 'ab'.repeat(32);
const PUBLIC64 = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
/** Secret where it stands. */
const KEY64 = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

const addresses: FuzzTarget = {
  name: 'addresses',
  maxBytes: 128,
  words: ['::', ':', '.', '%', '/', '[', ']', 'ffff', '255', 'fe80::1%eth0', '0'],
  seeds: () =>
    [
      '10.0.0.1',
      'fd00::1',
      '::ffff:1.2.3.4',
      '10.0.0.0/8',
      'fd00::/64',
      '1.2.3.4:51820',
      '[fe80::1%eth0]:1',
    ].map(bytesOf),
  prepare: () => (bytes) => {
    const text = textOf(bytes);
    const address = parseAddress(text);
    if (address) assert.deepEqual(parseAddress(formatAddress(address)), address);
    const prefix = parsePrefix(text);
    if (prefix) {
      assert.deepEqual(parsePrefix(formatPrefix(prefix)), prefix);
      assert.ok(addressesEqual(maskAddress(prefix.address, prefix.length), prefix.address));
    }
    const socket = parseSocketAddress(text);
    if (socket) assert.deepEqual(parseSocketAddress(formatSocketAddress(socket)), socket);
  },
};

const keys: FuzzTarget = {
  name: 'keys',
  maxBytes: 128,
  words: ['=', 'A', '+', '/', '_', '-'],
  seeds: () => [KEY, KEY64].map(bytesOf),
  prepare: () => (bytes) => {
    const text = textOf(bytes);
    const hex = parseHex(text, 32);
    if (hex) assert.equal(toHex(hex), text.toLowerCase());
    const base64 = parseBase64(text, 32);
    if (base64) assert.equal(toBase64(base64), text);
    if (hex && base64) assert.ok(!constantTimeEqual(hex, base64));
  },
};

const UAPI_SET = `set=1
private_key=${KEY}
listen_port=51820
fwmark=32
replace_peers=true
public_key=${KEY}
preshared_key=${KEY}
endpoint=[fe80::1%eth0]:51821
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=10.1.2.3/8
allowed_ip=-fd00::1/64
protocol_version=1
public_key=${'cd'.repeat(32)}
update_only=true
remove=true

`;

/** Everything that distinguishes requests, as text. */
function print(request: UapiRequest): string {
  if (request.kind !== 'set') return JSON.stringify(request);
  return printChange(request.change, (endpoint) => printEndpoint(endpoint, fakeZones));
}

/** Requests up to the one behind which nothing is read. */
function readAll(chunks: readonly Uint8Array[]): string[] {
  const reader = new UapiReader(fakeZones, 1 << 16);
  const printed: string[] = [];
  for (const chunk of chunks) {
    const own = chunk.slice();
    for (const request of reader.read(own)) {
      printed.push(print(request));
      if (request.kind === 'unknown') return printed;
    }
    assert.ok(
      own.every((byte) => byte === 0),
      'what was read is wiped',
    );
  }
  const last = reader.end();
  if (last) printed.push(print(last));
  return printed;
}

const uapi: FuzzTarget = {
  name: 'uapi',
  words: UAPI_SET.split('\n').map((line) => `${line}\n`),
  seeds: () =>
    [UAPI_SET, 'get=1\n\n', `get=1\n\n${UAPI_SET}get=1\n\n`, 'set=1\nlisten_port=7\n'].map(bytesOf),
  prepare: () => (bytes) => {
    const printed = readAll([bytes]);
    assert.deepEqual(readAll(chunksOf(bytes)), printed, 'where chunks end makes no difference');
    for (const text of printed.filter((each) => each.startsWith('set=1')))
      assert.deepEqual(readAll([bytesOf(text)]), [text], 'what was understood is understood again');
  },
};

const uapiAnswer: FuzzTarget = {
  name: 'uapi-answer',
  words: ['errno=0\n', 'public_key=', 'tx_bytes=', 'endpoint=', 'allowed_ip=', '=', '\n'],
  seeds: () => [
    bytesOf(
      `private_key=${KEY}\nlisten_port=1\nfwmark=2\npublic_key=${KEY}\npreshared_key=${KEY}\nprotocol_version=1\n` +
        'endpoint=[fe80::1%eth0]:1\nlast_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=1\n' +
        'rx_bytes=2\npersistent_keepalive_interval=3\nallowed_ip=10.0.0.0/8\nerrno=0\n\n',
    ),
  ],
  prepare: () => (bytes) => {
    const state = orRefusal(() => parseState(latin1Of(bytes)));
    if (state) assert.ok(Number.isInteger(state.errno));
  },
};

const CONF = `# friendly_name = office
[Interface]
PrivateKey = ${KEY64}
Address = 10.0.0.1/24, fd00::1/64
DNS = 10.0.0.53, example.com
ListenPort = 51820
MTU = 1420
FwMark = 0x20
Table = off
PreUp = echo %i
PostDown = true
SaveConfig = true
# friendly_name=peer
[Peer]
PublicKey = ${PUBLIC64}
PresharedKey = ${KEY64}
Endpoint = [fd00::9]:51820
AllowedIPs = 0.0.0.0/0, ::/0
PersistentKeepalive = 25
`;

const wgConf: FuzzTarget = {
  name: 'wg-conf',
  words: CONF.split('\n').map((line) => `${line}\n`),
  seeds: () => [bytesOf(CONF), bytesOf('[Peer]\nPublicKey=x\n'), bytesOf('[Interface]\n')],
  prepare: () => (bytes) => {
    const text = textOf(bytes);
    isInterfaceName(text);
    const { conf, problems } = checkWgConf(text);
    for (const { line, message } of problems) {
      assert.ok(line >= 1 && message !== '');
      assert.ok(!message.includes(KEY64), 'a problem quotes a secret');
    }
    if (!conf || problems.length > 0) {
      assert.equal(
        orRefusal(() => parseWgConf(text, 'wg0.conf')),
        undefined,
      );
      return;
    }
    const printed = printWgConf(conf);
    const { conf: again, problems: none } = checkWgConf(printed);
    assert.deepEqual(none, []);
    assert.ok(again);
    assert.equal(printWgConf(again), printed, 'what was understood is understood again');
  },
};

export const textTargets: readonly FuzzTarget[] = [addresses, keys, uapi, uapiAnswer, wgConf];
