import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinSettings, parseExposed } from '../../../../src/app/agent/join-settings.ts';
import { JOIN_SETTINGS } from '../../../../src/app/agent/settings.ts';
import { readSettings } from '../../../../src/app/config/effective.ts';
import { givenTexts } from '../../../../src/app/config/given.ts';

const read = (flags: Record<string, string | string[]>, asksForTunnel = false) =>
  joinSettings(readSettings(JOIN_SETTINGS, givenTexts(JOIN_SETTINGS, flags)), asksForTunnel);

test('without flags UDP comes first, on the interface that Talos would have', () => {
  assert.deepEqual(read({}), {
    interfaceName: 'siderolink',
    transport: 'auto',
    streams: 2,
    lanes: 'auto',
    stateDirectory: '/var/lib/culvert/agent',
    uuid: undefined,
    keyFile: undefined,
    caFiles: [],
    exposed: [],
    opensFirewall: false,
    onUp: undefined,
    onDown: undefined,
  });
});

test('grpc_tunnel of the URL chooses the tunnel, and a flag overrides it', () => {
  for (const [flag, asksForTunnel, transport, interfaceName] of [
    [undefined, true, 'grpc', 'siderolinktun'],
    ['auto', true, 'auto', 'siderolink'],
    ['udp', true, 'udp', 'siderolink'],
    ['grpc', false, 'grpc', 'siderolinktun'],
  ] as const) {
    const settings = read(flag === undefined ? {} : { transport: flag }, asksForTunnel);
    assert.deepEqual([settings.transport, settings.interfaceName], [transport, interfaceName]);
  }
  assert.equal(read({ interface: 'over0', transport: 'grpc' }).interfaceName, 'over0');
});

test('an exposed service is [PORT=]HOST:PORT', () => {
  for (const [text, expected] of [
    ['127.0.0.1:22', { port: 22, targetHost: '127.0.0.1', targetPort: 22 }],
    ['2222=127.0.0.1:22', { port: 2222, targetHost: '127.0.0.1', targetPort: 22 }],
    ['8080=[::1]:80', { port: 8080, targetHost: '::1', targetPort: 80 }],
    ['web.example:443', { port: 443, targetHost: 'web.example', targetPort: 443 }],
    ['65535=localhost:1', { port: 65_535, targetHost: 'localhost', targetPort: 1 }],
  ] as const) {
    assert.deepEqual(parseExposed('--expose', text), expected, text);
  }
  for (const text of [
    '',
    '22',
    ':22',
    '127.0.0.1',
    '0=a:1',
    'a:0',
    'a:65536',
    '65536=a:1',
    '::1:22',
    '[::1:22',
    '[a]:1',
    'a b:1',
    '1=2=a:1',
  ]) {
    assert.throws(() => parseExposed('--expose', text), { code: 'usage' }, text);
  }
});

test('wrong flags are named with what is expected', () => {
  for (const [flags, message] of [
    [{ transport: 'tcp' }, /--transport "tcp": expected auto, udp, grpc/],
    [{ streams: '0' }, /--streams "0": expected a whole number from 1 to 4/],
    [{ streams: '5' }, /--streams "5"/],
    [{ streams: '1.5' }, /--streams "1\.5"/],
    [{ interface: 'a/b' }, /--interface a\/b: not an interface name/],
    [{ interface: 'sixteen-letters-' }, /not an interface name/],
    [{ uuid: 'x' }, /--uuid: "x" is not a UUID/],
    [{ expose: ['a:1', 'b:1'] }, /port 1 is given twice/],
  ] as [Record<string, string | string[]>, RegExp][]) {
    assert.throws(() => read(flags), { message });
  }
});

test('a UUID is taken in either case', () => {
  const uuid = '4C4C4544-0042-3510-8052-C2C04F595231';
  assert.equal(read({ uuid }).uuid, uuid.toLowerCase());
});
