import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../../../../src/app/config/effective.ts';
import { givenTexts } from '../../../../src/app/config/given.ts';
import { describeApi, gatewayConfig } from '../../../../src/app/gateway/config.ts';
import { SERVE_SETTINGS } from '../../../../src/app/gateway/settings.ts';

const read = (flags: Record<string, string | string[]> = {}) =>
  gatewayConfig(readSettings(SERVE_SETTINGS, givenTexts(SERVE_SETTINGS, flags)), () => '192.0.2.7');

test('without any flag: plain gRPC and UDP at the address of this machine', () => {
  const config = read();
  assert.equal(config.apiUrl, 'grpc://192.0.2.7:4000');
  assert.deepEqual(config.wireGuardEndpoints, ['192.0.2.7:50180']);
  assert.deepEqual([config.eventPort, config.logPort], [8090, 8092]);
  assert.deepEqual(config.metrics, { host: '127.0.0.1', port: 9586 });
  assert.equal(config.joinMode, 'legacyAllowed');
  assert.equal(describeApi(config), ':4000 without TLS');
});

test('an address to listen on is the one that is advertised, unless it stands for all', () => {
  assert.equal(read({ listen: '[2001:db8::1]:443' }).apiUrl, 'grpc://[2001:db8::1]:443');
  assert.equal(read({ listen: '0.0.0.0:443' }).apiUrl, 'grpc://192.0.2.7:443');
});

test('with a certificate the URL is https', () => {
  const config = read({ tlsCert: 'a', tlsKey: 'b' });
  assert.equal(config.apiUrl, 'https://192.0.2.7:4000');
  assert.deepEqual(config.tls, { certFile: 'a', keyFile: 'b' });
  assert.throws(() => read({ tlsCert: 'a' }), /--tls-cert without --tls-key/);
  assert.throws(() => read({ tlsKey: 'a' }), /--tls-key without --tls-cert/);
});

test('--advertise: its scheme is believed, its host is where WireGuard is found', () => {
  const config = read({ advertise: 'https://gateway.example' });
  assert.equal(config.apiUrl, 'https://gateway.example:443');
  assert.deepEqual(config.wireGuardEndpoints, ['gateway.example:50180']);
  assert.equal(config.tls, undefined);
  assert.equal(read({ advertise: 'gateway.example:4000' }).apiUrl, 'grpc://gateway.example:4000');
  assert.throws(
    () => read({ advertise: 'http://gateway.example' }),
    /scheme must be https:\/\/ or grpc:\/\//,
  );
  assert.throws(() => read({ advertise: 'https://gateway.example/?jointoken=x' }), /are added later/);
});

test('WireGuard endpoints: several, names, repeated or with commas, each once', () => {
  const { wireGuardEndpoints } = read({
    wgEndpoint: ['a.example:1, b.example:2', '[2001:db8::1]:3', 'a.example:1'],
  });
  assert.deepEqual(wireGuardEndpoints, ['a.example:1', 'b.example:2', '[2001:db8::1]:3']);
  assert.throws(() => read({ wgEndpoint: ['a.example'] }), /--wg-endpoint "a.example": expected HOST:PORT/);
});

test('a port of the overlay services cannot be listened on at every address', () => {
  assert.throws(() => read({ listen: ':8090' }), /port 8090 is that of a service on the overlay address/);
  assert.equal(read({ listen: '192.0.2.7:8090' }).api.port, 8090);
  assert.equal(read({ listen: ':8090', eventPort: 'none' }).eventPort, undefined);
});

test('wrong values name flag, value and expectation', () => {
  assert.throws(() => read({ tunnel: 'hnt' }), { hint: 'did you mean hint?' });
  assert.throws(() => read({ accept: 'manul' }), { hint: 'did you mean manual?' });
  assert.throws(() => read({ joinTokensMode: 'none' }), /--join-tokens-mode "none"/);
  assert.throws(() => read({ machineLimit: '0' }), /--machine-limit "0"/);
  assert.throws(() => read({ interface: 'a/b' }), /--interface "a\/b"/);
  assert.throws(() => read({ listen: ':0' }), /needs --advertise/);
  assert.throws(() => read({ bandwidthLimit: '0' }), /--bandwidth-limit "0"/);
  assert.equal(read({ metricsListen: 'none' }).metrics, undefined);
  assert.equal(read({ wgListen: ':51820' }).wireGuardPort, 51_820);
});

test('bandwidth limits are megabits, with a burst of one second', () => {
  assert.equal(read().bandwidth, undefined);
  assert.deepEqual(read({ bandwidthLimit: '100', machineBandwidth: '8' }).bandwidth, {
    total: { bytesPerSecond: 12_500_000, burstBytes: 12_500_000 },
    perPeer: { bytesPerSecond: 1_000_000, burstBytes: 1_000_000 },
  });
});
