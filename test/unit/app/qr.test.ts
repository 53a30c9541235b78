import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import decodeQr from 'qr/decode.js';
import { phoneConf, qrModules, qrSvg, qrText } from '../../../src/app/qr.ts';
import { parseWgConf } from '../../../src/app/wg-conf.ts';
import { AppError } from '../../../src/core/errors.ts';

const CULVERT = fileURLToPath(new URL('../../../../bin/culvert', import.meta.url));
const KEY = 'YAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const CONF = `[Interface]
PrivateKey = ${KEY}
Address = 10.0.0.7/32, fd00::7/128
DNS = 10.0.0.1
MTU = 1280

[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = vpn.example:51820
PersistentKeepalive = 25
`;

/** What a camera makes of the code, each module `SCALE` pixels wide. */
function scan(modules: readonly (readonly boolean[])[]): string {
  const SCALE = 4;
  const size = modules.length * SCALE;
  const data = new Uint8Array(size * size * 4).fill(255);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++)
      if (modules[Math.floor(y / SCALE)]?.[Math.floor(x / SCALE)] === true)
        data.fill(0, (y * size + x) * 4, (y * size + x) * 4 + 3);
  return decodeQr({ width: size, height: size, data });
}

/** The modules that a text of half blocks shows. */
function modulesOf(text: string): boolean[][] {
  return text
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      const characters = line.split('');
      return [
        characters.map((character) => character === ' ' || character === '▄'),
        characters.map((character) => character === ' ' || character === '▀'),
      ];
    });
}

test('qr: a scanner reads the file that an app takes, from modules and from the terminal', () => {
  const { text, omitted } = phoneConf(parseWgConf(CONF, 'phone.conf').conf);
  assert.deepEqual(omitted, []);
  assert.deepEqual(parseWgConf(text, 'scanned.conf').conf, parseWgConf(CONF, 'phone.conf').conf);
  const modules = qrModules(text);
  assert.equal(scan(modules), text);
  assert.equal(scan(modulesOf(qrText(modules, false))), text);
});

test('qr: keys that phones refuse are left out and named', () => {
  const conf = CONF.replace('MTU = 1280', 'Table = off\nPostUp = true\nSaveConfig = true\nFwMark = 7\n');
  const { text, omitted } = phoneConf(parseWgConf(conf, 'x.conf').conf);
  assert.deepEqual(omitted, ['Table', 'SaveConfig', 'FwMark', 'PostUp']);
  assert.doesNotMatch(text, /Table|PostUp|SaveConfig|FwMark/);
});

test('qr: an image has one square for each dark module', () => {
  const svg = qrSvg([
    [true, false],
    [false, true],
  ]);
  assert.ok(svg.includes('viewBox="0 0 2 2"'));
  assert.ok(svg.includes('d="M0 0h1v1h-1zM1 1h1v1h-1z"'));
});

test('qr: colours make light modules light on any terminal', () => {
  const text = qrText([[true, false]], true);
  assert.equal(text, '\x1b[97;40m ▀\x1b[0m\n');
});

test('qr: what does not fit into one code is an error that says so', () => {
  assert.throws(
    () => qrModules('x'.repeat(2_954)),
    (error) => error instanceof AppError && error.exitCode === 2 && error.message.startsWith('2954 bytes'),
  );
  assert.ok(qrModules('x'.repeat(2_953)).length > 100);
});

test('qr: the command reads a file or standard input and refuses one without a key', () => {
  const call = (input: string, ...args: string[]) =>
    spawnSync(process.execPath, [CULVERT, 'qr', '-', ...args], { input, encoding: 'utf8' });
  const good = call(CONF);
  assert.deepEqual([good.status, good.stderr], [0, '']);
  assert.match(scan(modulesOf(good.stdout)), /PrivateKey = YAnz/);
  assert.match(call(CONF, '--svg').stdout, /^<svg /);
  const bad = call(CONF.replace(/PrivateKey.*\n/, ''));
  assert.equal(bad.status, 2);
  assert.match(bad.stderr, /stdin has no PrivateKey/);
});
