import assert from 'node:assert/strict';
import { isIP, SocketAddress } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  formatAddress,
  formatPrefix,
  formatSocketAddress,
  maskAddress,
  parseAddress,
  parsePrefix,
  parseSocketAddress,
} from '../../../src/core/ip.ts';

test('addresses: RFC 5952 prints the shortest form, lower case, first longest run of zeros', () => {
  for (const [input, output] of [
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['fe80:0:0:0:0:0:0:1', 'fe80::1'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['0:1:0:0:0:2:0:0', '0:1::2:0:0'],
  ] as const) {
    assert.equal(formatAddress(parseAddress(input) as Uint8Array), output);
  }
});

test('addresses: parse(format(x)) = x, and the form agrees with Node', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(bytes, (address) => {
      const text = formatAddress(address);
      assert.equal(isIP(text), address.length === 4 ? 4 : 6);
      assert.deepEqual(parseAddress(text), Uint8Array.from(address));
    }),
  );
});

test('addresses: sparse IPv6 addresses (runs of zeros) survive the round trip', () => {
  const group = fc.constantFrom(0, 0, 0, 1, 0xffff);
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      const address = Uint8Array.from(groups.flatMap((value) => [value >> 8, value & 255]));
      const text = formatAddress(address);
      assert.deepEqual(parseAddress(text), address);
      const parsed = new SocketAddress({
        family: 'ipv6',
        address: groups.map((value) => value.toString(16)).join(':'),
      });
      if (!parsed.address.includes('.')) assert.equal(text, parsed.address);
    }),
  );
});

test('prefixes: host bits are masked, the length is required and bounded', () => {
  assert.equal(formatPrefix(parsePrefix('10.1.2.3/8') ?? assert.fail()), '10.0.0.0/8');
  assert.equal(formatPrefix(parsePrefix('fd00::1/7') ?? assert.fail()), 'fc00::/7');
  for (const bad of [
    '10.0.0.1',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0/8',
    '/8',
    'a/8',
    '::/1e1',
  ]) {
    assert.equal(parsePrefix(bad), undefined, bad);
  }
});

test('prefixes: masking keeps exactly the first bits', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 128 }),
      (address, length) => {
        const bits = (bytes: Uint8Array) =>
          [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
        assert.equal(bits(maskAddress(address, length)), bits(address).slice(0, length).padEnd(128, '0'));
      },
    ),
  );
});

test('endpoints: brackets for IPv6, zones kept, names and bad ports refused', () => {
  for (const good of ['1.2.3.4:51820', '[fd00::1]:51820', '[fe80::1%eth0]:1', '0.0.0.0:0', '[::]:65535']) {
    assert.equal(formatSocketAddress(parseSocketAddress(good) ?? assert.fail(good)), good);
  }
  for (const bad of [
    'host:1',
    '1.2.3.4',
    '1.2.3.4:65536',
    'fd00::1:80',
    '[1.2.3.4]:80',
    '[fd00::1]',
    '1.2.3.4:',
    ':1',
    '[fd00::1%]:1',
  ]) {
    assert.equal(parseSocketAddress(bad), undefined, bad);
  }
});
