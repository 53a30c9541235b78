import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAgentFlags } from '../../../../src/app/gateway/agent-flags.ts';

const UUID = '11111111-2222-3333-4444-AAAAAAAAAAAA';

test('without flags: the defaults of siderolink-agent, and everybody may join', () => {
  assert.deepEqual(readAgentFlags([]), {
    wireGuardEndpoint: '172.20.0.1:51821',
    wireGuardPort: 51_821,
    api: { host: undefined, port: 4000 },
    tls: undefined,
    joinToken: undefined,
    eventSink: { host: undefined, port: 8080 },
    logReceiver: { host: undefined, port: 4001 },
    predefinedAddresses: new Map(),
  });
});

test('the flags of both programs in both styles', () => {
  const config = readAgentFlags([
    '-sidero-link-wireguard-endpoint=192.0.2.1:5',
    '--sidero-link-api-endpoint',
    '[2001:db8::1]:6',
    '--sidero-link-api-cert=c',
    '-sidero-link-api-key',
    'k',
    '-sidero-link-join-token',
    'foo',
    '-sidero-link-force-userspace',
    '--event-sink-endpoint=[fdae:41e4:649b:9303::1]:8090',
    '-log-receiver-endpoint=',
    '-predefined-pairs',
    `${UUID}=fdae:41e4:649b:9303::0007`,
    '--predefined-pair=other=fdae:41e4:649b:9303::8',
  ]);
  assert.deepEqual([config.wireGuardEndpoint, config.wireGuardPort], ['192.0.2.1:5', 5]);
  assert.deepEqual(config.api, { host: '2001:db8::1', port: 6 });
  assert.deepEqual(config.tls, { certFile: 'c', keyFile: 'k' });
  assert.equal(config.joinToken, 'foo');
  assert.deepEqual(config.eventSink, { host: 'fdae:41e4:649b:9303::1', port: 8090 });
  assert.equal(config.logReceiver, undefined);
  assert.deepEqual(
    [...config.predefinedAddresses],
    [
      [UUID.toLowerCase(), 'fdae:41e4:649b:9303::7'],
      ['other', 'fdae:41e4:649b:9303::8'],
    ],
  );
});

test('values that cannot be are refused', () => {
  assert.throws(() => readAgentFlags(['-sidero-link-wireguard-endpoint', 'host:1']), /expected IP:PORT/);
  assert.throws(() => readAgentFlags(['-sidero-link-api-cert', 'c']), /go together/);
  assert.throws(() => readAgentFlags(['-predefined-pairs', 'x=fd00::1']), /fdae:41e4:649b:9303::\/64/);
  assert.throws(() => readAgentFlags(['extra']), /unexpected argument "extra"/);
});
