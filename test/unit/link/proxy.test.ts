import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProxy, proxyFor, readProxySettings } from '../../../src/link/proxy.ts';

test('the capital variables win, empty ones are none', () => {
  assert.deepEqual(readProxySettings({ HTTPS_PROXY: 'a:1', https_proxy: 'b:2', no_proxy: 'x' }), {
    httpsProxy: 'a:1',
    noProxy: 'x',
  });
  assert.deepEqual(readProxySettings({ HTTPS_PROXY: '', https_proxy: 'b:2' }), {
    httpsProxy: 'b:2',
    noProxy: undefined,
  });
});

test('proxy URLs: scheme, port and credentials', () => {
  const none = { username: undefined, password: undefined };
  const cases: [string, object][] = [
    ['proxy:3128', { scheme: 'http', host: 'proxy', port: 3128, ...none }],
    ['http://proxy', { scheme: 'http', host: 'proxy', port: 80, ...none }],
    ['https://proxy/', { scheme: 'https', host: 'proxy', port: 443, ...none }],
    ['socks5://10.0.0.1', { scheme: 'socks5', host: '10.0.0.1', port: 1080, ...none }],
    ['socks5h://[fd00::1]:9', { scheme: 'socks5', host: 'fd00::1', port: 9, ...none }],
    [
      'http://me:s%40cret@proxy:1',
      { scheme: 'http', host: 'proxy', port: 1, username: 'me', password: 's@cret' },
    ],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseProxy(text, 'HTTPS_PROXY'), expected, text);
});

test('what is no proxy URL is refused without showing it', () => {
  for (const text of [
    'ftp://u:secret@proxy',
    'http://',
    'http://u:secret@',
    'socks4://proxy',
    'http://a:99999',
    'http://u:secret%@proxy',
    'http://%E0:secret@proxy',
  ]) {
    assert.throws(
      () => parseProxy(text, 'HTTPS_PROXY'),
      (error: Error & { code?: string }) => error.code === 'config' && !error.message.includes('secret'),
      text,
    );
  }
});

test('NO_PROXY: names, suffixes, addresses, prefixes, ports', () => {
  const cases: [string, string, number, boolean][] = [
    ['', 'gw.example', 443, true],
    ['*', 'gw.example', 443, false],
    ['gw.example', 'gw.example', 443, false],
    ['example', 'gw.example', 443, false],
    ['ample', 'gw.example', 443, true],
    ['.example', 'gw.example', 443, false],
    ['.example', 'example', 443, true],
    ['*.example', 'gw.example', 443, false],
    ['GW.Example', 'gw.eXample.', 443, false],
    ['gw.example:443', 'gw.example', 443, false],
    ['gw.example:8443', 'gw.example', 443, true],
    ['a, b , gw.example', 'gw.example', 443, false],
    ['10.0.0.1', '10.0.0.1', 443, false],
    ['10.0.0.1', '10.0.0.2', 443, true],
    ['10.0.0.0/8', '10.1.2.3', 443, false],
    ['10.0.0.0/8', '11.1.2.3', 443, true],
    ['fd00::/8', 'fd12::1', 443, false],
    ['fd12::1', 'fd12:0::1', 443, false],
    ['[fd12::1]:443', 'fd12::1', 443, false],
    ['[fd12::1]:80', 'fd12::1', 443, true],
    ['0.1', '10.0.0.1', 443, true],
    ['', 'localhost', 443, false],
    ['', '127.0.0.53', 443, false],
    ['', '::1', 443, false],
  ];
  for (const [noProxy, host, port, isProxied] of cases) {
    const proxy = proxyFor(host, port, { httpsProxy: 'proxy:1', noProxy });
    assert.equal(proxy !== undefined, isProxied, `${noProxy} ${host}:${port}`);
  }
  assert.equal(proxyFor('gw.example', 443, {}), undefined);
});
